"""``POST /v1/audio/speech``."""

from __future__ import annotations

from proxying.http import Answer, GatewayRequest
from proxying.serving import infer
from routing.types import Endpoint


async def speech(request: GatewayRequest) -> Answer:
    """Route a request for speech; the sound is relayed as it comes."""
    return await infer(request, Endpoint.SPEECH)
