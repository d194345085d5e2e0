"""Clients of OpenAI's chat completions at providers of the Messages format."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import orjson

from proxying import splice
from proxying.adapters.anthropic_answer import chat_answer
from proxying.adapters.anthropic_request import messages_request
from proxying.adapters.anthropic_stream import ChatChunks
from proxying.adapters.base import ClientBody, Target
from proxying.adapters.json_text import answer_text, request_text
from proxying.errors import InvalidRequestError
from proxying.sse import BOM
from routing.types import Endpoint

_FORWARDED: Final = ("traceparent", "tracestate", "x-request-id", "x-client-request-id", "idempotency-key")


class ChatOverAnthropic:
    """See ``proxying.adapters.dialects.Translation``. ``clock`` dates the answers: the format has no date."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def request(self, body: ClientBody, target: Target, headers: Mapping[str, str]) -> ClientBody:
        """A chat completion request as a Messages request."""
        if body.endpoint is not Endpoint.CHAT:
            raise InvalidRequestError(f"The endpoint '{body.endpoint}' cannot be sent to this provider.")
        data = messages_request(body.data, target)
        return ClientBody(request_text(data), data, Endpoint.MESSAGES, "anthropic")

    def outline(self, body: ClientBody) -> ClientBody:
        """Nothing of the request is needed to read its answer."""
        return ClientBody(b"", {"stream": body.wants_stream}, Endpoint.MESSAGES, "anthropic")

    def headers(self, client: Mapping[str, str]) -> Mapping[str, str]:
        """Traces go on; what is said to OpenAI does not, and the version is the gateway's own choice."""
        return {name: client[name] for name in _FORWARDED if name in client}

    def field(self, native: str) -> str:
        """What is refused of a chat completion has its own name already."""
        return native

    def answer(self, answer: bytes, body: ClientBody) -> bytes:
        """A whole message as a chat completion."""
        return answer_text(chat_answer(orjson.loads(answer.removeprefix(BOM)), int(self._clock())))

    def writer(self, body: ClientBody) -> ChatChunks:
        """A fresh writer of chunks."""
        return ChatChunks(created=int(self._clock()), with_usage=splice.asks_for_usage(body.data))
