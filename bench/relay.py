"""What a relay of requests costs when nothing is decided: an ASGI application for gunicorn's worker.

``UPSTREAM_PORT`` names the fake provider. It understands just what that sends whole, and knows no errors.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

PORT = int(os.environ.get("UPSTREAM_PORT", "0"))
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: provider\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n"
)


class Upstream(asyncio.Protocol):
    """One kept connection; one answer at a time, with its length in its head."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.received = b""
        self.waiter: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if found and self.waiter is not None:
            at = head.index(b"content-length: ") + len(b"content-length: ")
            if len(body) == int(head[at:].partition(b"\r\n")[0]):
                self.received = b""
                self.waiter.set_result(body)

    async def ask(self, body: bytes) -> bytes:
        self.waiter = asyncio.get_running_loop().create_future()
        self.transport.write(HEAD % len(body) + body)
        return await self.waiter


kept: list[Upstream] = []


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    answer = b"{}"
    if scope["method"] == "POST":
        if kept:
            upstream = kept.pop()
        else:
            _, upstream = await asyncio.get_running_loop().create_connection(Upstream, "127.0.0.1", PORT)
        answer = await upstream.ask(body)
        kept.append(upstream)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
