"""Clients' connections, over real sockets: what the lane serves itself, and what it hands on."""

import asyncio
import re
import sys
from contextlib import asynccontextmanager, suppress

import pytest

from proxying.fastlane import FastLane
from proxying.http import Answer, AnswerCutError
from proxying.lane_connection import LaneConnection

pytestmark = pytest.mark.anyio

ECHO = b"POST /v1/echo HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /v1/get HTTP/1.1\r\nHost: x\r\n\r\n"


def echo(body: bytes, *headers: bytes) -> bytes:
    lines = [*headers, b"content-length: %d" % len(body)]
    return ECHO + b"\r\n".join(lines) + b"\r\n\r\n" + body


class Server:
    """A worker as connections see it. ``handed`` is what gunicorn's protocol would have got."""

    def __init__(self, loop, **values):
        self.loop = loop
        self.keepalive_s = 5.0
        self.body_timeout_s = 5.0
        self.keeps_connections = True
        self.made, self.connections, self.answers, self.handed = [], set(), 0, []
        self.__dict__.update(values)

    def opened(self, connection):
        self.made.append(connection)
        self.connections.add(connection)

    def lost(self, connection):
        self.connections.discard(connection)

    def served(self):
        self.answers += 1


class Other(asyncio.Protocol):
    """Says that it got something."""

    def __init__(self, server):
        self.server = server

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.server.handed.append(data)
        if self.server.handed[1:] == []:
            self.transport.write(b"HTTP/1.1 299 Handed\r\ncontent-length: 0\r\n\r\n")


class Views:
    """What is served, and what happened to it."""

    def __init__(self):
        self.gone, self.begun = asyncio.Event(), asyncio.Event()

    async def echo(self, request):
        body = await request.read_body(400_000)
        return Answer(200, [(b"x-seen", str(sorted(request.headers)).encode())], body)

    async def get(self, request, **arguments):
        return Answer(200, [], f"{request.query_string} {arguments}".encode())

    async def hang(self, request):
        await request.read_body(100)
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.gone.set()

    async def stream(self, request):
        await request.read_body(100)
        return Answer(200, [(b"content-type", b"text/event-stream")], stream=self.pieces())

    async def pieces(self):
        try:
            yield b"one"
            yield b""
            self.begun.set()
            await asyncio.sleep(0.02)
            yield b"two"
        finally:
            self.gone.set()

    async def cut(self, request):
        return Answer(stream=self.broken())

    async def broken(self):
        yield b"one"
        raise AnswerCutError

    async def flood(self, request):
        return Answer(stream=self.endless())

    async def endless(self):
        self.sent = 0
        try:
            while True:
                yield b"x" * 50_000
                self.sent += 50_000
        finally:
            self.gone.set()

    async def slow_reader(self, request):
        seen = []
        async for piece in request.chunks():
            seen.append(len(piece))
            self.begun.set()
            await asyncio.sleep(0.001)
        return Answer(body=b"%d" % sum(seen))

    async def refuse(self, request):
        return Answer(401, body=b"no")

    async def injected(self, request):
        return Answer(200, [(b"x-model", b"a\r\nset-cookie: b")])

    def routes(self):
        return {
            "/v1/echo": {"POST": self.echo},
            "/v1/get": {"GET": self.get},
            "/v1/get/{name}": {"GET": self.get},
            "/v1/hang": {"POST": self.hang, "GET": self.hang},
            "/v1/stream": {"POST": self.stream, "GET": self.stream},
            "/v1/cut": {"POST": self.cut},
            "/v1/flood": {"POST": self.flood},
            "/v1/slow": {"POST": self.slow_reader},
            "/v1/refuse": {"POST": self.refuse},
            "/v1/injected": {"POST": self.injected},
        }


