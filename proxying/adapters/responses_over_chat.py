"""Clients of OpenAI's Responses at providers of chat completions, and of whatever those are translated to."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

import orjson

from proxying.adapters.base import ClientBody, Target
from proxying.adapters.chat_message import NewId
from proxying.adapters.json_text import answer_text, request_text
from proxying.adapters.responses_answer import Clock, echo_of, responses_answer
from proxying.adapters.responses_request import chat_request, wants_logprobs
from proxying.adapters.responses_stream import ResponsesEvents
from proxying.errors import InvalidRequestError
from proxying.sse import BOM
from routing.types import Endpoint

_FORWARDED: Final = ("traceparent", "tracestate", "x-request-id", "x-client-request-id", "idempotency-key")
# Chat's names of what the client calls otherwise. Of a message only the list can be told.
_FIELDS: Final = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "logprobs": "include",
}


def _random_id() -> str:
    return uuid.uuid4().hex


class ResponsesOverChat:
    """See ``proxying.adapters.dialects.Translation``.

    ``new_id`` names what came without an id, ``clock`` dates what came without a date.
    """

    def __init__(self, new_id: NewId = _random_id, clock: Clock = time.time) -> None:
        self._new_id = new_id
        self._clock = clock

    def request(self, body: ClientBody, target: Target, headers: Mapping[str, str]) -> ClientBody:
        """A Responses request as a chat completion request; the native adapter asks for usage."""
        if body.endpoint is not Endpoint.RESPONSES:
            raise InvalidRequestError(f"The endpoint '{body.endpoint}' cannot be sent to this provider.")
        data = chat_request(body.data, target)
        request_text(echo_of(body.data))  # what could not be written again is refused now
        return ClientBody(request_text(data), data, Endpoint.CHAT)

    def outline(self, body: ClientBody) -> ClientBody:
        """One choice, whose usage is for the translation to see."""
        data: dict[str, Any] = {
            "model": body.data.get("model"),
            "stream": body.wants_stream,
            "stream_options": {"include_usage": True},
        }
        if body.data.get("parallel_tool_calls") is False:
            data["parallel_tool_calls"] = False
        if wants_logprobs(body.data):
            data["logprobs"] = True
        return ClientBody(b"", data, Endpoint.CHAT)

    def headers(self, client: Mapping[str, str]) -> Mapping[str, str]:
        """Traces go on; what is said to OpenAI does not."""
        return {name: client[name] for name in _FORWARDED if name in client}

    def field(self, native: str) -> str:
        """The client's name for a field of chat completions."""
        name = re.match(r"\w+", native)
        return _FIELDS.get(name[0], native) if name else native

    def answer(self, answer: bytes, body: ClientBody) -> bytes:
        """A whole chat completion as a Responses answer."""
        chat = orjson.loads(answer.removeprefix(BOM))
        return answer_text(responses_answer(chat, body.data, self._new_id, self._clock))

    def writer(self, body: ClientBody) -> ResponsesEvents:
        """A fresh writer of events."""
        return ResponsesEvents(body.data, self._new_id, self._clock)
