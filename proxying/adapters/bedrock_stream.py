"""A stream of Converse's, as chat completion chunks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from proxying import eventstream, sse
from proxying.adapters.base import Usage
from proxying.adapters.bedrock_answer import (
    Reading,
    call_of,
    chat_usage,
    citation,
    finish_reason,
    is_clients_call,
    picture,
    read_usage,
    reasoning,
)
from proxying.adapters.bedrock_errors import read_exception
from proxying.adapters.relay import event_object
from proxying.errors import UpstreamError, UpstreamProtocolError, UpstreamStatusError

Data = dict[str, Any]


class BedrockStream:
    """One streamed answer: ``messageStop`` says why it ended, ``metadata`` counts its tokens and is the last.

    Args:
        envelope: What is the same in all chunks: ``id``, ``object``, ``created``, ``model``.
        reading: How the client wants it.
        with_usage: Whether the client wants the usage chunk.
    """

    def __init__(self, envelope: Data, reading: Reading, *, with_usage: bool) -> None:
        self.has_content = False
        self.finished = False
        self.usage = Usage()
        self._reading = reading
        self._with_usage = with_usage
        self._counts: Any = {}
        self._splitter = eventstream.Splitter()
        self._has_begun = False
        self._stopped = False
        self._calls = 0
        self._text_length = 0
        # Of the blocks that are open, by their index: the call's number and whether arguments came; a format.
        self._open_calls: dict[Any, list[Any]] = {}
        self._pictures: dict[Any, Any] = {}
        self._head = b"data: " + orjson.dumps(envelope)[:-1] + b',"choices":['
        self._opening = self._head + b'{"index":0,"delta":'
        self._closing = b'}],"usage":null}\n\n' if with_usage else b"}]}\n\n"

    def feed(self, chunk: bytes) -> bytes:
        """Take a piece of the upstream body; answer what may go to the client now."""
        written: list[bytes] = []
        try:
            for message in self._splitter.feed(chunk):
                if self.finished:
                    break
                written.append(self._read(message))
        except UpstreamError as error:
            # What follows a complete answer takes nothing from it.
            if not self._stopped:
                error.partial = b"".join(written)
                raise
            written.append(self._close())
        return written[0] if len(written) == 1 else b"".join(written)

    def end(self) -> bytes:
        """The upstream body ended; answer what is missing of a complete stream."""
        if not self._stopped:
            raise UpstreamProtocolError("The provider's stream ended before the answer was complete.")
        return self._close()

    def _read(self, message: eventstream.Message) -> bytes:
        headers = message.headers
        kind = headers.get("message-type")
        if kind == "event":
            handler = _HANDLERS.get(headers.get("event-type", ""))
            return b"" if handler is None else handler(self, event_object(message.payload))
        if kind == "exception":
            facts = read_exception(headers.get("exception-type", ""), event_object(message.payload))
            raise UpstreamStatusError(facts)
        if kind == "error":
            said = {"message": headers.get("error-message", "")}
            raise UpstreamStatusError(read_exception(headers.get("error-code", ""), said))
        raise UpstreamProtocolError("The provider sent a message of an unknown type.")

    def _start_block(self, data: Data) -> bytes:
        start = _member(data, "start")
        use = start.get("toolUse")
        if isinstance(start.get("image"), dict):
            self._pictures[_index(data)] = start["image"].get("format")
        if use is None or not is_clients_call(use):
            return b""
        if self._calls and (self._reading.one_call or self._reading.by_function_call):
            return b""
        call = call_of(use)
        number, self._calls = self._calls, self._calls + 1
        self._open_calls[_index(data)] = [number, False]
        if self._reading.by_function_call:
            return self._chunk({"function_call": call["function"]})
        return self._chunk({"tool_calls": [{"index": number, **call}]})

    def _delta(self, data: Data) -> bytes:
        delta = _member(data, "delta")
        text = delta.get("text")
        if isinstance(text, str):
            self._text_length += len(text)
            return self._chunk({"content": text}) if text else b""
        if "toolUse" in delta:
            return self._arguments(_index(data), _member(delta, "toolUse").get("input"))
        if "reasoningContent" in delta:
            said = reasoning(delta["reasoningContent"], _index(data))
            return self._chunk(said) if said else b""
        if "citation" in delta:
            found = citation(delta["citation"], self._text_length)
            return self._chunk({"annotations": [found]}) if found else b""
        if "image" in delta:
            made = picture(self._pictures.get(_index(data)), _member(delta, "image").get("source"))
            return self._chunk({"images": [made]}) if made else b""
        return b""

    def _arguments(self, index: int, text: Any) -> bytes:
        call = self._open_calls.get(index)
        if call is None or not isinstance(text, str) or not text:
            return b""
        call[1] = True
        return self._call_piece(call[0], text)

    def _stop_block(self, data: Data) -> bytes:
        """A call without arguments still needs an object: clients parse what they get."""
        call = self._open_calls.pop(_index(data), None)
        return b"" if call is None or call[1] else self._call_piece(call[0], "{}")

    def _call_piece(self, number: int, arguments: str) -> bytes:
        function = {"arguments": arguments}
        if self._reading.by_function_call:
            return self._chunk({"function_call": function})
        return self._chunk({"tool_calls": [{"index": number, "function": function}]})

    def _stop(self, data: Data) -> bytes:
        reason = finish_reason(
            data.get("stopReason"), self._reading, has_calls=self._calls > 0, has_content=self.has_content
        )
        self._stopped = True
        pieces = self.usage.pieces
        closing = self._chunk({}, reason)
        self.usage.pieces = pieces
        return closing

    def _metadata(self, data: Data) -> bytes:
        self._counts = data.get("usage")
        read_usage(self._counts, self.usage)
        return self._close() if self._stopped else b""

    def _close(self) -> bytes:
        if self.finished:
            return b""
        self.finished = True
        if not self._with_usage:
            return sse.DONE
        return self._head + b'],"usage":' + orjson.dumps(chat_usage(self._counts)) + b"}\n\n" + sse.DONE

    def _chunk(self, delta: Data, finish: str | None = None) -> bytes:
        self.has_content = True
        self.usage.pieces += 1
        if not self._has_begun:
            self._has_begun = True
            delta = {"role": "assistant", "content": None, **delta}
        ending = b'"' + finish.encode() + b'"' if finish else b"null"
        return b"".join(
            (self._opening, orjson.dumps(delta), b',"logprobs":null,"finish_reason":', ending, self._closing)
        )


_HANDLERS: Final[Mapping[str, Callable[[BedrockStream, Data], bytes]]] = {
    "contentBlockStart": BedrockStream._start_block,
    "contentBlockDelta": BedrockStream._delta,
    "contentBlockStop": BedrockStream._stop_block,
    "messageStop": BedrockStream._stop,
    "metadata": BedrockStream._metadata,
}


def _member(data: Data, name: str) -> Data:
    held = data.get(name)
    return held if isinstance(held, dict) else {}


def _index(data: Data) -> int:
    index = data.get("contentBlockIndex")
    return index if isinstance(index, int) else 0
