"""``POST /v1/embeddings``."""

from __future__ import annotations

from proxying.http import Answer, GatewayRequest
from proxying.serving import infer
from routing.types import Endpoint


async def embeddings(request: GatewayRequest) -> Answer:
    """Route a request for embeddings; they fail over like chats (T38)."""
    return await infer(request, Endpoint.EMBEDDINGS)
