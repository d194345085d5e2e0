"""The event stream: one small tick every two seconds, with a version that changes when the page may have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from proxying import runtime
from routing.api.permissions import Right, has_right

TICK_S: Final = 2.0
# Then the browser connects again, and the account is looked at again.
LONGEST_S: Final = 300.0
# Numbers that come from the records change without a sign: every so often the page is read anyway.
GRAIN_S: Final = 10.0


async def stream(request: HttpRequest) -> HttpResponseBase:
    """Tell one tab when to read its page again. It reads no database after the first look at the account."""
    user = await request.auser()
    if not await sync_to_async(has_right)(user, Right.VIEW):
        return HttpResponse(status=403)
    try:
        found = runtime.current()
    except RuntimeError:
        return HttpResponse("The data plane is not open in this process.", status=503)
    response = StreamingHttpResponse(ticks(found), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


async def ticks(found: runtime.Runtime) -> AsyncGenerator[bytes, None]:
    """The events, until the worker drains or the time is over."""
    ends_at = time.monotonic() + LONGEST_S
    yield b"retry: 2000\n\n"
    while not found.draining and time.monotonic() < ends_at:
        yield f"event: tick\ndata: {version(found)}\n\n".encode()
        await asyncio.sleep(TICK_S)


def version(found: runtime.Runtime) -> str:
    """What changes when configuration, health or the ten seconds of the numbers change."""
    return f"{found.table().revision}.{found.health.view().version}.{int(time.time() / GRAIN_S)}"
