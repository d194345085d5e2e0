"""``POST /v1/chat/completions``."""

from __future__ import annotations

from proxying.http import Answer, GatewayRequest
from proxying.serving import infer
from routing.types import Endpoint


async def chat_completions(request: GatewayRequest) -> Answer:
    """Route a chat, whole or streamed."""
    return await infer(request, Endpoint.CHAT)
