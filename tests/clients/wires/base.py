"""What a scripted wire is: its vendor's rules on the way in, its vendor's shapes on the way out."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.clients.mind import Asked, RefusedError, Said


@dataclass(frozen=True)
class Vendor:
    """How the vendor of one kind differs from the others of its wire.

    ``model`` is nobody else's, so that its bare name leads here. ``credential`` is the header and what stands
    before the key; ``takes`` and ``refuses`` are top-level fields of the request. ``responses`` is whether
    the vendor speaks OpenAI's Responses itself, ``names_itself`` whether its answers name the model.
    """

    model: str
    credential: tuple[str, str] = ("authorization", "Bearer ")
    takes: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    responses: bool = False
    names_itself: bool = True


@dataclass
class Reply:
    """An HTTP answer; ``pieces`` are the events of a stream."""

    body: bytes = b""
    pieces: list[bytes] | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Wire(Protocol):
    """One wire format as a vendor serves it."""

    def read(self, path: str, headers: Mapping[str, str], body: bytes, vendor: Vendor) -> Asked:
        """Understand a request.

        Raises:
            RefusedError: the vendor would answer 400.
        """
        ...

    def write(self, said: Said, asked: Asked) -> Reply:
        """Say it."""
        ...

    def refusal(self, error: RefusedError) -> Reply:
        """A 400 in the vendor's words."""
        ...


def only(data: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse fields that the vendor does not know."""
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise RefusedError(f"{where}: unknown field {', '.join(unknown)}")


def need(condition: object, complaint: str) -> None:
    """Refuse when it does not hold."""
    if not condition:
        raise RefusedError(complaint)


def media(data_url: str) -> tuple[str, bytes]:
    """Media type and bytes of a data URL; for another address a type guessed as the vendor would find it."""
    found = re.fullmatch(r"data:([\w/+.-]+);base64,(.+)", data_url, re.DOTALL)
    if found:
        return found[1], decoded(found[2])
    need(data_url.startswith(("https://", "http://")), f"not an address: {data_url[:40]}")
    return "image/by-address", data_url.encode()


def decoded(data: str) -> bytes:
    """Base64, strictly."""
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise RefusedError(f"not base64: {data[:40]}") from error


def closed(schema: Any, *, all_required: bool) -> None:
    """Structured outputs: every object is closed, and with OpenAI's ``strict`` every field is required."""
    if isinstance(schema, list):
        for one in schema:
            closed(one, all_required=all_required)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and "properties" in schema:
        need(schema.get("additionalProperties") is False, "'additionalProperties' is required to be false")
        missing = set(schema["properties"]) - set(schema.get("required", []))
        need(not (all_required and missing), f"'required' must have every key: {sorted(missing)}")
    for one in schema.values():
        closed(one, all_required=all_required)


def compact(value: Any) -> bytes:
    """JSON as vendors send it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
