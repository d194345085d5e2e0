"""The ASGI lifespan protocol."""

import asyncio

import pytest

from proxying import runtime
from proxying.lifespan import drain_event, serve_lifespan

pytestmark = pytest.mark.anyio


class Server:
    """What a server does: sends events, keeps answers; one that hears of a failure may cancel at once."""

    def __init__(self):
        self.events = asyncio.Queue()
        self.events.put_nowait({"type": "lifespan.startup"})
        self.calls = []
        self.task = None

    async def send(self, event):
        self.calls.append((event["type"].removeprefix("lifespan."), event.get("message")))
        if event["type"] == "lifespan.startup.failed":
            self.task.cancel()

    async def run(self, start=None):
        async def opened():
            self.calls.append("start")
            if start is not None:
                await start()

        async def closed():
            await asyncio.sleep(0)
            self.calls.append("stop")

        self.task = asyncio.create_task(serve_lifespan(self.events.get, self.send, opened, closed))
        await asyncio.wait([self.task], timeout=0.1)


async def test_lifespan_opens_before_and_closes_after():
    server = Server()
    server.events.put_nowait({"type": "lifespan.shutdown"})
    await server.run()
    assert server.calls == ["start", ("startup.complete", None), "stop", ("shutdown.complete", None)]


async def test_lifespan_that_cannot_start_closes_everything_and_says_why():
    """T22: shutdown closes everything on every path."""

    async def fail():
        raise ValueError("no table")

    server = Server()
    await server.run(fail)
    assert server.calls == ["start", "stop", ("startup.failed", "ValueError: no table")]


async def test_lifespan_that_is_cancelled_while_it_starts_closes_everything():
    """T22: shutdown closes everything on every path."""
    server = Server()
    await server.run(asyncio.Event().wait)
    server.task.cancel()
    await asyncio.wait([server.task], timeout=0.1)
    assert server.calls == ["start", "stop"]


async def test_drain_is_announced_to_whoever_waits():
    waiting = asyncio.create_task(drain_event().wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    runtime.drain()
    assert await asyncio.wait_for(waiting, 1)
