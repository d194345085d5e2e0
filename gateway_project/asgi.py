"""The ASGI application: lifespan, the fast lane, and Django for everything else."""

from __future__ import annotations

import asyncio
import gc
from importlib import import_module
from typing import Any, Final

from django.conf import settings
from django.core.asgi import get_asgi_application

django = get_asgi_application()

from proxying import runtime  # noqa: E402 - after Django is set up
from proxying.fastlane import FastLane, Receive, Scope, Send  # noqa: E402
from proxying.lifespan import serve_lifespan  # noqa: E402
from proxying.urls import FAST_ROUTES  # noqa: E402

# Requests make few cycles: with Python's own 700, looking for them is work for nothing.
_OBJECTS_UNTIL_COLLECTED: Final = 10_000


class ControlPlane:
    """Django, with its pages and API imported beside the event loop at the first request for one of them.

    That takes a third of a second, and 6 MB that a worker without such requests does not have.
    """

    def __init__(self) -> None:
        self._is_imported = False

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request."""
        if not self._is_imported:
            await asyncio.to_thread(import_module, settings.ROOT_URLCONF)
            self._is_imported = True
        await django(scope, receive, send)


lane = FastLane(FAST_ROUTES, ControlPlane())


async def start() -> None:
    """Open the data plane; what was imported until now is never garbage, so it is never looked at again."""
    await runtime.open()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTED)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request, or the worker's life."""
    if scope["type"] == "lifespan":
        await serve_lifespan(receive, send, start, runtime.close)
    else:
        await lane(scope, receive, send)
