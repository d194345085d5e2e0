"""Changes in words: the one line of a revision, and the lines of its diff. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from routing.document import Change, split_key

MOST_CHARACTERS: Final = 500
_WORDS: Final = {
    "provider": "provider",
    "pool": "pool",
    "candidate": "candidate",
    "alias": "alias",
    "defaults": "defaults",
    "client_key": "client key",
    "admin_token": "admin token",
}
_SWITCH_DETAILS: Final = frozenset({"switch_reason", "switch_base", "switch_expires_at", "switch_set"})


def object_text(key: str) -> str:
    """An object key in words, e.g. ``candidate openai/gpt-5 of gpt-5-chat``."""
    kind, *names = split_key(key)
    word = _WORDS.get(kind, kind)
    if kind == "candidate" and len(names) == 3:
        return f"{word} {names[1]}/{names[2]} of {names[0]}"
    return " ".join([word, *names])


def summarize(changes: Iterable[Change]) -> str:
    """One line: what was added, removed, switched and changed, object by object."""
    by_object: dict[str, list[Change]] = {}
    for change in changes:
        by_object.setdefault(change.object, []).append(change)
    added_pools = {key for key, found in by_object.items() if _is_whole(found) and key.startswith("pool/")}
    parts = [
        _object_summary(key, found)
        for key, found in by_object.items()
        if not (_is_whole(found) and key.startswith("candidate/") and _pool_key(key) in added_pools)
    ]
    text = "; ".join(parts)
    text = text[:1].upper() + text[1:]
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def change_text(change: Change) -> str:
    """One line of a diff, beginning with ``+``, ``-`` or ``~``."""
    name = object_text(change.object)
    if change.field == "*":
        return f"- {name}" if change.after is None else f"+ {name}"
    return (
        f"~ {name}: {change.field} {field_text(change, change.before)} → {field_text(change, change.after)}"
    )


def field_text(change: Change, value: Any) -> str:
    """A value of a change as people read it: instants to the minute."""
    return instant_text(value) if change.field.endswith("_at") and value else value_text(value)


def instant_text(value: str) -> str:
    """``2026-11-25 04:16 UTC`` from ISO 8601; anything else stays as it is."""
    try:
        return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return value


def value_text(value: Any) -> str:
    """A value as people read it."""
    if value is None or value == "":
        return "(nothing)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_whole(changes: list[Change]) -> bool:
    return changes[0].field == "*"


def _pool_key(candidate_key: str) -> str:
    return "pool/" + candidate_key.split("/")[1]


def _object_summary(key: str, changes: list[Change]) -> str:
    name = object_text(key)
    if _is_whole(changes):
        return f"removed {name}" if changes[0].after is None else f"added {name}"
    fields = {change.field: change for change in changes}
    parts = []
    if "enabled" in fields:
        parts.append(f"{'enabled' if fields['enabled'].after else 'disabled'} {name}{_until(fields)}")
    elif fields.keys() & _SWITCH_DETAILS:
        parts.append(f"changed the switch of {name}{_until(fields)}")
    others = [field for field in fields if field != "enabled" and field not in _SWITCH_DETAILS]
    if others:
        parts.append(f"changed {', '.join(others)} of {name}")
    return "; ".join(parts)


def _until(fields: dict[str, Change]) -> str:
    change = fields.get("switch_expires_at")
    return f" until {instant_text(change.after)}" if change is not None and change.after else ""
