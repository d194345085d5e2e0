"""From what is and what a file says to what will be, and how that reads: the diff of an import. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from routing.document import Change, Document, Fields, diff, split_key

FILE_KINDS: Final = frozenset({"provider", "pool", "candidate", "alias", "defaults"})
"""The kinds of objects that a file can hold; keys and tokens are never touched."""

NEW_SWITCH: Final[Fields] = {
    "enabled": True,
    "switch_reason": "",
    "switch_base": True,
    "switch_expires_at": None,
    "switch_set": False,
}
UNSET_POLICY: Final[Fields] = {
    "strategy": "",
    "session_affinity": None,
    "session_affinity_ttl_s": None,
    "failover_enabled": None,
    "failover_max_attempts": None,
    "failover_on_statuses": None,
    "failover_on_model_errors": None,
    "when_all_blocked": "",
}
UNSET_DEFAULTS: Final[Fields] = {**UNSET_POLICY, "configured_provider_models_mode": "fallback"}
_ORDER: Final = {"defaults": 0, "provider": 1, "pool": 2, "candidate": 3, "alias": 4}


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import would do.

    ``desired`` is what is to be written, ``target`` the whole configuration afterwards. ``kept`` are objects
    that the file lacks and that stay, because pruning was not asked for; ``missing`` are those of them that
    count as drift: candidates of a pool that the file names.
    """

    desired: Document
    target: Document
    changes: tuple[Change, ...]
    kept: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_drift(self) -> bool:
        """Whether file and database differ in what the file names."""
        return bool(self.changes or self.missing)


def plan(current: Document, desired: Document, *, prune: bool) -> Plan:
    """Lay the objects of a file over the configuration in force.

    Switches stay as they are; a credential stays where the file has none. With ``prune`` what the file
    lacks goes, its switch with it, and absent defaults are the built-in ones again.
    """
    lacking = tuple(key for key in sorted(current) if _kind(key) in FILE_KINDS and key not in desired)
    if prune and "defaults" in current:
        desired = {**desired, "defaults": {**UNSET_DEFAULTS, **desired.get("defaults", {})}}
    target = {key: fields for key, fields in current.items() if not (prune and key in lacking)}
    for key, fields in desired.items():
        target[key] = {**current.get(key, _blank(key)), **fields}
    # Defaults that nobody has set are no object that could be kept.
    kept = () if prune else tuple(key for key in lacking if current[key] != UNSET_DEFAULTS)
    return Plan(
        desired=desired,
        target=target,
        changes=diff(current, target),
        kept=kept,
        missing=tuple(key for key in kept if _kind(key) == "candidate" and _pool_of(key) in desired),
    )


def lines(changes: Iterable[Change], kept: Iterable[str] = ()) -> Iterator[str]:
    """Changes for people, one line each: ``+`` comes, ``-`` goes, ``~`` changes."""
    for change in sorted(changes, key=lambda change: (*_rank(change.object), change.field)):
        title = describe(change.object)
        if change.field != "*":
            yield f"~ {title} {change.field}: {_shown(change.before)} -> {_shown(change.after)}"
        elif change.before is None:
            yield f"+ {title}{_details(change.object, change.after)}"
        else:
            yield f"- {title}"
    for key in sorted(kept, key=_rank):
        yield f"  kept, not in file: {describe(key)}"


def describe(key: str) -> str:
    """An object for people: ``candidate openai/gpt-5 of pool gpt-5``."""
    kind, *names = split_key(key)
    if kind == "candidate" and len(names) == 3:
        return f"candidate {names[1]}/{names[2]} of pool {names[0]}"
    return " ".join([kind, *names])


def _details(key: str, fields: Fields) -> str:
    blank = _blank(key)
    shown = [
        f"{name}={_shown(value)}"
        for name, value in sorted(fields.items())
        if value not in ("", None, [], {}) and blank.get(name) != value
    ]
    return f" ({', '.join(shown)})" if shown else ""


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "unset"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(str(item) for item in value) + "]"
    return str(value)


def _blank(key: str) -> Fields:
    """The fields of a new object that a file need not name."""
    match _kind(key):
        case "provider":
            return {"credential": "", **NEW_SWITCH}
        case "pool" | "candidate":
            return NEW_SWITCH
        case "defaults":
            return UNSET_DEFAULTS
        case _:
            return {}


def _kind(key: str) -> str:
    return key.partition("/")[0]


def _pool_of(candidate: str) -> str:
    return "pool/" + candidate.split("/")[1]


def _rank(key: str) -> tuple[int, str]:
    return _ORDER.get(_kind(key), 9), key
