"""``/health``: the process answers."""

from proxying.http import Answer, GatewayRequest


async def health(request: GatewayRequest) -> Answer:
    """Answer 200 while the event loop runs."""
    return Answer(200, [(b"content-type", b"application/json")], b'{"status":"ok"}')
