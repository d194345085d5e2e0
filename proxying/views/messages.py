"""``POST /v1/messages`` and ``POST /v1/messages/count_tokens``: Anthropic's dialect, at any provider."""

from __future__ import annotations

from proxying.counting import count_or_estimate
from proxying.http import Answer, GatewayRequest
from proxying.serving import infer
from routing.types import Endpoint


async def messages(request: GatewayRequest) -> Answer:
    """Route a message, whole or streamed."""
    return await infer(request, Endpoint.MESSAGES, dialect="anthropic")


async def count_tokens(request: GatewayRequest) -> Answer:
    """Count a message's tokens at a provider that can, else estimate them and say so."""
    return await infer(request, Endpoint.COUNT_TOKENS, dialect="anthropic", serve=count_or_estimate)
