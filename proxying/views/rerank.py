"""``POST /v1/rerank``."""

from __future__ import annotations

from proxying.http import Answer, GatewayRequest
from proxying.serving import infer
from routing.types import Endpoint


async def rerank(request: GatewayRequest) -> Answer:
    """Route a reranking of documents."""
    return await infer(request, Endpoint.RERANK)
