"""The configuration as a flat document: revisions diff it, imports compare it, reverts undo it. Pure.

A document maps an object key to the object's fields, all JSON values. An object key is the object's kind
and names, each percent-encoded, joined by ``/``:

======================================  ====================================================================
``provider/NAME``                       kind, base_url, credential, configured_models, options,
                                        ``*_timeout_s``, max_in_flight and the switch
``pool/CANONICAL``                      description, the policy columns (null or "": as in the defaults) and
                                        the switch
``candidate/CANONICAL/PROVIDER/MODEL``  priority, weight and the switch
``alias/NAME``                          target
``defaults``                            the policy columns and configured_provider_models_mode
``client_key/ID``                       name, prefix, user_path, models, enabled, expires_at
``admin_token/ID``                      name, prefix, read_only, enabled, expires_at
======================================  ====================================================================

The switch is ``enabled, switch_reason, switch_base, switch_expires_at``. ``credential`` is the reference
as written (``${NAME}``), or ``set …f3a`` for a stored key, or empty: never a secret. Instants are ISO 8601,
UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

Fields = dict[str, Any]
Document = dict[str, Fields]

SWITCHABLE: Final = frozenset({"provider", "pool", "candidate"})
"""The kinds of objects that have a switch; ``enabled`` of a key is a value like any other."""
SWITCH_FIELDS: Final = ("enabled", "switch_reason", "switch_base", "switch_expires_at")
_OF_SWITCHES: Final = frozenset({*SWITCH_FIELDS, "switch_set"})


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one object. An object that came or went has the field ``*`` with all its fields."""

    object: str
    field: str
    before: Any
    after: Any


def object_key(kind: str, *names: str) -> str:
    """Join a kind and names into an object key."""
    return "/".join([kind, *(quote(name, safe="") for name in names)])


def split_key(key: str) -> tuple[str, ...]:
    """Take an object key apart again: the kind, then the names."""
    kind, *names = key.split("/")
    return (kind, *(unquote(name) for name in names))


def is_switch(change: Change) -> bool:
    """Whether the change is one of an operator's switch, which the object itself has no part in."""
    return is_switch_field(change.object, change.field)


def is_switch_field(key: str, name: str) -> bool:
    """Whether a field of the object of this key belongs to its switch."""
    return name in _OF_SWITCHES and split_key(key)[0] in SWITCHABLE


def diff(before: Document, after: Document) -> tuple[Change, ...]:
    """Every difference, in the order of object and field."""
    return tuple(_changes(before, after))


def _changes(before: Document, after: Document) -> Iterable[Change]:
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            yield Change(key, "*", old, new)
            continue
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                yield Change(key, name, old.get(name), new.get(name))


def apply(document: Document, changes: Iterable[Change], *, undo: bool = False) -> Document:
    """A copy of the document with the changes laid on (or taken back)."""
    result = {key: dict(fields) for key, fields in document.items()}
    for change in changes:
        value = change.before if undo else change.after
        if change.field == "*":
            if value is None:
                result.pop(change.object, None)
            else:
                result[change.object] = dict(value)
        elif change.object in result:
            result[change.object][change.field] = value
    return result


def as_json(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Changes as they stand in a revision."""
    return [
        {"object": change.object, "field": change.field, "before": change.before, "after": change.after}
        for change in changes
    ]


def from_json(rows: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """Changes as read back from a revision."""
    return tuple(Change(row["object"], row["field"], row["before"], row["after"]) for row in rows)
