"""The ASGI application: lifespan, the fast lane, and Django for everything else."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

django = get_asgi_application()

from proxying import runtime  # noqa: E402 - after Django is set up
from proxying.fastlane import FastLane, Receive, Scope, Send  # noqa: E402
from proxying.lifespan import serve_lifespan  # noqa: E402
from proxying.urls import FAST_ROUTES  # noqa: E402

lane = FastLane(FAST_ROUTES, django)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request, or the worker's life."""
    if scope["type"] == "lifespan":
        await serve_lifespan(receive, send, runtime.open, runtime.close)
    else:
        await lane(scope, receive, send)
