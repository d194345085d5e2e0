"""Changes to a client's JSON body that leave every other byte as it was: no re-encoding, one pass.

The body is known to be a valid JSON object (``proxying.schemas.parse_body``); the scanner relies on that.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxying.errors import InvalidRequestError

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR: Final = re.compile(rb"[^,\]}\s]++")
# Everything up to the next bracket; strings are taken whole, so that brackets inside them do not count.
_TO_BRACKET: Final = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+[{}\[\]]', re.DOTALL)
_ASK_USAGE: Final = b'{"include_usage":true}'
_ADDED_OPTIONS: Final = b',"stream_options":' + _ASK_USAGE


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object, as offsets into the body: ``"key"`` begins at ``start``."""

    key: str
    start: int
    value_start: int
    value_end: int


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: bytes


def asks_for_usage(data: dict[str, Any]) -> bool:
    """Whether the client itself wants the usage chunk at the end of its stream."""
    options = data.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def can_ask_for_usage(data: dict[str, Any]) -> bool:
    """Whether ``stream_options`` is absent or of a shape that ``include_usage`` can be added to."""
    return isinstance(data.get("stream_options"), dict | None)


def splice(
    raw: bytes,
    data: dict[str, Any],
    *,
    model: str,
    ask_usage: bool = False,
    without: Collection[str] = (),
    plain: bool = False,
) -> bytes:
    """Put ``model`` in the place of the client's, drop a string ``provider``, ask for usage if told to.

    Args:
        raw: The body as sent.
        data: The object parsed from it.
        model: The exact upstream id.
        ask_usage: Set ``stream_options.include_usage``; only where ``can_ask_for_usage``.
        without: Further fields of the top level that are left out.
        plain: ``is_plain`` is known to hold.

    Raises:
        InvalidRequestError: ``model`` stands twice at the top level.
    """
    dropped = {name for name in without if name in data} if without else set()
    if isinstance(data.get("provider"), str):
        dropped.add("provider")
    merge_options = ask_usage and "stream_options" in data
    if not dropped and not merge_options and (plain or is_plain(raw)):
        return _splice_plain(raw, orjson.dumps(model), ask_usage)
    members = list(scan_members(raw, raw.index(b"{")))
    refuse_duplicates(members)
    edits = [*_member_edits(raw, members, orjson.dumps(model), ask_usage)]
    last = max(index for index, member in enumerate(members) if member.key not in dropped)
    edits += [
        _Edit(member.start, members[index + 1].start, b"")
        for index, member in enumerate(members[:last])
        if member.key in dropped
    ]
    # Dropped members at the end go with the comma before them; what is added takes their place.
    added = _ADDED_OPTIONS if ask_usage and not merge_options else b""
    edits.append(_Edit(members[last].value_end, members[-1].value_end, added))
    return _apply(raw, edits)


def is_plain(raw: bytes) -> bool:
    """Whether the one ``"model"`` in the body must be the top-level key (when the object has that key).

    True when the name stands once and no key can be an escaped spelling of it.
    """
    return raw.count(b'"model"') == 1 and b"\\u006" not in raw


def scan_members(raw: bytes, opening: int) -> Iterator[Member]:
    """The members of the object whose brace is at ``opening``, in order, duplicates included."""
    position = _skip_space(raw, opening + 1)
    while raw[position] == _QUOTE:
        key_end = _end_of(_STRING, raw, position)
        colon = _skip_space(raw, key_end)
        value_start = _skip_space(raw, colon + 1)
        value_end = _end_of_value(raw, value_start)
        yield Member(_decode_key(raw[position:key_end]), position, value_start, value_end)
        position = _skip_space(raw, value_end)
        if raw[position] == _CLOSING_BRACE:
            return
        position = _skip_space(raw, position + 1)


def refuse_duplicates(members: list[Member]) -> None:
    """Refuse a body in which ``model`` stands twice: what would be routed is not what is read.

    Raises:
        InvalidRequestError: it does.
    """
    if sum(member.key == "model" for member in members) > 1:
        raise InvalidRequestError(
            "The body has more than one top-level 'model'.", param="model", code="duplicate_model"
        )


_QUOTE: Final = ord('"')
_OPENING: Final = frozenset(b"{[")
_CLOSING_BRACE: Final = ord("}")


def _splice_plain(raw: bytes, model: bytes, ask_usage: bool) -> bytes:
    key_end = raw.index(b'"model"') + len(b'"model"')
    # Nearly always a colon, a space at most, and a name without escapes.
    value_start = raw.index(b'"', key_end)
    value_end = raw.index(b'"', value_start + 1) + 1
    if b"\\" in raw[value_start:value_end]:
        value_end = _end_of(_STRING, raw, value_start)
    if not ask_usage:
        return b"".join((raw[:value_start], model, memoryview(raw)[value_end:]))
    end = _skip_space_back(raw, raw.rindex(b"}"))
    view = memoryview(raw)
    return b"".join((view[:value_start], model, view[value_end:end], _ADDED_OPTIONS, view[end:]))


def _member_edits(raw: bytes, members: list[Member], model: bytes, ask_usage: bool) -> Iterator[_Edit]:
    for member in members:
        if member.key == "model":
            yield _Edit(member.value_start, member.value_end, model)
        elif member.key == "stream_options" and ask_usage:
            yield _usage_edit(raw, member)


def _usage_edit(raw: bytes, member: Member) -> _Edit:
    """Set ``include_usage`` in the value of ``stream_options``; null becomes an object."""
    if raw[member.value_start] != ord("{"):
        return _Edit(member.value_start, member.value_end, _ASK_USAGE)
    options = list(scan_members(raw, member.value_start))
    if not options:
        return _Edit(member.value_start, member.value_end, _ASK_USAGE)
    inner = [
        _Edit(option.value_start - member.value_start, option.value_end - member.value_start, b"true")
        for option in options
        if option.key == "include_usage"
    ]
    if not inner:
        end = options[-1].value_end - member.value_start
        inner = [_Edit(end, end, b',"include_usage":true')]
    return _Edit(
        member.value_start, member.value_end, _apply(raw[member.value_start : member.value_end], inner)
    )


def _apply(raw: bytes, edits: list[_Edit]) -> bytes:
    view = memoryview(raw)
    pieces: list[bytes | memoryview] = []
    position = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        pieces += (view[position : edit.start], edit.text)
        position = edit.end
    pieces.append(view[position:])
    return b"".join(pieces)


def _end_of_value(raw: bytes, start: int) -> int:
    if raw[start] == _QUOTE:
        return _end_of(_STRING, raw, start)
    if raw[start] not in _OPENING:
        return _end_of(_SCALAR, raw, start)
    depth = 1
    position = start + 1
    while depth:
        position = _end_of(_TO_BRACKET, raw, position)
        depth += 1 if raw[position - 1] in _OPENING else -1
    return position


def _end_of(pattern: re.Pattern[bytes], raw: bytes, start: int) -> int:
    found = pattern.match(raw, start)
    if found is None:  # the body was valid JSON when it was parsed
        raise InvalidRequestError("The body is not valid JSON.", code="invalid_json")
    return found.end()


def _skip_space(raw: bytes, start: int) -> int:
    return _end_of(_SPACE, raw, start)


def _skip_space_back(raw: bytes, end: int) -> int:
    while raw[end - 1] in b" \t\r\n":
        end -= 1
    return end


def _decode_key(literal: bytes) -> str:
    if b"\\" in literal:
        return str(orjson.loads(literal))
    return literal[1:-1].decode()
