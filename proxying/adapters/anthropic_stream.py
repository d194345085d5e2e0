"""A stream of the Messages format as chat completion chunks, event by event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from proxying import sse
from proxying.adapters import reasoning_details
from proxying.adapters.anthropic_answer import annotation, finish_reason, refusal_text, tool_call, words
from proxying.adapters.anthropic_usage import chat_usage, merge_usage
from proxying.adapters.json_text import answer_text

# Keeps the client's connection warm; SSE readers pass over comments.
_PING: Final = b": ping\n\n"


class ChatChunks:
    """See ``proxying.adapters.dialects.EventWriter``. ``created`` is Unix seconds."""

    def __init__(self, *, created: int, with_usage: bool) -> None:
        self._created = created
        self._with_usage = with_usage
        self._id = ""
        self._model = ""
        self._counts: dict[str, Any] = {}
        self._text_length = 0
        self._calls = 0
        self._block: dict[str, Any] = {}
        self._arguments_came = False
        self._opening = b""
        self._closing = b""
        self._name_chunks()

    def write(self, event: sse.Event) -> bytes:
        """The chunks for one event; what is not known is passed over, as Anthropic asks of its clients."""
        data = orjson.loads(event.data)
        kind = data.get("type")
        handle = _HANDLERS.get(kind) if isinstance(kind, str) else None
        return handle(self, data) if handle is not None else b""

    def _start(self, data: dict[str, Any]) -> bytes:
        message = data.get("message")
        if isinstance(message, dict):
            self._id = message.get("id") or ""
            self._model = message.get("model") or ""
            merge_usage(self._counts, message.get("usage"))
            self._name_chunks()
        return self._chunk({"role": "assistant", "content": ""})

    def _start_block(self, data: dict[str, Any]) -> bytes:
        given = data.get("content_block")
        block = self._block = dict(given) if isinstance(given, dict) else {}
        kind = block.get("type")
        if kind == "tool_use":
            whole = block.get("input")
            # Their own streams begin with {}; others may give the input at once.
            arguments = answer_text(whole).decode() if whole else ""
            self._arguments_came = bool(whole)
            index, self._calls = self._calls, self._calls + 1
            return self._chunk({"tool_calls": [{"index": index, **tool_call(block, arguments)}]})
        if kind == "text" and block.get("text"):
            return self._text(words(block, "text"))
        if kind == "thinking" and block.get("thinking"):
            return self._thinking(data, words(block, "thinking"))
        if kind == "redacted_thinking":
            return self._detail(data, block)
        return b""

    def _delta(self, data: dict[str, Any]) -> bytes:
        given = data.get("delta")
        delta = given if isinstance(given, dict) else {}
        kind = delta.get("type")
        if kind == "text_delta":
            return self._text(words(delta, "text"))
        if kind == "input_json_delta":
            return self._arguments(words(delta, "partial_json"))
        if kind == "thinking_delta":
            return self._thinking(data, words(delta, "thinking"))
        if kind == "signature_delta":
            return self._detail(data, {"type": "thinking", "signature": delta.get("signature")})
        return self._citation(delta) if kind == "citations_delta" else b""

    def _citation(self, delta: dict[str, Any]) -> bytes:
        found = annotation(delta.get("citation"), self._text_length)
        return self._chunk({"annotations": [found]}) if found is not None else b""

    def _text(self, text: str) -> bytes:
        self._text_length += len(text)
        return self._chunk({"content": text}) if text else b""

    def _thinking(self, data: dict[str, Any], text: str) -> bytes:
        if not text:
            return b""
        detail = reasoning_details.detail({"type": "thinking", "thinking": text}, data.get("index") or 0)
        return self._chunk({"reasoning_content": text, "reasoning_details": [detail]})

    def _detail(self, data: dict[str, Any], block: dict[str, Any]) -> bytes:
        return self._chunk({"reasoning_details": [reasoning_details.detail(block, data.get("index") or 0)]})

    def _arguments(self, text: str) -> bytes:
        # Input of a tool that the provider runs itself is not the client's to answer.
        if not text or self._block.get("type") != "tool_use":
            return b""
        self._arguments_came = True
        call = {"index": self._calls - 1, "function": {"arguments": text}}
        return self._chunk({"tool_calls": [call]})

    def _stop_block(self, _: dict[str, Any]) -> bytes:
        """A call without arguments still needs an object: clients parse what they get."""
        block, self._block = self._block, {}
        came, self._arguments_came = self._arguments_came, False
        if block.get("type") != "tool_use" or came:
            return b""
        return self._chunk({"tool_calls": [{"index": self._calls - 1, "function": {"arguments": "{}"}}]})

    def _finish(self, data: dict[str, Any]) -> bytes:
        merge_usage(self._counts, data.get("usage"))
        delta = data.get("delta")
        if not isinstance(delta, dict) or not delta.get("stop_reason"):
            return b""
        refusal = refusal_text(delta)
        said = self._chunk({"refusal": refusal}) if refusal else b""
        return said + self._chunk({}, finish_reason(delta["stop_reason"]))

    def _end(self, _: dict[str, Any]) -> bytes:
        if not self._with_usage:
            return sse.DONE
        envelope = {**self._envelope(), "choices": [], "usage": chat_usage(self._counts)}
        return sse.encode_event(answer_text(envelope)) + sse.DONE

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        ending = b'"' + finish.encode() + b'"' if finish else b"null"
        return b"".join((self._opening, answer_text(delta), b',"finish_reason":', ending, self._closing))

    def _name_chunks(self) -> None:
        """What is the same in all chunks is written once."""
        head = answer_text(self._envelope())[:-1]
        self._opening = b"data: " + head + b',"choices":[{"index":0,"delta":'
        self._closing = b'}],"usage":null}\n\n' if self._with_usage else b"}]}\n\n"

    def _envelope(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
        }


_HANDLERS: Final[Mapping[str, Callable[[ChatChunks, dict[str, Any]], bytes]]] = {
    "message_start": ChatChunks._start,
    "content_block_start": ChatChunks._start_block,
    "content_block_delta": ChatChunks._delta,
    "content_block_stop": ChatChunks._stop_block,
    "message_delta": ChatChunks._finish,
    "message_stop": ChatChunks._end,
    "ping": lambda _writer, _data: _PING,
}
