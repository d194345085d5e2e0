"""ASGI lifespan: opens what a worker needs before its first request and closes it after its last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakKeyDictionary

from proxying.fastlane import Receive, Send

log: Final = logging.getLogger(__name__)
_drains: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Event]] = WeakKeyDictionary()


def drain_event() -> asyncio.Event:
    """Is set as soon as this process is told to stop; streams without an end of their own wait for it."""
    return _drains.setdefault(asyncio.get_running_loop(), asyncio.Event())


async def serve_lifespan(
    receive: Receive,
    send: Send,
    start: Callable[[], Awaitable[object]],
    stop: Callable[[], Awaitable[object]],
) -> None:
    """Speak the lifespan protocol; ``stop`` is called on every path, a failed or cancelled start included."""
    problem = ""
    try:
        await receive()
        try:
            await start()
        except Exception as error:  # the server is told, and stops
            log.exception("The gateway cannot start")
            problem = f"{type(error).__name__}: {error}"
        else:
            await send({"type": "lifespan.startup.complete"})
            await receive()
    finally:
        # Before the server hears of a failure: it may then cancel this task.
        await stop()
    if problem:
        await send({"type": "lifespan.startup.failed", "message": problem})
    else:
        await send({"type": "lifespan.shutdown.complete"})
