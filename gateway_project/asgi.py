"""The ASGI application: lifespan, the fast lane, and Django for everything else."""

from __future__ import annotations

import importlib.util

from django.core.asgi import get_asgi_application

django = get_asgi_application()

from proxying.fastlane import FastLane, Receive, Scope, Send  # noqa: E402 - after Django is set up
from proxying.lifespan import serve_lifespan  # noqa: E402
from proxying.urls import FAST_ROUTES  # noqa: E402

lane = FastLane(FAST_ROUTES, django)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request, or the worker's life."""
    if scope["type"] != "lifespan":
        await lane(scope, receive, send)
        return
    runtime = (
        importlib.import_module("proxying.runtime") if importlib.util.find_spec("proxying.runtime") else None
    )
    if runtime is None:
        await serve_lifespan(receive, send, _nothing, _nothing)
    else:
        await serve_lifespan(receive, send, runtime.open, runtime.close)


async def _nothing() -> None:
    """What a worker without a runtime opens."""
