"""The wire format of Anthropic's Messages API, for clients of the same dialect: straight through.

Provider options: ``max_tokens``, the limit for clients of another dialect that name none (see
``anthropic_limits``). Clients of other dialects come through ``proxying.adapters.dialects``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from proxying import splice
from proxying.adapters.anthropic_errors import read_error, read_error_in_answer
from proxying.adapters.anthropic_relay import AnthropicStream
from proxying.adapters.anthropic_usage import read_usage
from proxying.adapters.base import ClientBody, ParsedAnswer, Target, UpstreamRequest, Usage
from proxying.adapters.gateway_thinking import SIGNATURE, without_gateway_thinking
from proxying.adapters.json_text import object_of
from proxying.adapters.openai_errors import error_object
from proxying.errors import ErrorFacts, InvalidRequestError, UpstreamProtocolError, UpstreamStatusError
from routing.types import Endpoint
from routing.upstreams import account_headers, kind_of, url

_PATHS: Final = {Endpoint.MESSAGES: "/messages", Endpoint.COUNT_TOKENS: "/messages/count_tokens"}
# Beta names, versions and whatever comes next go on unread; the workspace is of the gateway's own account.
_FORWARDED_PREFIX: Final = "anthropic-"
_KEPT_BACK: Final = frozenset({"anthropic-workspace-id"})
_FORWARDED: Final = ("idempotency-key", "traceparent", "tracestate")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class AnthropicAdapter:
    """See ``proxying.adapters.base.Adapter``."""

    def build_request(self, body: ClientBody, target: Target, headers: Mapping[str, str]) -> UpstreamRequest:
        """Splice the exact model in; everything else of the body goes as it came."""
        path = _PATHS.get(body.endpoint)
        if path is None:
            raise InvalidRequestError(f"The endpoint '{body.endpoint}' cannot be sent to this provider.")
        if SIGNATURE in body.raw:
            body = without_gateway_thinking(body)
        return UpstreamRequest(
            method="POST",
            url=url(target.provider, path, target.model),
            headers=_headers(body, target, headers),
            body=splice.splice(body.raw, body.data, model=target.model),
        )

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, request: ClientBody
    ) -> ParsedAnswer:
        """Check a whole 2xx answer and relay it byte for byte."""
        data = object_of(body)
        if data.get("type") == "error" or data.get("error"):
            raise UpstreamStatusError(read_error_in_answer(error_object(data) or {"message": ""}))
        usage = Usage()
        if request.endpoint is Endpoint.COUNT_TOKENS:
            if not isinstance(data.get("input_tokens"), int):
                raise UpstreamProtocolError("The provider's answer has no 'input_tokens'.")
        elif not isinstance(data.get("content"), list):
            raise UpstreamProtocolError("The provider's answer has no 'content'.")
        elif isinstance(data.get("usage"), dict):
            read_usage(data["usage"], usage)
        return ParsedAnswer(body=body, usage=usage)

    def stream(self, request: ClientBody, target: Target) -> AnthropicStream:
        """A fresh relay."""
        return AnthropicStream()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
        """Read a non-2xx answer."""
        return read_error(status, headers, body, now)


def _headers(body: ClientBody, target: Target, client: Mapping[str, str]) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if body.wants_stream else "application/json",
        "accept-encoding": "identity",
        "user-agent": "sluice",
        **dict(kind_of(target.provider).headers),
    }
    headers.update(
        (name, value)
        for name, value in client.items()
        if name in _FORWARDED or (name.startswith(_FORWARDED_PREFIX) and name not in _KEPT_BACK)
    )
    request_id = client.get("x-request-id") or client.get("x-client-request-id") or ""
    if _REQUEST_ID.fullmatch(request_id):
        headers["x-client-request-id"] = request_id
    headers.update(account_headers(target.provider))
    return headers
