"""The OpenAI wire format, and all vendors that speak it: what differs is in their kind's row.

Quirks: with ``no_stream_options`` usage is not asked for, and a client's own ``stream_options`` stay here;
``models/`` before a listed id (``models_prefix``) is cut for everyone. Provider options: ``api_version``
(Azure's query parameter), ``organization`` and ``project`` (OpenAI's headers). A base URL may hold
``{model}``, as Azure's deployment addresses need.
Responses go through as they are to vendors that speak them (``routing.upstreams.speaks``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from proxying import splice
from proxying.adapters.base import (
    ClientBody,
    Form,
    ParsedAnswer,
    StreamTranslator,
    Target,
    UpstreamRequest,
    Usage,
)
from proxying.adapters.gateway_reasoning import MARK, without_gateway_reasoning
from proxying.adapters.json_text import object_of
from proxying.adapters.openai_errors import read_error
from proxying.adapters.openai_media import MEDIA_PATHS, parse_media, refuse_error
from proxying.adapters.openai_responses import ResponsesStream, check_answer
from proxying.adapters.openai_stream import OpenAIStream
from proxying.adapters.openai_usage import read_rerank_usage, read_usage
from proxying.adapters.responses_request import refuse_background
from proxying.errors import ErrorFacts, InvalidRequestError, UpstreamProtocolError
from routing.types import Endpoint, Provider
from routing.upstreams import account_headers, kind_of, url

_PATHS: Final = {
    Endpoint.CHAT: "/chat/completions",
    Endpoint.COMPLETIONS: "/completions",
    Endpoint.EMBEDDINGS: "/embeddings",
    Endpoint.MODERATIONS: "/moderations",
    Endpoint.RERANK: "/rerank",
    Endpoint.RESPONSES: "/responses",
    **MEDIA_PATHS,
}
# The list that a whole answer of the endpoint must have.
_ANSWER_LISTS: Final = {
    Endpoint.CHAT: "choices",
    Endpoint.COMPLETIONS: "choices",
    Endpoint.EMBEDDINGS: "data",
    Endpoint.MODERATIONS: "results",
    Endpoint.IMAGES: "data",
    Endpoint.IMAGE_EDITS: "data",
    Endpoint.IMAGE_VARIATIONS: "data",
    Endpoint.RERANK: "results",
}
_STREAMING: Final = frozenset({Endpoint.CHAT, Endpoint.COMPLETIONS})
_OPTIONS: Final = ("stream_options",)
# What of the client's headers goes upstream: everything else stays here, credentials and cookies above all.
_FORWARDED: Final = ("openai-beta", "idempotency-key", "traceparent", "tracestate")
# Looking up a member of an enumeration costs ten times what asking for it does.
_RERANK: Final = Endpoint.RERANK
_RESPONSES: Final = Endpoint.RESPONSES
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class OpenAIAdapter:
    """See ``proxying.adapters.base.Adapter``."""

    def build_request(self, body: ClientBody, target: Target, headers: Mapping[str, str]) -> UpstreamRequest:
        """Splice the exact model in; address, credential and the few headers that go along."""
        path = _PATHS.get(body.endpoint)
        if path is None or body.dialect == "anthropic":
            raise InvalidRequestError(f"The endpoint '{body.endpoint}' cannot be sent to this provider.")
        if body.form is not None:
            return self._upload(body, body.form, target, headers)
        if body.endpoint is _RESPONSES:
            refuse_background(body.data)
            if MARK in body.raw:
                body = without_gateway_reasoning(body)
        refuses_options = "no_stream_options" in kind_of(target.provider).quirks
        raw = splice.splice(
            body.raw,
            body.data,
            model=target.model,
            ask_usage=_asks_usage_itself(body, target.provider),
            without=_OPTIONS if refuses_options else (),
            plain=body.is_plain,
        )
        return UpstreamRequest(
            method="POST",
            url=url(target.provider, path, target.model),
            headers=self._headers(body, target.provider, headers),
            body=raw,
        )

    def _upload(
        self, body: ClientBody, form: Form, target: Target, headers: Mapping[str, str]
    ) -> UpstreamRequest:
        """The form as it came, with its boundary, and the exact model in it."""
        sent = form.with_model(target.model)
        return UpstreamRequest(
            method="POST",
            url=url(target.provider, _PATHS[body.endpoint], target.model),
            headers=self._headers(body, target.provider, headers) | {"content-type": form.content_type},
            body=sent if isinstance(sent, bytes) else b"",
            upload=None if isinstance(sent, bytes) else sent,
        )

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, request: ClientBody
    ) -> ParsedAnswer:
        """Check a whole 2xx answer and relay it byte for byte."""
        if request.endpoint in MEDIA_PATHS:
            answer = parse_media(headers, body, request)
            if answer is not None:
                return answer
        data = object_of(body)
        refuse_error(data)
        if request.endpoint is _RESPONSES:
            check_answer(data)
        _check_shape(data, request.endpoint)
        usage = Usage()
        if isinstance(data.get("usage"), dict):
            read_usage(data["usage"], usage)
        if request.endpoint is _RERANK:
            read_rerank_usage(data, usage)
        return ParsedAnswer(body=body, usage=usage)

    def stream(self, request: ClientBody, target: Target) -> StreamTranslator:
        """A fresh relay; one of chat hides the usage chunk the client did not ask for."""
        if request.endpoint is _RESPONSES:
            return ResponsesStream()
        return OpenAIStream(request, hides_usage=_asks_usage_itself(request, target.provider))

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
        """Read a non-2xx answer in any of the vendors' shapes."""
        return read_error(status, headers, body, now)

    def _headers(self, body: ClientBody, provider: Provider, client: Mapping[str, str]) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": _accept(body),
            "accept-encoding": "identity",
            "user-agent": "sluice",
        }
        headers.update((name, client[name]) for name in _FORWARDED if name in client)
        request_id = client.get("x-request-id") or client.get("x-client-request-id") or ""
        if _REQUEST_ID.fullmatch(request_id):
            headers["x-client-request-id"] = request_id
        headers.update(account_headers(provider))
        return headers


def _accept(body: ClientBody) -> str:
    if body.endpoint in MEDIA_PATHS:
        return "*/*"  # the body says what is wanted: sound, subtitles, events
    return "text/event-stream" if body.wants_stream else "application/json"


def _asks_usage_itself(body: ClientBody, provider: Provider) -> bool:
    """Whether the gateway adds ``stream_options.include_usage`` on its own account."""
    return (
        body.wants_stream
        and body.endpoint in _STREAMING
        and "no_stream_options" not in kind_of(provider).quirks
        and splice.can_ask_for_usage(body.data)
        and not splice.asks_for_usage(body.data)
    )


def _check_shape(data: dict[str, Any], endpoint: Endpoint) -> None:
    name = _ANSWER_LISTS.get(endpoint)
    if name is None:
        return
    rows = data.get(name)
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
        raise UpstreamProtocolError(f"The provider's answer has no '{name}'.")
