"""``POST /v1/images/generations``."""

from __future__ import annotations

from proxying.http import Answer, GatewayRequest
from proxying.serving import infer
from routing.types import Endpoint


async def generations(request: GatewayRequest) -> Answer:
    """Route a request for pictures."""
    return await infer(request, Endpoint.IMAGES)
