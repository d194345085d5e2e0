"""What operators write as a base URL, and what requests use. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from routing.kinds import Kind

_DATED: Final = re.compile(r"\d{4}-\d\d-\d\d")
_DEPLOYMENTS: Final = "/deployments/"


def settled(kind: Kind, base_url: str, options: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The base URL and the options of a provider, as its requests use them.

    A region is put in. Where the vendor has deployments (Azure), its bare host stands for all of them when an
    ``api_version`` is given, else for the API that needs none; an address of deployments gets a version, and
    the API that has no dated versions is not sent one.
    """
    address = (base_url or kind.default_base_url).rstrip("/")
    address = address.replace("{region}", options.get("region", ""))
    found = dict(options)
    if not kind.deployments_version:
        return address, found
    version = options.get("api_version", "")
    if urlsplit(address).path in {"", "/openai"}:
        root = address.removesuffix("/openai")
        address = f"{root}/openai{_DEPLOYMENTS}{{model}}" if version else f"{root}/openai/v1"
    if _DEPLOYMENTS in address:
        found["api_version"] = version or kind.deployments_version
    elif address.endswith("/openai/v1") and _DATED.match(version):
        del found["api_version"]
    return address, found


def leads_to_deployments(kind: Kind, base_url: str) -> bool:
    """Whether the address is that of single models, each below a path of its own."""
    return "{model}" in base_url or (bool(kind.deployments_version) and _DEPLOYMENTS in base_url)
