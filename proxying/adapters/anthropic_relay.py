"""Relays a stream of the Messages format byte for byte, and reads it on the way."""

from __future__ import annotations

from typing import Any, Final

import orjson

from proxying import sse
from proxying.adapters.anthropic_errors import read_error_in_answer
from proxying.adapters.anthropic_usage import merge_usage, read_usage
from proxying.adapters.openai_errors import error_object
from proxying.adapters.relay import Relay, event_object
from proxying.errors import UpstreamProtocolError, UpstreamStatusError

STOP: Final = sse.encode_event(b'{"type":"message_stop"}', b"message_stop")
# Blocks that begin empty: their content comes with the deltas. All others say something by beginning.
_EMPTY_STARTS: Final = ("text", "thinking")


class AnthropicStream(Relay):
    """One streamed answer for a client of the same dialect. Every event leaves with its ``event:`` line."""

    def __init__(self, *, max_event_bytes: int = sse.MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._counts: dict[str, Any] = {}
        self._has_stop_reason = False

    def end(self) -> bytes:
        """The upstream body ended; answer what is missing of a complete stream."""
        if self._is_over():
            return b""
        rest = self._splitter.rest()
        closing = b""
        if rest.strip():
            try:
                closing = self._read_rest(rest)
            except UpstreamProtocolError:
                # A cut event behind a complete answer takes nothing from the answer.
                if not self._has_stop_reason:
                    raise
        if not self._is_over() and not self._has_stop_reason:
            raise UpstreamProtocolError("The provider's stream ended before the answer was complete.")
        closing += b"" if self._is_over() else STOP
        self.finished = True
        return closing

    def _read_rest(self, rest: bytes) -> bytes:
        """What stands after the last blank line: an event without one, or a plain error body."""
        error = _bare_error(rest)
        if error is not None:
            raise UpstreamStatusError(read_error_in_answer(error))
        block = rest.rstrip(b"\r\n") + b"\n\n"
        return self._read(block) if sse.parse_event(block) is not None else b""

    def _read(self, block: bytes) -> bytes:
        event = sse.parse_event(block)
        if event is None:
            return block
        data = event_object(event.data)
        kind = data.get("type")
        if kind == "error" or event.name == b"error" or data.get("error"):
            raise UpstreamStatusError(read_error_in_answer(error_object(data) or {"message": ""}))
        self._note(kind, data)
        if not event.name and isinstance(kind, str):
            # T57: their SDKs drop an event without its event: line silently.
            return b"event: " + kind.encode() + b"\n" + block.lstrip(b"\r\n").removeprefix(sse.BOM)
        return block

    def _note(self, kind: object, data: dict[str, Any]) -> None:
        if kind == "content_block_delta":
            self.has_content = True
            self.usage.pieces += 1
        elif kind == "content_block_start":
            block = data.get("content_block")
            if isinstance(block, dict) and block.get("type") not in _EMPTY_STARTS:
                self.has_content = True
        elif kind == "message_start":
            message = data.get("message")
            if isinstance(message, dict):
                self._count(message.get("usage"))
                # What is counted here has not been said yet: one or a few. The end tells how many it became.
                self.usage.completion_tokens = None
        elif kind == "message_delta":
            delta = data.get("delta")
            if isinstance(delta, dict) and delta.get("stop_reason"):
                self.has_content = self._has_stop_reason = True
            self._count(data.get("usage"))
        elif kind == "message_stop":
            if not self.has_content:
                raise UpstreamProtocolError("The provider's stream ended without any content.")
            self.finished = True

    def _count(self, usage: object) -> None:
        merge_usage(self._counts, usage)
        read_usage(self._counts, self.usage)


def _bare_error(rest: bytes) -> dict[str, Any] | None:
    """Find an error that came as a plain JSON body where a stream was asked for."""
    try:
        data = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return None
    return error_object(data)
