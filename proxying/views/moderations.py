"""``POST /v1/moderations``."""

from __future__ import annotations

from proxying.http import Answer, GatewayRequest
from proxying.serving import infer
from routing.types import Endpoint


async def moderations(request: GatewayRequest) -> Answer:
    """Route a moderation; one without a model asks for the format's default."""
    return await infer(request, Endpoint.MODERATIONS)
