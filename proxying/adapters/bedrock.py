"""Amazon Bedrock's own wire format (``Converse`` and ``ConverseStream``), for clients of chat completions.

One format for the models of all vendors there; what only one of them takes goes along in
``additionalModelRequestFields``. Clients of other dialects come through ``proxying.adapters.dialects``.
Requests with an access key are signed after they are built: ``routing.signing``.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from proxying import eventstream, splice
from proxying.adapters.base import ClientBody, ParsedAnswer, Target, UpstreamRequest, Usage
from proxying.adapters.bedrock_answer import Reading, chat_usage, finish_reason, message_of, read_usage
from proxying.adapters.bedrock_errors import read_error
from proxying.adapters.bedrock_request import converse_request
from proxying.adapters.bedrock_stream import BedrockStream
from proxying.adapters.json_text import answer_text, object_of, request_text
from proxying.errors import ErrorFacts, InvalidRequestError, UpstreamProtocolError
from routing.types import Endpoint
from routing.upstreams import account_headers, url

_FORWARDED: Final = ("traceparent", "tracestate")


def _random_id() -> str:
    return uuid.uuid4().hex[:24]


class BedrockAdapter:
    """See ``proxying.adapters.base.Adapter``.

    ``clock`` dates the answers and ``new_id`` names them: the format has neither date nor id.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, new_id: Callable[[], str] = _random_id
    ) -> None:
        self._clock = clock
        self._new_id = new_id

    def build_request(self, body: ClientBody, target: Target, headers: Mapping[str, str]) -> UpstreamRequest:
        """Write the request in Converse's words, and address its model."""
        if body.endpoint is not Endpoint.CHAT or body.dialect != "openai":
            raise InvalidRequestError(f"The endpoint '{body.endpoint}' cannot be sent to this provider.")
        method = "converse-stream" if body.wants_stream else "converse"
        return UpstreamRequest(
            method="POST",
            url=url(target.provider, f"/model/{quote(target.model, safe='')}/{method}", target.model),
            headers=_headers(body, target, headers),
            body=request_text(converse_request(body.data, target.model)),
        )

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, request: ClientBody
    ) -> ParsedAnswer:
        """Read a whole 2xx answer and write it in OpenAI's words."""
        data = object_of(body)
        output = data.get("output")
        message = output.get("message") if isinstance(output, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            raise UpstreamProtocolError("The provider's answer has no message.")
        reading = _reading(request)
        written = message_of(content, reading)
        calls = "tool_calls" in written or "function_call" in written
        choice = {
            "index": 0,
            "message": written,
            "logprobs": None,
            "finish_reason": finish_reason(
                data.get("stopReason"), reading, has_calls=calls, has_content=bool(content)
            ),
        }
        usage = Usage()
        read_usage(data.get("usage"), usage)
        answer = {**self._envelope("chat.completion", request), "choices": [choice]}
        return ParsedAnswer(body=answer_text({**answer, "usage": chat_usage(data.get("usage"))}), usage=usage)

    def stream(self, request: ClientBody, target: Target) -> BedrockStream:
        """A fresh writer of chunks."""
        return BedrockStream(
            self._envelope("chat.completion.chunk", request),
            _reading(request),
            with_usage=splice.asks_for_usage(request.data),
        )

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
        """Read a non-2xx answer."""
        return read_error(status, headers, body, now)

    def _envelope(self, kind: str, request: ClientBody) -> dict[str, Any]:
        """What all of an answer has; the model is the one that was asked for, as Bedrock does not name it."""
        return {
            "id": f"chatcmpl-{self._new_id()}",
            "object": kind,
            "created": int(self._clock()),
            "model": request.data.get("model") or "",
        }


def _reading(request: ClientBody) -> Reading:
    chat = request.data
    return Reading(
        one_call=chat.get("parallel_tool_calls") is False,
        by_function_call=bool(chat.get("functions")) and not chat.get("tools"),
    )


def _headers(body: ClientBody, target: Target, client: Mapping[str, str]) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "accept": eventstream.CONTENT_TYPE if body.wants_stream else "application/json",
        "accept-encoding": "identity",
        "user-agent": "sluice",
        **{name: client[name] for name in _FORWARDED if name in client},
        **account_headers(target.provider),
    }
