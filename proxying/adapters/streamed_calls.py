"""The tool calls of one chat stream, put into an order in which they can be written one after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from proxying.adapters.chat_message import NewId, tool_id
from proxying.adapters.json_text import answer_text


@dataclass(slots=True)
class StreamedCall:
    """One call. ``pieces`` are its arguments so far, of which ``written`` have gone out.

    ``extra`` is what the vendor put beside the function: Gemini's signature.
    """

    id: str
    name: str = ""
    extra: dict[str, Any] | None = None
    pieces: list[str] = field(default_factory=list)
    written: int = 0
    _parsed: int = 0
    _is_object: bool = False

    def unwritten(self) -> str:
        """The arguments that have not gone out; they count as written from now on."""
        text = "".join(self.pieces[self.written :])
        self.written = len(self.pieces)
        return text

    def is_complete(self) -> bool:
        """Whether the arguments are a whole JSON object, so that none can follow.

        It is asked for every delta of a call that waits: only what may have changed is parsed again.
        """
        if len(self.pieces) > self._parsed:
            self._parsed = len(self.pieces)
            self._is_object = self.pieces[-1].endswith("}") and _is_json("".join(self.pieces))
        return self._is_object


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


class CallOrder:
    """Which call a delta belongs to, and which calls wait until the one before them is complete.

    Calls come one after another as a rule; where their deltas interleave, the later ones wait. Some vendors
    leave the index out, or say 0 for all: a new id or a name begins a new call then. ``prefix`` begins the
    ids that are made for calls without one.
    """

    def __init__(self, new_id: NewId, prefix: str) -> None:
        self.waiting: list[StreamedCall] = []
        self._new_id = new_id
        self._prefix = prefix
        self._calls: dict[int, StreamedCall] = {}
        self._last: StreamedCall | None = None

    def take(self, delta: dict[str, Any]) -> StreamedCall:
        """The call of a delta, with the delta's arguments added; a new one waits to be opened."""
        function = delta.get("function")
        given = function if isinstance(function, dict) else {}
        call = self._find(delta, given)
        if not call.name and isinstance(given.get("name"), str):
            call.name = given["name"]
        if isinstance(delta.get("extra_content"), dict):
            call.extra = delta["extra_content"]
        arguments = given.get("arguments")
        if isinstance(arguments, dict):
            arguments = answer_text(arguments).decode()
        if isinstance(arguments, str) and arguments:
            call.pieces.append(arguments)
        self._last = call
        return call

    def _find(self, delta: dict[str, Any], function: dict[str, Any]) -> StreamedCall:
        index, given_id = delta.get("index"), delta.get("id")
        known = self._calls.get(index) if isinstance(index, int) else self._last
        is_another = bool(given_id and known and given_id != known.id and function.get("name"))
        begins = not isinstance(index, int) and bool(given_id or function.get("name"))
        if known is not None and not is_another and not begins:
            return known
        call = StreamedCall(tool_id(given_id, self._new_id, self._prefix))
        if isinstance(index, int):
            self._calls[index] = call
        self.waiting.append(call)
        return call
