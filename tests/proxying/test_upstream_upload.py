"""Bodies that are sent piece by piece, over sockets: framing, flow, early answers, both event loops."""

from __future__ import annotations

import asyncio

import pytest

from proxying.adapters.base import UpstreamRequest
from proxying.client import UpstreamClient
from proxying.errors import (
    ClientGoneError,
    UpstreamConnectError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from routing.types import Timeouts

pytestmark = pytest.mark.anyio
TIMES = Timeouts(connect_s=1, first_byte_s=0.3, idle_s=0.3, total_s=5)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def anyio_backend(request):
    """Both event loops that the gateway runs on."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
async def client():
    client = UpstreamClient()
    await client.open()
    yield client
    await client.close()


class Body:
    """An upload of the test's own."""

    def __init__(self, *pieces: bytes, is_chunked: bool = False, fault: Exception | None = None) -> None:
        self.all = pieces
        self.length = None if is_chunked else sum(map(len, pieces))
        self.fault = fault
        self.can_be_sent = True
        self.waits = False
        self.handed_over = 0
        self.starts = 0
        self.is_halted = False
        self.hold: asyncio.Event | None = None

    def halt(self) -> None:
        self.is_halted = True

    async def pieces(self):
        self.starts += 1
        for piece in self.all:
            self.handed_over += len(piece)
            yield piece
        if self.hold is not None:
            self.waits = True
            await self.hold.wait()
            self.waits = False
        if self.fault is not None:
            raise self.fault


async def send(client: UpstreamClient, port: int, body: Body):
    request = UpstreamRequest("POST", f"http://127.0.0.1:{port}/v1/x", {}, b"", upload=body)
    return await client.send(request, timeouts=TIMES, deadline_at=asyncio.get_running_loop().time() + 3)


@pytest.fixture
async def listen():
    """Serve connections until the test ends; answers the port."""
    servers, serving = [], set()

    async def start(serve, **options):
        async def kept(reader, writer):
            serving.add(asyncio.current_task())
            try:
                await serve(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(kept, "127.0.0.1", 0, **options)
        servers.append(server)
        return server.sockets[0].getsockname()[1]

    yield start
    for task in serving:
        task.cancel()
    for server in servers:
        server.close()


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_body_is_framed_and_the_connection_used_again(client, listen, is_chunked) -> None:
    got, connections = [], []

    async def serve(reader, writer):
        connections.append(writer)
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = 0 if is_chunked else 8
            body = await (reader.readuntil(b"0\r\n\r\n") if is_chunked else reader.readexactly(size))
            got.append((b"transfer-encoding: chunked" in head, b"content-length: 8" in head, body))
            writer.write(OK)

    port = await listen(serve)
    for _ in range(2):
        response = await send(client, port, Body(b"abc", b"de", b"fgh", is_chunked=is_chunked))
        assert await response.read(100) == b"ok"
    framed = b"3\r\nabc\r\n2\r\nde\r\n3\r\nfgh\r\n0\r\n\r\n" if is_chunked else b"abcdefgh"
    assert got == [(is_chunked, not is_chunked, framed)] * 2
    assert len(connections) == 1


async def test_no_more_is_taken_from_the_client_than_the_provider_takes(client, listen) -> None:
    go_on = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        await reader.readexactly(40_000_000)
        writer.write(OK)

    body = Body(*[b"x" * 40_000] * 1000)
    port = await listen(serve, limit=65_536)
    asked = asyncio.create_task(send(client, port, body))
    await asyncio.sleep(0.2)
    waiting = body.handed_over
    go_on.set()
    response = await asked
    assert (await response.read(100), body.handed_over) == (b"ok", 40_000_000)
    assert waiting < 20_000_000  # what both sockets' buffers take


async def test_provider_that_takes_nothing_is_late(client, listen) -> None:
    async def serve(reader, writer):
        await asyncio.Event().wait()

    port = await listen(serve, limit=65_536)
    with pytest.raises(UpstreamTimeoutError):
        await send(client, port, Body(*[b"x" * 1_000_000] * 30))


async def test_time_of_the_client_is_not_the_providers(client, listen) -> None:
    """Longer than the first-byte timeout."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(3)
        await asyncio.sleep(0.1)
        writer.write(OK)

    body = Body(b"abc")
    body.hold = asyncio.Event()
    port = await listen(serve)
    asyncio.get_running_loop().call_later(0.6, body.hold.set)
    assert await (await send(client, port, body)).read(100) == b"ok"


async def test_early_refusal_stops_the_sending_and_the_connection(client, listen) -> None:
    connections = []

    async def serve(reader, writer):
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK.replace(b"200 OK", b"429 No"))
        await reader.read()

    port = await listen(serve)
    body = Body(b"abc")
    body.hold = asyncio.Event()
    response = await send(client, port, body)
    assert (response.status, await response.read(100), body.is_halted) == (429, b"ok", True)
    other = Body(b"abc")
    await send(client, port, other)
    assert len(connections) == 2


async def test_refusal_is_read_before_the_end_of_the_connection_is_met(client, listen) -> None:
    """The provider answers and closes on what it has not read: the answer must not be lost for it."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK.replace(b"200 OK", b"413 No"))
        await writer.drain()

    port = await listen(serve)
    for _ in range(10):
        response = await send(client, port, Body(*[b"x" * 30_000] * 50))
        assert (response.status, await response.read(100)) == (413, b"ok")


async def test_fault_of_the_client_ends_the_call(client, listen) -> None:
    gone = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        gone.set()

    port = await listen(serve)
    with pytest.raises(ClientGoneError):
        await send(client, port, Body(b"abc", is_chunked=True, fault=ClientGoneError("It left.")))
    await asyncio.wait_for(gone.wait(), 1)


async def test_early_success_goes_on_beside_the_upload(client, listen) -> None:
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"4\r\ndone\r\n0\r\n\r\n")

    port = await listen(serve)
    body = Body(b"abc", is_chunked=True)
    body.hold = asyncio.Event()
    response = await send(client, port, body)
    chunks = response.chunks()
    first = await anext(chunks)
    body.hold.set()
    assert (first, b"".join([piece async for piece in chunks])) == (b"ok", b"done")


@pytest.mark.parametrize("can_be_sent", [True, False])
async def test_idle_connection_that_was_closed_costs_a_body_only_what_can_be_sent_again(
    client, listen, monkeypatch, can_be_sent
) -> None:
    """Never half of it: a body that is no longer here from its start is not repeated."""
    monkeypatch.setattr("proxying.client._IDLE_FROM_S", 0.0)
    bodies = []

    async def serve(reader, writer):
        for turn in range(2):
            await reader.readuntil(b"\r\n\r\n")
            if turn == 1:
                return  # closes as the next request comes
            bodies.append(await reader.readexactly(3))
            writer.write(OK)

    port = await listen(serve)
    await (await send(client, port, Body(b"abc"))).read(100)
    body = Body(b"def")
    body.can_be_sent = can_be_sent
    if can_be_sent:
        assert await (await send(client, port, body)).read(100) == b"ok"
        assert (bodies, body.starts) == ([b"abc", b"def"], 2)
        return
    with pytest.raises((UpstreamConnectError, UpstreamProtocolError)):
        await send(client, port, body)
    assert (bodies, body.starts) == ([b"abc"], 1)
