"""``POST /v1/audio/speech``, ``/v1/audio/transcriptions``, ``/v1/audio/translations``."""

from __future__ import annotations

from proxying.forms import read_form
from proxying.http import Answer, GatewayRequest
from proxying.serving import infer
from routing.types import Endpoint


async def speech(request: GatewayRequest) -> Answer:
    """Route a request for speech; the sound is relayed as it comes."""
    return await infer(request, Endpoint.SPEECH)


async def transcriptions(request: GatewayRequest) -> Answer:
    """Route a recording to be written down; it is sent on as it comes."""
    return await infer(request, Endpoint.TRANSCRIPTIONS, read=read_form)


async def translations(request: GatewayRequest) -> Answer:
    """Route a recording to be written down in English; it is sent on as it comes."""
    return await infer(request, Endpoint.TRANSLATIONS, read=read_form)