class Peer:
    """A client that writes bytes as they are."""

    def __init__(self, reader, writer, server, views):
        self.reader, self.writer, self.server, self.views = reader, writer, server, views

    @property
    def connection(self):
        return self.server.made[0]

    def send(self, *pieces):
        for piece in pieces:
            self.writer.write(piece)

    async def answer(self):
        """Status, headers and body of one answer."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 3)
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            assert await self.reader.readexactly(2) == b"\r\n"
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split()[1]), headers, body

    async def rest(self):
        """What comes until the connection ends."""
        return await asyncio.wait_for(self.reader.read(), 3)


@asynccontextmanager
async def peer(**values):
    loop = asyncio.get_running_loop()
    server, views = Server(loop, **values), Views()
    lane = FastLane(views.routes(), None)
    listening = await loop.create_server(
        lambda: LaneConnection(server, lane, lambda: Other(server)), "127.0.0.1", 0
    )
    port = listening.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    try:
        yield Peer(reader, writer, server, views)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        listening.close()
        await asyncio.sleep(0.01)
        assert (server.connections, lane.in_flight) == (set(), 0)


async def test_requests_follow_one_another_on_a_connection():
    async with peer() as client:
        for body in (b"first", b"", b"x" * 200_000):
            client.send(echo(body))
            status, headers, got = await client.answer()
            assert (status, got, "connection" in headers) == (200, body, False)
            assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["date"])
        assert client.server.answers == 3


@pytest.mark.parametrize("size", [1, 7])
async def test_pieces_of_any_size_make_a_request(size):
    head = ECHO + b"transfer-encoding: chunked\r\nx-a:  b \r\n\r\n"
    whole = head + b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nx-t: 1\r\n\r\n"
    async with peer() as client:
        for start in range(0, len(whole), size):
            client.send(whole[start : start + size])
            await asyncio.sleep(0)
        status, headers, body = await client.answer()
        assert (status, body) == (200, b"hello world")
        assert headers["x-seen"] == "['host', 'transfer-encoding', 'x-a']"
        client.send(echo(b"next"))
        assert (await client.answer())[2] == b"next"


async def test_path_query_and_arguments_are_told():
    async with peer() as client:
        client.send(b"GET /v1/get/a/b?c=d%20e HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer())[2] == b"c=d%20e {'name': 'a/b'}"
        client.send(b"GET /v1/none HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer())[0] == 404


async def test_of_a_repeated_header_the_first_counts():
    async with peer() as client:
        client.send(b"POST /v1/echo HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n")
        assert (await client.answer())[0] == 200


async def test_requests_in_one_piece_are_answered_in_turn():
    async with peer() as client:
        client.send(echo(b"1") + echo(b"2") + GET + echo(b"3"))
        assert [(await client.answer())[2] for _ in range(4)] == [b"1", b"2", b" {}", b"3"]


async def test_requests_that_come_too_early_wait_without_being_read():
    """A client that never waits for answers fills its own socket, not the worker's memory."""
    async with peer() as client:
        client.send(b"POST /v1/stream HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n")
        for number in range(20):
            client.send(echo(b"%d" % number))
            await asyncio.sleep(0)
        assert (await client.answer())[2] == b"onetwo"
        assert [(await client.answer())[2] for _ in range(20)] == [b"%d" % number for number in range(20)]


async def test_too_many_requests_at_once_end_the_connection_after_an_answer():
    async with peer() as client:
        client.send(b"".join(echo(b"%d" % number) for number in range(200)))
        _, headers, body = await client.answer()
        assert (headers["connection"], body, client.server.answers) == ("close", b"0", 1)
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /admin/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x/v1/get HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/get%2Fa HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/get HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET /v1/get HTTP/1.1\r\n\r\n",
        b"GET /v1/get HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /v1/get HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ECHO
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
        + b"content-length: 2\r\n\r\nhi",
        ECHO + b"Expect: 100-continue\r\ncontent-length: 2\r\n\r\n",
        ECHO + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ECHO + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi",
        ECHO + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\nhi",
        ECHO + b"x-control: a\x01b\r\n\r\n",
        ECHO + b"no colon\r\n\r\n",
        ECHO + b"x-long: " + b"y" * 20_000 + b"\r\n\r\n",
        ECHO + b"".join(b"x-%d: y\r\n" % number for number in range(80)) + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"nonsense\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1_000_000, 3])
