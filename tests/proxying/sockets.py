"""The gateway of ``gateway.py`` behind the worker's protocols on a real socket, and a plain client for it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from gateway_project.worker import DrainingWorker, connection_of
from proxying.fastlane import FastLane
from routing.types import RoutingTable
from tests.proxying.gateway import SECRET, Gateway, Got, serving

CHAT = {"model": "pool", "messages": [{"role": "user", "content": "hi"}]}


class Worker(DrainingWorker):
    """The worker's side of connections, without its process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lane: FastLane) -> None:
        self.cfg = Config()
        self.cfg.set("keepalive", 75)
        self.log = Logger(self.cfg)
        self.loop = loop
        self.asgi = self.lane = lane
        self.connections = set()
        self.alive, self.is_draining, self.state = True, False, {}
        self.nr = self.nr_conns = 0
        self.max_requests = sys.maxsize
        self.keepalive_s, self.body_timeout_s = 75.0, 30.0


class Door:
    """A gateway that listens."""

    def __init__(self, gateway: Gateway, port: int, worker: Worker) -> None:
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
    """The worker's protocols in front of an open gateway."""
    loop = asyncio.get_running_loop()
    worker = Worker(loop, gateway.lane)
    server = await loop.create_server(lambda: connection_of(worker), "127.0.0.1", 0)
    try:
        yield Door(gateway, server.sockets[0].getsockname()[1], worker)
    finally:
        server.close()
