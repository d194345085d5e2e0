"""The gateway of ``gateway.py`` behind gunicorn's protocol on a real socket, and a plain client for it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.config import Config
from gunicorn.glogging import Logger

from routing.types import RoutingTable
from tests.proxying.gateway import SECRET, Gateway, Got, serving

CHAT = {"model": "pool", "messages": [{"role": "user", "content": "hi"}]}


class Door:
    """A gateway that listens."""

    def __init__(self, gateway: Gateway, port: int, worker: SimpleNamespace) -> None:
        self.gateway = gateway
        self.port = port
        self.worker = worker

    async def ask(self, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Got:
        """One chat over a connection of its own, read to its end."""
        async with Client(self.port) as client:
            return await client.ask(json.dumps(CHAT | fields).encode(), headers=headers)


class Client:
    """One connection to a gateway."""

    def __init__(self, port: int, secret: str = SECRET) -> None:
        self.port = port
        self.secret = secret

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**22)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Hang up at once."""
        self.writer.transport.abort()

    def send(self, body: bytes, path: str = "/v1/chat/completions", **headers: str) -> None:
        """Send a request without waiting."""
        lines = [f"POST {path} HTTP/1.1", "host: gateway", f"authorization: Bearer {self.secret}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"content-length: {len(body)}", "", ""]
        self.writer.write("\r\n".join(lines).encode() + body)

    async def ask(
        self,
        body: bytes,
        *,
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] | None = None,
        got: Got | None = None,
    ) -> Got:
        """Send a request and read its answer; ``complete`` says whether it ended as HTTP wants it."""
        self.send(body, path, **(headers or {}))
        return await self.read(got)

    async def read(self, got: Got | None = None) -> Got:
        """Read one answer."""
        got = got if got is not None else Got()
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        got.status = int(first.split()[1])
        pairs = (line.partition(":") for line in lines if line)
        got.headers = {name.lower(): value.strip() for name, _, value in pairs}
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._read_body(got)
            got.complete = True
        return got

    async def _read_body(self, got: Got) -> None:
        if got.headers.get("transfer-encoding") != "chunked":
            got.body = await self.reader.readexactly(int(got.headers["content-length"]))
            return
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            piece = await self.reader.readexactly(size + 2)
            if size == 0:
                return
            got.body += piece[:-2]


@asynccontextmanager
async def listening(held: RoutingTable) -> AsyncIterator[Door]:
    """A gateway that listens on a port of its own inside the block."""
    async with serving(held) as gateway, at_door(gateway) as door:
        yield door


@asynccontextmanager
async def at_door(gateway: Gateway) -> AsyncIterator[Door]:
    """Gunicorn's protocol in front of an open gateway."""
    loop = asyncio.get_running_loop()
    config = Config()
    config.set("keepalive", 75)
    worker = SimpleNamespace(
        cfg=config, log=Logger(config), asgi=gateway.lane, loop=loop, alive=True, state={}
    )
    worker.nr = worker.nr_conns = 0
    worker.max_requests = sys.maxsize
    server = await loop.create_server(lambda: ASGIProtocol(worker), "127.0.0.1", 0)
    try:
        yield Door(gateway, server.sockets[0].getsockname()[1], worker)
    finally:
        server.close()
