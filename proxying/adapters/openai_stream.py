"""Relays a stream of the OpenAI format byte for byte, and reads it on the way."""

from __future__ import annotations

from typing import Any, Final

import orjson

from proxying import sse
from proxying.adapters.base import ClientBody
from proxying.adapters.openai_errors import error_object, read_error_in_answer
from proxying.adapters.openai_usage import read_usage
from proxying.adapters.relay import Relay, event_object
from proxying.errors import UpstreamProtocolError, UpstreamStatusError
from routing.types import Endpoint

# What of a delta is content; a role, a name or a channel alone is not.
_CONTENT_KEYS: Final = (
    "content",
    "reasoning_content",
    "reasoning",
    "tool_calls",
    "refusal",
    "audio",
    "function_call",
    "reasoning_details",
    "images",
)


class OpenAIStream(Relay):
    """One streamed answer for a client of the same dialect.

    Only one thing is ever taken out: the chunk with ``choices: []`` and a usage object, when it was the
    gateway and not the client who asked for it.
    """

    def __init__(
        self, request: ClientBody, *, hides_usage: bool, max_event_bytes: int = sse.MAX_EVENT_BYTES
    ) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._hides_usage = hides_usage
        self._expected = _expected_choices(request)
        self._finished_choices: set[int] = set()
        self._open_choices: set[int] = set()

    def end(self) -> bytes:
        """The upstream body ended; answer what is missing of a complete stream."""
        if self._is_over():
            return b""
        rest = self._splitter.rest()
        closing = b""
        if rest.strip():
            refuse_bare_error(rest)
            try:
                closing = self._read(rest.rstrip(b"\r\n") + b"\n\n")
            except UpstreamProtocolError:
                # A cut event behind a complete answer (its usage, say) takes nothing from the answer.
                if not self._all_choices_finished():
                    raise
        if self._is_over():
            return closing
        if not self._all_choices_finished():
            raise UpstreamProtocolError("The provider's stream ended before the answer was complete.")
        self.finished = True
        return closing + sse.DONE

    def _read(self, block: bytes) -> bytes:
        event = sse.parse_event(block)
        if event is None:
            return block
        if event.data == b"[DONE]":
            if not self.has_content:
                raise UpstreamProtocolError("The provider's stream ended without any content.")
            self.finished = True
            return block
        data = event_object(event.data)
        if data.get("error") or event.name == b"error" or data.get("object") == "error":
            raise UpstreamStatusError(read_error_in_answer(error_object(data) or {"message": ""}))
        return block if self._read_chunk(data) else b""

    def _read_chunk(self, data: dict[str, Any]) -> bool:
        """Take note of one chunk; answer whether the client gets it."""
        choices = data.get("choices")
        if choices is not None and not isinstance(choices, list):
            raise UpstreamProtocolError("The provider sent a chunk whose choices are not a list.")
        for choice in choices or ():
            if not isinstance(choice, dict):
                raise UpstreamProtocolError("The provider sent a choice that is not an object.")
            self._read_choice(choice)
        usage = data.get("usage")
        if isinstance(usage, dict):
            read_usage(usage, self.usage)
            return bool(choices) or choices is None or not self._hides_usage
        vendor = data.get("x_groq")
        if isinstance(vendor, dict) and isinstance(vendor.get("usage"), dict):
            read_usage(vendor["usage"], self.usage)
        return True

    def _read_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index")
        number = index if isinstance(index, int) else 0
        usage = choice.get("usage")
        if isinstance(usage, dict):  # Moonshot puts it here
            read_usage(usage, self.usage)
        if choice.get("finish_reason"):
            self.has_content = True
            self._finished_choices.add(number)
            self._open_choices.discard(number)
            return
        if number not in self._finished_choices:
            self._open_choices.add(number)
        if self.has_content:
            self.usage.pieces += 1
        if not self.has_content:
            delta = choice.get("delta")
            self.has_content = bool(choice.get("text")) or (
                isinstance(delta, dict) and any(delta.get(key) for key in _CONTENT_KEYS)
            )
            self.usage.pieces += self.has_content

    def _all_choices_finished(self) -> bool:
        return not self._open_choices and len(self._finished_choices) >= self._expected


def refuse_bare_error(rest: bytes) -> None:
    """Find an error that came as a plain JSON body where a stream was asked for.

    Raises:
        UpstreamStatusError: there is one.
    """
    try:
        data = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return
    error = error_object(data)
    if error is not None:
        raise UpstreamStatusError(read_error_in_answer(error))


def _expected_choices(request: ClientBody) -> int:
    """How many choices the client asked for: a stream that lacks one of them was cut."""
    count = request.data.get("n")
    choices = count if isinstance(count, int) and not isinstance(count, bool) and count > 1 else 1
    prompt = request.data.get("prompt")
    if request.endpoint is not Endpoint.COMPLETIONS or not isinstance(prompt, list) or not prompt:
        return choices
    # A flat list of numbers is one prompt in tokens.
    return choices * len(prompt) if isinstance(prompt[0], str | list) else choices
