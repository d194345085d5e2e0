"""Revisions as the feed shows them: each change in words, the pools it touched. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from routing.document import Change, from_json, split_key
from routing.summary import field_text, object_text

WhyNot = Callable[[Iterable[Change]], str]

_HIDDEN = frozenset({"switch_set", "switch_base"})
_FIELD_WORDS = {"switch_reason": "reason", "switch_expires_at": "until"}


@dataclass(frozen=True, slots=True)
class Line:
    """One change: what it was about, and the value before and after; a whole object has no values."""

    sign: str
    object: str
    field: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision. ``undone_by`` is the later one that took it back; ``why_not``: why the reader may not."""

    revision: Any
    lines: tuple[Line, ...]
    pools: tuple[str, ...]
    undone_by: int | None
    can_undo: bool
    why_not: str = ""


def entries(revisions: Iterable[Any], undone: Mapping[int, int], why_not: WhyNot) -> list[Entry]:
    """The feed's entries, in the order given; ``why_not`` says why the reader may not take changes back."""
    return [_entry(revision, undone.get(revision.number), why_not) for revision in revisions]


def _entry(revision: Any, undone_by: int | None, why_not: WhyNot) -> Entry:
    changes = from_json(revision.changes)
    touched = {split_key(change.object)[1] for change in changes if _names_a_pool(change)}
    undoable = any(change.field not in {"switch_set", "credential"} for change in changes)
    return Entry(
        revision,
        lines(changes),
        tuple(sorted(touched)),
        undone_by,
        can_undo=undoable and undone_by is None,
        why_not=why_not(changes),
    )


def lines(changes: Iterable[Change]) -> tuple[Line, ...]:
    """Changes in words, without what only routing needs."""
    return tuple(_line(change) for change in changes if change.field not in _HIDDEN)


def _names_a_pool(change: Change) -> bool:
    return change.object.startswith(("pool/", "candidate/"))


def _line(change: Change) -> Line:
    name = object_text(change.object)
    if change.field == "*":
        return Line("−" if change.after is None else "+", name)
    field = _FIELD_WORDS.get(change.field, change.field)
    return Line("~", name, field, field_text(change, change.before), field_text(change, change.after))
