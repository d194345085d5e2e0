"""``POST /v1/responses``: OpenAI's Responses, at any provider; and what would need stored ones."""

from __future__ import annotations

from proxying.errors import NotFoundError
from proxying.http import Answer, GatewayRequest
from proxying.runtime import Runtime
from proxying.serving import answer_or_error, infer
from routing.types import Caller, Endpoint


async def responses(request: GatewayRequest) -> Answer:
    """Route a response, whole or streamed."""
    return await infer(request, Endpoint.RESPONSES, dialect="responses")


async def stored_response(request: GatewayRequest, response_id: str) -> Answer:
    """Say that there is no such thing, to those who may know."""

    def refuse(_runtime: Runtime, _caller: Caller) -> Answer:
        raise NotFoundError(
            f"{request.path}: the gateway keeps no responses and counts no tokens of them. Create them with "
            "POST /v1/responses, and send the whole conversation as input.",
            code="response_not_stored",
        )

    return await answer_or_error(request, refuse, dialect="responses")
