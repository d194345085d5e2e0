"""``POST /v1/images/generations``, ``/v1/images/edits``, ``/v1/images/variations``."""

from __future__ import annotations

from proxying.forms import read_form
from proxying.http import Answer, GatewayRequest
from proxying.serving import infer
from routing.types import Endpoint


async def generations(request: GatewayRequest) -> Answer:
    """Route a request for pictures."""
    return await infer(request, Endpoint.IMAGES)


async def edits(request: GatewayRequest) -> Answer:
    """Route pictures to be changed; they are sent on as they come."""
    return await infer(request, Endpoint.IMAGE_EDITS, read=read_form)


async def variations(request: GatewayRequest) -> Answer:
    """Route a picture to be varied; it is sent on as it comes."""
    return await infer(request, Endpoint.IMAGE_VARIATIONS, read=read_form)
