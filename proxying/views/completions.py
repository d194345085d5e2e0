"""``POST /v1/completions``."""

from __future__ import annotations

from proxying.http import Answer, GatewayRequest
from proxying.serving import infer
from routing.types import Endpoint


async def completions(request: GatewayRequest) -> Answer:
    """Route a completion of plain text, whole or streamed."""
    return await infer(request, Endpoint.COMPLETIONS)
