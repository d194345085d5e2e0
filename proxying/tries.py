"""Requests that operators send from the dashboard: through the data plane like any client's, without a key.

The caller is known by the session that posted; there is no secret that could leak or outlive it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxying.adapters.base import ClientBody
from proxying.attempt import Upstreams
from proxying.errors import InvalidRequestError, RequestTooLargeError
from proxying.forward import forward
from proxying.http import Answer
from proxying.outcome import TRY_IT, Exchange
from proxying.runtime import current
from proxying.serving import infer
from routing.policies import Failure
from routing.types import Caller, Endpoint, RouteRequest


@dataclass(frozen=True, slots=True)
class Try:
    """What an operator sends. ``pretended`` says which candidates are to fail uncalled, by selector."""

    caller: Caller
    model: str
    prompt: str
    system: str = ""
    max_tokens: int | None = None
    stream: bool = True
    session: str = ""
    pretended: Mapping[str, Failure] = field(default_factory=dict)

    def body(self) -> bytes:
        """The request in OpenAI's wire format."""
        messages = [{"role": "user", "content": self.prompt}]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        fields: dict[str, Any] = {"model": self.model, "messages": messages}
        if self.max_tokens is not None:
            fields["max_tokens"] = self.max_tokens
        if self.stream:
            fields["stream"] = True
        return orjson.dumps(fields)


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer under way. ``exchange`` is complete when the answer's stream has ended."""

    answer: Answer
    exchange: Exchange


class _Request:
    """A try as ``http.GatewayRequest``."""

    method = "POST"
    path = "/v1/chat/completions"
    query_string = ""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.started = time.perf_counter()
        self.headers = headers
        self._body = body

    async def read_body(self, limit: int) -> bytes:
        if len(self._body) > limit:
            raise RequestTooLargeError(f"The request body has more than {limit} bytes.")
        return self._body

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        yield self._body


async def send(asked: Try) -> Sent:
    """Send it; the answer is what a client would get. Close its stream, as a door would.

    Raises:
        RuntimeError: this process serves no ``/v1``.
    """
    runtime = current()
    begun: list[Exchange] = []

    def begin(exchange: Exchange) -> None:
        begun.append(exchange)
        exchange.caller, exchange.source, exchange.pretended = asked.caller, TRY_IT, asked.pretended

    async def serve(exchange: Exchange, body: ClientBody, route: RouteRequest, up: Upstreams) -> Answer:
        _check(asked, route, up)
        return await forward(exchange, body, route, up)

    headers = {"content-type": "application/json"}
    if asked.session:
        headers[runtime.session_header] = asked.session
    request = _Request(asked.body(), headers)
    return Sent(await infer(request, Endpoint.CHAT, serve=serve, begun=begin), begun[0])


def _check(asked: Try, route: RouteRequest, up: Upstreams) -> None:
    """Refuse to pretend something of a candidate that the model has not: it would silently do nothing."""
    if not asked.pretended:
        return
    evaluation = up.resolver.plan(route).evaluation
    known = sorted(state.candidate.selector for state in evaluation.states) if evaluation is not None else []
    unknown = sorted(asked.pretended.keys() - set(known))
    if evaluation is not None and unknown:
        raise InvalidRequestError(
            f"{asked.model!r} has no candidate {unknown[0]!r} to pretend something about; "
            f"it has {', '.join(known) or 'none'}.",
            param="assume",
        )
