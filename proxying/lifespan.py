"""ASGI lifespan: opens what a worker needs before its first request and closes it after its last."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from proxying.fastlane import Receive, Send

log: Final = logging.getLogger(__name__)


async def serve_lifespan(
    receive: Receive,
    send: Send,
    start: Callable[[], Awaitable[object]],
    stop: Callable[[], Awaitable[object]],
) -> None:
    """Speak the lifespan protocol; ``stop`` is called on every path, a failed or cancelled start included."""
    try:
        await receive()
        try:
            await start()
        except Exception as problem:  # the server is told, and stops
            log.exception("The gateway cannot start")
            text = f"{type(problem).__name__}: {problem}"
            await send({"type": "lifespan.startup.failed", "message": text})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
    finally:
        await stop()
    await send({"type": "lifespan.shutdown.complete"})
