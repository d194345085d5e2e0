"""A stream of chat completion chunks as events of the Messages format."""

from __future__ import annotations

from typing import Any, Final

import orjson

from proxying import sse
from proxying.adapters.chat_message import NewId, calls_of, reasoning_of, text_of, usage_of
from proxying.adapters.gateway_thinking import SIGNATURE_TEXT
from proxying.adapters.json_text import answer_text
from proxying.adapters.messages_answer import message_id, messages_usage, stop_reason
from proxying.adapters.reasoning_details import CLAUDE
from proxying.adapters.streamed_calls import CallOrder, StreamedCall

# Kind of a block: how it begins, and the delta that carries its text.
_STARTS: Final[dict[str, dict[str, Any]]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}
_DELTAS: Final = {
    "text": b'"delta":{"type":"text_delta","text":',
    "thinking": b'"delta":{"type":"thinking_delta","thinking":',
    "tool_use": b'"delta":{"type":"input_json_delta","partial_json":',
}


class MessagesEvents:
    """See ``proxying.adapters.dialects.EventWriter``. Blocks come one after another, never interleaved."""

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id
        self._has_started = False
        self._kind = ""
        self._signature = ""
        self._call: StreamedCall | None = None
        self._calls = CallOrder(new_id, "toolu")
        self._has_tools = False
        self._index = -1
        self._delta_head = b""
        self._finish: Any = None
        self._usage: Any = None
        self._refused = False

    def write(self, event: sse.Event) -> bytes:
        """The events for one chunk."""
        if event.data == b"[DONE]":
            return self._end()
        data = orjson.loads(event.data)
        self._usage = usage_of(data) or self._usage
        written: list[bytes] = []
        # Azure's first chunk has no choice, no id and no model.
        for choice in data.get("choices") or ():
            if choice.get("index") in (0, None):
                if not self._has_started:
                    written.append(self._start(data))
                self._choice(choice, written)
        return b"".join(written)

    def _start(self, data: dict[str, Any]) -> bytes:
        self._has_started = True
        message: dict[str, Any] = {
            "id": message_id(data.get("id"), self._new_id),
            "type": "message",
            "role": "assistant",
            "model": data.get("model") or "",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": messages_usage(None),
        }
        return _event(b"message_start", {"type": "message_start", "message": message})

    def _choice(self, choice: dict[str, Any], written: list[bytes]) -> None:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            thought = reasoning_of(delta)
            if thought:
                self._say("thinking", thought, written)
            details = delta.get("reasoning_details")
            for detail in details if isinstance(details, list) else ():
                self._sign(detail, written)
            text = text_of(delta.get("content"))
            refusal = delta.get("refusal")
            if refusal:
                self._refused = True
                text += text_of(refusal)
            if text:
                self._say("text", text, written)
            for call in calls_of(delta):
                self._tool(call, written)
        self._finish = choice.get("finish_reason") or self._finish

    def _say(self, kind: str, text: str, written: list[bytes]) -> None:
        if self._kind != kind or self._signature:  # a signature ends its block
            self._close_all(written)
            self._open(kind, _STARTS[kind], written)
        written.append(self._delta(text))

    def _sign(self, detail: Any, written: list[bytes]) -> None:
        """What Claude's providers say of the thinking: its signature, or thoughts that nobody may read."""
        if not isinstance(detail, dict) or detail.get("format") != CLAUDE:
            return
        if detail.get("type") == "reasoning.encrypted":
            self._close_all(written)
            block = {"type": "redacted_thinking", "data": detail.get("data") or ""}
            self._open("redacted_thinking", block, written)
        elif detail.get("signature"):
            if self._kind != "thinking":  # the thoughts themselves may be left out
                self._close_all(written)
                self._open("thinking", _STARTS["thinking"], written)
            self._signature = str(detail["signature"])

    def _tool(self, delta: dict[str, Any], written: list[bytes]) -> None:
        call = self._calls.take(delta)
        if call is self._call:
            self._flush(written)
        elif call.name and (self._call is None or self._call.is_complete()):
            self._next_call(written)

    def _next_call(self, written: list[bytes]) -> None:
        """Close what is open and open the one that waits longest, and the next if it is complete."""
        while self._calls.waiting:
            call = self._calls.waiting.pop(0)
            self._close(written)
            self._call, self._has_tools = call, True
            start = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            self._open("tool_use", start, written)
            self._flush(written)
            if not call.is_complete():
                return

    def _flush(self, written: list[bytes]) -> None:
        text = self._call.unwritten() if self._call is not None else ""
        if text:
            written.append(self._delta(text))

    def _open(self, kind: str, start: dict[str, Any], written: list[bytes]) -> None:
        self._kind = kind
        self._index += 1
        written.append(
            _event(
                b"content_block_start",
                {"type": "content_block_start", "index": self._index, "content_block": start},
            )
        )
        head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        self._delta_head = head % self._index + _DELTAS.get(kind, b"")

    def _delta(self, text: str) -> bytes:
        return self._delta_head + orjson.dumps(text) + b"}}\n\n"

    def _close(self, written: list[bytes]) -> None:
        if not self._kind:
            return
        if self._kind == "thinking":
            signature = {"type": "signature_delta", "signature": self._signature or SIGNATURE_TEXT}
            signed = {"type": "content_block_delta", "index": self._index, "delta": signature}
            written.append(_event(b"content_block_delta", signed))
        written.append(_event(b"content_block_stop", {"type": "content_block_stop", "index": self._index}))
        self._kind, self._signature, self._call = "", "", None

    def _close_all(self, written: list[bytes]) -> None:
        """Nothing may stay open or waiting: calls that waited are written now."""
        while self._calls.waiting:
            self._next_call(written)
        self._close(written)

    def _end(self) -> bytes:
        written: list[bytes] = []
        if not self._has_started:
            written.append(self._start({}))
        self._close_all(written)
        reason = stop_reason(self._finish, has_tools=self._has_tools)
        if self._refused and reason == "end_turn":
            reason = "refusal"
        ending = {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": messages_usage(self._usage),
        }
        written += (
            _event(b"message_delta", ending),
            _event(b"message_stop", {"type": "message_stop"}),
        )
        return b"".join(written)


def _event(name: bytes, data: dict[str, Any]) -> bytes:
    """T57: every event has its ``event:`` line."""
    return sse.encode_event(answer_text(data), name)
