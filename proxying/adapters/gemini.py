"""Gemini's own wire format (``generateContent``), for clients of chat completions and of OpenAI's embeddings.

The models of ``{base_url}/models/`` are called; a base URL of Vertex AI's, up to the publisher, does as well.
Clients of other dialects come through ``proxying.adapters.dialects``, by way of chat completions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

import orjson

from proxying import splice
from proxying.adapters.base import ClientBody, ParsedAnswer, Target, UpstreamRequest
from proxying.adapters.gemini_answer import AnswerReader, messages_of
from proxying.adapters.gemini_embeddings import batch_request, embeddings_answer
from proxying.adapters.gemini_errors import read_error
from proxying.adapters.gemini_request import generate_content
from proxying.adapters.gemini_stream import GeminiStream
from proxying.adapters.gemini_usage import chat_usage, settle
from proxying.adapters.json_text import answer_text, object_of, request_text
from proxying.adapters.openai_errors import error_object, read_error_in_answer
from proxying.errors import ErrorFacts, InvalidRequestError, UpstreamProtocolError, UpstreamStatusError
from routing.types import Endpoint
from routing.upstreams import account_headers, url

_FORWARDED: Final = ("traceparent", "tracestate")
# Resources that are called like models; what has none of these names is a model.
_COLLECTIONS: Final = ("models/", "tunedModels/")


class GeminiAdapter:
    """See ``proxying.adapters.base.Adapter``. ``clock`` dates the answers: the format has no date."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def build_request(self, body: ClientBody, target: Target, headers: Mapping[str, str]) -> UpstreamRequest:
        """Write the request in Gemini's words, and address its model."""
        if body.endpoint is Endpoint.EMBEDDINGS:
            method, written = "batchEmbedContents", batch_request(body.data, _resource(target.model))
        elif body.endpoint is Endpoint.CHAT and body.dialect == "openai":
            method = "streamGenerateContent" if body.wants_stream else "generateContent"
            written = generate_content(body.data, target.model)
        else:
            raise InvalidRequestError(f"The endpoint '{body.endpoint}' cannot be sent to this provider.")
        return UpstreamRequest(
            method="POST",
            url=_address(target, method),
            headers=_headers(body, target, headers),
            body=request_text(written),
        )

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, request: ClientBody
    ) -> ParsedAnswer:
        """Read a whole 2xx answer and write it in OpenAI's words."""
        data = object_of(body)
        if data.get("error"):
            raise UpstreamStatusError(read_error_in_answer(error_object(data) or {"message": ""}))
        if request.endpoint is Endpoint.EMBEDDINGS:
            written, usage = embeddings_answer(data, request.data)
            return ParsedAnswer(body=orjson.dumps(written), usage=usage)
        reader = _reader(request)
        choices = messages_of(reader.read(data))
        if not choices:
            raise UpstreamProtocolError("The provider's answer has no candidates.")
        settle(reader.usage)
        completion = {
            "id": f"chatcmpl-{reader.response_id or sha256(body).hexdigest()[:24]}",
            "object": "chat.completion",
            "created": int(self._clock()),
            "model": reader.model or request.data.get("model") or "",
            "choices": choices,
            "usage": chat_usage(reader.usage),
        }
        return ParsedAnswer(body=answer_text(completion), usage=reader.usage)

    def stream(self, request: ClientBody, target: Target) -> GeminiStream:
        """A fresh writer of chunks."""
        reader = _reader(request)
        reader.model = target.model
        count = request.data.get("n")
        return GeminiStream(
            reader,
            created=int(self._clock()),
            expected=count if isinstance(count, int) and count > 1 else 1,
            with_usage=splice.asks_for_usage(request.data),
        )

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
        """Read a non-2xx answer."""
        return read_error(status, headers, body, now)


def _reader(request: ClientBody) -> AnswerReader:
    chat: dict[str, Any] = request.data
    return AnswerReader(
        one_call=chat.get("parallel_tool_calls") is False,
        by_function_call=bool(chat.get("functions")) and not chat.get("tools"),
    )


def _resource(model: str) -> str:
    return model if model.startswith(_COLLECTIONS) else f"models/{model}"


def _address(target: Target, method: str) -> str:
    collection, _, name = _resource(target.model).partition("/")
    address = url(target.provider, f"/{collection}/{quote(name, safe='')}:{method}", target.model)
    if method != "streamGenerateContent":
        return address
    return f"{address}{'&' if '?' in address else '?'}alt=sse"


def _headers(body: ClientBody, target: Target, client: Mapping[str, str]) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "accept": "text/event-stream" if body.wants_stream else "application/json",
        "accept-encoding": "identity",
        "user-agent": "sluice",
        **{name: client[name] for name in _FORWARDED if name in client},
        **account_headers(target.provider),
    }
