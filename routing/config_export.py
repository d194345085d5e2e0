"""The configuration in force as a configuration file: reading it back changes nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent
from typing import Any, Final

import yaml

from routing.config_references import CREDENTIAL, escape
from routing.document import Document, Fields, split_key
from routing.durations import format_duration

_TIMEOUTS: Final = ("connect", "first_byte", "idle", "total")
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_Found = list[tuple[tuple[str, ...], Fields]]


def render(document: Document) -> str:
    """The document as YAML. Switches and keys are not part of it; stored credentials are a comment."""
    found: _Found = [(split_key(key), fields) for key, fields in sorted(document.items())]
    parts = [_section("providers", [_provider(names[1], fields) for names, fields in _of(found, "provider")])]
    defaults = document.get("defaults")
    if defaults is not None:
        mode = {"configured_provider_models_mode": defaults["configured_provider_models_mode"]}
        parts.append(_dump({"models": mode}))
    aliases = {names[1]: escape(fields["target"]) for names, fields in _of(found, "alias")}
    if aliases:
        parts.append(_dump({"aliases": aliases}))
    routing = _routing(found, defaults)
    if routing:
        parts.append(_dump({"routing": routing}))
    text = "\n".join(part for part in parts if part) or "{}\n"
    return text + "".join(f"# {line}\n" for line in _left_out(found))


def _left_out(found: _Found) -> Iterator[str]:
    """Pools that a file cannot hold, since it refuses them."""
    filled = {names[1] for names, _ in _of(found, "candidate")}
    for names, _ in _of(found, "pool"):
        if names[1] not in filled:
            yield f"The pool {names[1]} has no candidates and is left out."


def _of(found: _Found, kind: str) -> _Found:
    return [(names, fields) for names, fields in found if names[0] == kind]


def _section(name: str, blocks: list[str]) -> str:
    return f"{name}:\n" + "".join(indent(block, "  ") for block in blocks) if blocks else ""


def _provider(name: str, fields: Fields) -> str:
    credential = fields.get("credential", "")
    entry: dict[str, Any] = {"type": fields["kind"]}
    if CREDENTIAL.fullmatch(credential):
        entry["api_key"] = credential
    if fields["base_url"]:
        entry["base_url"] = escape(fields["base_url"])
    if fields["configured_models"]:
        entry["models"] = [escape(model) for model in fields["configured_models"]]
    if fields["options"]:
        entry["options"] = {key: escape(value) for key, value in sorted(fields["options"].items())}
    timeouts = {
        key: format_duration(fields[f"{key}_timeout_s"])
        for key in _TIMEOUTS
        if fields[f"{key}_timeout_s"] is not None
    }
    if timeouts:
        entry["timeouts"] = timeouts
    if fields["max_in_flight"] is not None:
        entry["max_in_flight"] = fields["max_in_flight"]
    block = _dump({name: entry})
    if credential and "api_key" not in entry:
        block += (
            f"  # api_key: {credential}. It is not exported; an import of this file leaves it as it is.\n"
        )
    return block


def _routing(found: _Found, defaults: Fields | None) -> dict[str, Any]:
    routing: dict[str, Any] = {}
    if defaults is not None:
        routing["defaults"] = _policy(defaults)
    pools: dict[str, Any] = {}
    for names, fields in _of(found, "pool"):
        description = {"description": escape(fields["description"])} if fields["description"] else {}
        pools[names[1]] = {**description, **_policy(fields), "candidates": []}
    candidates = _of(found, "candidate")
    for names, fields in sorted(candidates, key=lambda item: (item[0][1], item[1]["priority"], item[0])):
        pools[names[1]]["candidates"].append(
            {
                "provider": names[2],
                "model": escape(names[3]),
                "priority": fields["priority"],
                "weight": fields["weight"],
            }
        )
    filled = {name: pool for name, pool in pools.items() if pool["candidates"]}
    if filled:
        routing["model_pools"] = filled
    return routing


def _policy(fields: Fields) -> dict[str, Any]:
    """The values that are set, in the order of the documentation."""
    ttl = fields["session_affinity_ttl_s"]
    values = {
        "strategy": fields["strategy"],
        "session_affinity": fields["session_affinity"],
        "session_affinity_ttl": None if ttl is None else format_duration(ttl),
        "failover": _set(
            {
                "enabled": fields["failover_enabled"],
                "max_attempts": fields["failover_max_attempts"],
                "retry_on_statuses": fields["failover_on_statuses"],
                "retry_on_model_errors": fields["failover_on_model_errors"],
            }
        )
        or None,
        "when_all_blocked": fields["when_all_blocked"],
    }
    return _set(values)


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != ""}


def _dump(value: Any) -> str:
    text: str = yaml.dump(
        value, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=False
    )
    return text
