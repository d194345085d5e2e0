"""Counts tokens where a candidate's provider has a counter, and estimates them where none has."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from proxying.adapters.base import ClientBody
from proxying.attempt import Upstreams
from proxying.errors import NoCandidateError, UpstreamStatusError
from proxying.forward import forward
from proxying.http import Answer
from proxying.outcome import Exchange
from proxying.token_estimate import estimated_tokens
from routing.types import Endpoint, RouteRequest

_NO_COUNTER: Final = frozenset({"unsupported_endpoint", "no_eligible_candidates"})
# Vendors that took over the Messages format without the counter.
_NOT_BUILT: Final = frozenset({405, 501})


async def count_or_estimate(
    exchange: Exchange, body: ClientBody, route: RouteRequest, up: Upstreams
) -> Answer:
    """Ask the candidates that can count; estimate when the model could be called and nobody counts.

    Raises:
        GatewayError: as of ``forward``.
    """
    try:
        return await forward(exchange, body, route, up)
    except NoCandidateError as error:
        if error.code not in _NO_COUNTER:
            raise
        decision = await up.resolver.peek(replace(route, endpoint=Endpoint.MESSAGES))
        if decision.refusal is not None:
            raise NoCandidateError(decision.refusal) from error
        exchange.decision = decision
    except UpstreamStatusError as error:
        facts = error.facts
        if facts.raw_status not in _NOT_BUILT and not (facts.raw_status == 404 and facts.body is None):
            raise
    return Answer(
        200,
        [(b"content-type", b"application/json"), (b"x-gateway-token-count", b"estimated")],
        orjson.dumps({"input_tokens": estimated_tokens(body.data)}),
    )
