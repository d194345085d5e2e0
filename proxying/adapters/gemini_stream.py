"""A stream of Gemini's, as chat completion chunks. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson

from proxying import sse
from proxying.adapters.base import Usage
from proxying.adapters.gemini_answer import AnswerReader, Piece
from proxying.adapters.gemini_usage import chat_usage, settle
from proxying.adapters.json_text import answer_text
from proxying.adapters.openai_errors import error_object, read_error_in_answer
from proxying.adapters.openai_stream import refuse_bare_error
from proxying.adapters.relay import event_object
from proxying.errors import UpstreamError, UpstreamProtocolError, UpstreamStatusError


class GeminiStream:
    """One streamed answer: events are pieces of an answer; there is no ``[DONE]``, the finish tells the end.

    Args:
        reader: A fresh one.
        created: Unix seconds; Gemini does not date its answers.
        expected: How many choices were asked for.
        with_usage: Whether the client wants the usage chunk.
    """

    def __init__(self, reader: AnswerReader, *, created: int, expected: int, with_usage: bool) -> None:
        self.has_content = False
        self.finished = False
        self._reader = reader
        self._created = created
        self._expected = expected
        self._with_usage = with_usage
        self._splitter = sse.Splitter()
        self._begun: set[int] = set()
        self._opening = b""
        self._closing = b',"usage":null}\n\n' if with_usage else b"}\n\n"

    @property
    def usage(self) -> Usage:
        """The tokens so far."""
        return self._reader.usage

    def feed(self, chunk: bytes) -> bytes:
        """Take a piece of the upstream body; answer what may go to the client now."""
        if self.finished:
            return b""
        written: list[bytes] = []
        try:
            for block in self._splitter.feed(chunk):
                self._read(block, written)
        except UpstreamError as error:
            # What follows a complete answer takes nothing from it.
            if not self._is_complete():
                error.partial = b"".join(written)
                raise
        if self._is_complete():
            self._close(written)
        return written[0] if len(written) == 1 else b"".join(written)

    def end(self) -> bytes:
        """The upstream body ended; answer what is missing of a complete stream."""
        if self.finished:
            return b""
        rest = self._splitter.rest()
        written: list[bytes] = []
        if rest.strip():
            refuse_bare_error(rest)
            self._read(rest, written)
        # Fewer choices than asked for are Gemini's to decide; one that is not finished was cut.
        if not self._reader.is_complete():
            raise UpstreamProtocolError("The provider's stream ended before the answer was complete.")
        self._close(written)
        return b"".join(written)

    def _is_complete(self) -> bool:
        return self._reader.is_complete(self._expected)

    def _read(self, block: bytes, written: list[bytes]) -> None:
        event = sse.parse_event(block)
        if event is None or event.data == b"[DONE]":  # Gemini sends none, a proxy before it may
            return
        data = event_object(event.data)
        if data.get("error"):
            raise UpstreamStatusError(read_error_in_answer(error_object(data) or {"message": ""}))
        pieces = self._reader.read(data)
        if not self._opening and pieces:
            self._open(event.data)
        for piece in pieces:
            self._write(piece, written)

    def _write(self, piece: Piece, written: list[bytes]) -> None:
        """The chunks of one piece: what was said, and then how it ended."""
        delta = piece.delta
        if delta or piece.logprobs:
            self.has_content = True
            self._reader.usage.pieces += 1
            written.append(self._chunk(piece.index, self._begin(piece.index, delta), piece.logprobs, None))
        if piece.finish is not None:
            self.has_content = True
            delta = {} if piece.index in self._begun else self._begin(piece.index, {})
            written.append(self._chunk(piece.index, delta, None, piece.finish))

    def _begin(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        """The delta, with the role where it is the choice's first."""
        if index in self._begun:
            return delta
        self._begun.add(index)
        return {"role": "assistant", "content": None, **delta}

    def _chunk(self, index: int, delta: dict[str, Any], logprobs: object, finish: str | None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return b"".join((self._opening, b"[", answer_text(choice), b"]", self._closing))

    def _open(self, first_event: bytes) -> None:
        """What is the same in all chunks is written once."""
        name = self._reader.response_id or sha256(first_event).hexdigest()[:24]
        head = {
            "id": f"chatcmpl-{name}",
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._reader.model,
        }
        self._opening = b"data: " + orjson.dumps(head)[:-1] + b',"choices":'

    def _close(self, written: list[bytes]) -> None:
        self.finished = True
        settle(self._reader.usage)
        if self._with_usage:
            usage = orjson.dumps(chat_usage(self._reader.usage))
            written.append(self._opening + b'[],"usage":' + usage + b"}\n\n")
        written.append(sse.DONE)