async def test_whatever_is_not_plain_is_handed_on_as_it_came(request_bytes, size):
    async with peer() as client:
        client.send(echo(b"before"))
        assert (await client.answer())[2] == b"before"
        for start in range(0, len(request_bytes), size):
            client.send(request_bytes[start : start + size])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if client.server.handed:
                break
        assert (await client.answer())[0] == 299
        handed = client.server.handed[0]
        assert handed == request_bytes[: len(handed)]
        assert handed == request_bytes or size == 3


async def test_endless_head_is_handed_on():
    async with peer() as client:
        client.send(ECHO + b"x-long: ")
        for _ in range(20):
            client.send(b"y" * 10_000)
        assert (await client.answer())[0] == 299
        assert len(client.server.handed[0]) < 400_000


async def test_odd_request_behind_another_ends_the_connection_after_the_answer():
    async with peer() as client:
        client.send(echo(b"1") + b"GET /admin/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer())[2] == b"1"
        assert (await client.rest(), client.server.handed) == (b"", [])


async def test_body_with_broken_framing_is_refused_and_the_connection_ends():
    async with peer() as client:
        client.send(ECHO + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
        status, headers, body = await client.answer()
        assert (status, headers["connection"], b"invalid_body" in body) == (400, "close", True)
        assert await client.rest() == b""


@pytest.mark.parametrize("unending", [b"5;" + b"x" * 200_000, b"0\r\nx-trailer: " + b"y" * 200_000])
async def test_line_of_a_body_without_an_end_is_given_up(unending):
    async with peer() as client:
        client.send(ECHO + b"transfer-encoding: chunked\r\n\r\n", unending)
        assert (await client.answer())[0] == 400
        with suppress(ConnectionError):
            assert await client.rest() == b""


async def test_body_that_does_not_come_is_a_timeout():
    async with peer(body_timeout_s=0.1) as client:
        client.send(ECHO + b"content-length: 5\r\n\r\nab")
        status, headers, body = await client.answer()
        assert (status, headers["connection"], b"request_timeout" in body) == (408, "close", True)


async def test_answer_before_the_body_came_waits_for_a_client_that_is_writing():
    async with peer() as client:
        client.send(b"POST /v1/refuse HTTP/1.1\r\nHost: x\r\ncontent-length: 300000\r\n\r\n", b"x" * 100_000)
        status, headers, body = await client.answer()
        assert (status, headers["connection"], body) == (401, "close", b"no")
        client.send(b"x" * 200_000)
        assert await client.rest() == b""


async def test_too_large_a_body_is_refused_by_its_length_and_by_its_bytes():
    for framing in (b"content-length: 900000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n"):
        async with peer() as client:
            client.send(ECHO + framing)
            if b"chunked" in framing:
                client.send(b"7A120\r\n" + b"x" * 500_000 + b"\r\n")
            status, headers, body = await client.answer()
            assert (status, headers["connection"], b"request_too_large" in body) == (413, "close", True)


async def test_head_has_no_body_and_the_connection_goes_on():
    async with peer() as client:
        for path in (b"/v1/get", b"/v1/stream"):
            client.send(b"HEAD " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        client.send(GET)
        assert (await client.answer())[2] == b" {}"


async def test_client_that_asks_for_it_gets_the_connection_closed():
    async with peer() as client:
        client.send(echo(b"1", b"Connection: close"))
        assert (await client.answer())[1]["connection"] == "close"
        assert await client.rest() == b""


async def test_server_that_ends_says_so_and_closes():
    async with peer() as client:
        client.send(echo(b"1"))
        assert "connection" not in (await client.answer())[1]
        client.server.keeps_connections = False
        client.send(b"POST /v1/stream HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n")
        _, headers, body = await client.answer()
        assert (headers["connection"], body, await client.rest()) == ("close", b"onetwo", b"")


async def test_stream_is_chunked_and_its_head_comes_with_its_first_piece():
    async with peer() as client:
        client.send(b"POST /v1/stream HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n")
        first = await client.reader.readuntil(b"one\r\n")
        assert first.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        assert first.endswith(b"\r\n\r\n3\r\none\r\n")
        assert await client.reader.readuntil(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"


async def test_cut_stream_has_no_end():
    async with peer() as client:
        client.send(b"POST /v1/cut HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\n3\r\none\r\n")


async def test_header_that_would_be_two_ends_the_connection_without_an_answer():
    async with peer() as client:
        client.send(b"POST /v1/injected HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n")
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "request_bytes", [GET.replace(b"get", b"hang"), echo(b"x").replace(b"echo", b"hang")]
)
async def test_client_that_leaves_cancels_the_view(request_bytes):
    """T33."""
    async with peer() as client:
        client.send(request_bytes)
        await asyncio.wait_for(client.views.begun.wait(), 1)
        client.writer.transport.abort()
        await asyncio.wait_for(client.views.gone.wait(), 1)


async def test_client_that_leaves_ends_its_stream():
    async with peer() as client:
        client.send(b"POST /v1/stream HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n")
        await asyncio.wait_for(client.views.begun.wait(), 1)
        client.writer.transport.abort()
        await asyncio.wait_for(client.views.gone.wait(), 1)


async def test_client_that_leaves_in_its_body_ends_the_request():
    async with peer() as client:
        client.send(b"POST /v1/hang HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\n\r\nab")
        await asyncio.sleep(0.02)
        client.writer.transport.abort()
        await asyncio.sleep(0.02)
        assert client.server.connections == set()


async def test_client_that_does_not_read_holds_the_stream():
    async with peer() as client:
        client.reader._limit = 1
        client.send(b"POST /v1/flood HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n")
        client.writer.transport.pause_reading()
        await asyncio.sleep(0.1)
        sent = client.views.sent
        await asyncio.sleep(0.1)
        assert client.views.sent == sent < 20_000_000
        client.writer.transport.abort()
        await asyncio.wait_for(client.views.gone.wait(), 1)


async def test_upload_is_read_no_faster_than_it_is_taken():
    async with peer() as client:
        body = b"x" * 3_000_000
        client.send(b"POST /v1/slow HTTP/1.1\r\nHost: x\r\ncontent-length: %d\r\n\r\n" % len(body), body)
        await asyncio.wait_for(client.views.begun.wait(), 1)
        assert (await client.answer())[2] == b"3000000"


async def test_idle_connection_is_closed_after_its_time():
    async with peer(keepalive_s=0.15) as client:
        client.send(echo(b"1"))
        await client.answer()
        began = asyncio.get_running_loop().time()
        assert await client.rest() == b""
        assert 0.1 < asyncio.get_running_loop().time() - began < 1


async def test_head_that_does_not_come_to_its_end_is_closed_after_the_same_time():
    async with peer(keepalive_s=0.15) as client:
        rest = asyncio.create_task(client.rest())
        for byte in ECHO * 2:
            client.send(bytes([byte]))
            await asyncio.wait([rest], timeout=0.01)
            if rest.done():
                break
        with suppress(ConnectionError):
            assert await rest == b""
        assert client.server.answers == 0


async def test_long_answer_is_not_idleness():
    async with peer(keepalive_s=0.01) as client:
        client.send(b"POST /v1/stream HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n")
        assert (await client.answer())[2] == b"onetwo"


async def test_worker_closes_idle_connections_only():
    async with peer() as client:
        client.send(b"POST /v1/hang HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n")
        await asyncio.wait_for(client.views.begun.wait(), 1)
        now = asyncio.get_running_loop().time()
        client.connection.close_if_idle(now + 1)
        assert client.server.connections
        await client.connection.cut()
        assert client.views.gone.is_set()
        assert await client.rest() == b""
    async with peer() as client:
        client.send(echo(b"1"))
        await client.answer()
        client.connection.close_if_idle(0.0)  # it has been heard since
        assert client.server.connections
        client.connection.close_if_idle(sys.maxsize)
        assert await client.rest() == b""
