"""Clients of Anthropic's Messages at providers of OpenAI's format."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

import orjson

from proxying.adapters.base import ClientBody, Target
from proxying.adapters.chat_message import NewId
from proxying.adapters.json_text import answer_text, request_text
from proxying.adapters.messages_answer import messages_answer
from proxying.adapters.messages_request import chat_request
from proxying.adapters.messages_stream import MessagesEvents
from proxying.errors import InvalidRequestError
from proxying.sse import BOM
from routing.types import Endpoint

_FORWARDED: Final = ("traceparent", "tracestate", "x-request-id", "x-client-request-id", "idempotency-key")


def _random_id() -> str:
    return uuid.uuid4().hex[:24]


class MessagesOverChat:
    """See ``proxying.adapters.dialects.Translation``. ``new_id`` names what came without an id."""

    def __init__(self, new_id: NewId = _random_id) -> None:
        self._new_id = new_id

    def request(self, body: ClientBody, target: Target, headers: Mapping[str, str]) -> ClientBody:
        """A Messages request as a chat completion request; the native adapter asks for usage."""
        if body.endpoint is not Endpoint.MESSAGES:
            raise InvalidRequestError(f"The endpoint '{body.endpoint}' cannot be sent to this provider.")
        data = chat_request(body.data, target)
        return ClientBody(request_text(data), data, Endpoint.CHAT)

    def outline(self, body: ClientBody) -> ClientBody:
        """One choice, whose usage is for the translation to see."""
        data: dict[str, Any] = {
            "model": body.data.get("model"),
            "stream": body.wants_stream,
            "stream_options": {"include_usage": True},
        }
        choice = body.data.get("tool_choice")
        if isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True:
            data["parallel_tool_calls"] = False
        return ClientBody(b"", data, Endpoint.CHAT)

    def headers(self, client: Mapping[str, str]) -> Mapping[str, str]:
        """Traces go on; versions and beta names are said to Anthropic alone."""
        return {name: client[name] for name in _FORWARDED if name in client}

    def field(self, native: str) -> str:
        """The names are near enough as they are: ``messages``, ``tools``."""
        return native

    def answer(self, answer: bytes, body: ClientBody) -> bytes:
        """A whole chat completion as a message."""
        return answer_text(messages_answer(orjson.loads(answer.removeprefix(BOM)), self._new_id))

    def writer(self, body: ClientBody) -> MessagesEvents:
        """A fresh writer of events."""
        return MessagesEvents(self._new_id)
