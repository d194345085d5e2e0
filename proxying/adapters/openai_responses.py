"""Relays OpenAI's own Responses byte for byte, and reads them on the way."""

from __future__ import annotations

from typing import Any, Final

from proxying import sse
from proxying.adapters.base import Progress
from proxying.adapters.openai_errors import error_object, read_error_in_answer
from proxying.adapters.openai_stream import refuse_bare_error
from proxying.adapters.openai_usage import read_usage
from proxying.adapters.relay import Relay, event_object
from proxying.errors import UpstreamProtocolError, UpstreamStatusError

_ENDS: Final = frozenset({"response.completed", "response.incomplete"})
_FAILURES: Final = frozenset({"error", "response.failed"})
# What comes before anything is said; every other event says something, a call that the provider runs too.
_PRELUDE: Final = frozenset(
    {
        *("response.created", "response.queued", "response.in_progress"),
        *("response.content_part.added", "response.reasoning_summary_part.added"),
        *("response.output_item.added", "keepalive", "ping"),
    }
)
# Items that begin empty: their content comes with the deltas.
_EMPTY_STARTS: Final = ("message", "reasoning")


def check_answer(data: dict[str, Any]) -> None:
    """Check a whole answer. One without output is whole: the limit may have been too low for a word.

    Raises:
        UpstreamStatusError: it failed.
        UpstreamProtocolError: it is none.
    """
    if data.get("status") == "failed":
        raise UpstreamStatusError(read_error_in_answer({"message": "The provider failed to answer."}))
    if not isinstance(data.get("output"), list):
        raise UpstreamProtocolError("The provider's answer has no 'output'.")


class ResponsesStream(Relay):
    """One streamed answer for a client of the same dialect; no ``[DONE]`` ends it, but its last event."""

    def __init__(self, *, max_event_bytes: int = sse.MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self.progress = Progress()

    def end(self) -> bytes:
        """The upstream body ended; answer its last event, when the blank line behind it is missing."""
        if self._is_over():
            return b""
        rest = self._splitter.rest()
        if rest.strip():
            refuse_bare_error(rest)
            block = self._read(rest.rstrip(b"\r\n") + b"\n\n")
            if self._is_over():
                return block
        raise UpstreamProtocolError("The provider's stream ended before the answer was complete.")

    def _read(self, block: bytes) -> bytes:
        event = sse.parse_event(block)
        if event is None:
            return block
        data = event_object(event.data)
        kind = data.get("type") or ("error" if data.get("error") else None)
        if not isinstance(kind, str):
            raise UpstreamProtocolError("The provider sent an event without a type.")
        if kind in _FAILURES or event.name == b"error" or data.get("error"):
            raise UpstreamStatusError(read_error_in_answer(_error_in(data)))
        self._note(kind, data)
        return block

    def _note(self, kind: str, data: dict[str, Any]) -> None:
        number = data.get("sequence_number")
        self.progress.next_number = (number if isinstance(number, int) else self.progress.next_number) + 1
        response = data.get("response")
        if kind in _ENDS:
            self.has_content = self.finished = True
            if isinstance(response, dict) and isinstance(response.get("usage"), dict):
                read_usage(response["usage"], self.usage)
        elif kind not in _PRELUDE or (kind == "response.output_item.added" and _begins_full(data)):
            self.has_content = True
            self.usage.pieces += isinstance(data.get("delta"), str)
        elif isinstance(response, dict):
            self.progress.response = response


def _begins_full(data: dict[str, Any]) -> bool:
    item = data.get("item")
    return isinstance(item, dict) and item.get("type") not in _EMPTY_STARTS


def _error_in(data: dict[str, Any]) -> dict[str, Any]:
    """The error of an ``error`` event, flat or nested, or of ``response.failed``."""
    response = data.get("response")
    if isinstance(response, dict):
        return error_object(response) or {"message": ""}
    found = error_object(data) or {"message": ""}
    # Of a flat one ``type`` is the event's own.
    return (
        {name: value for name, value in found.items() if name != "type"}
        if found is not data.get("error")
        else found
    )
