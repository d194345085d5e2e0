"""HTTP/1.1 as providers and those who pretend to be one speak it, byte by byte."""

import asyncio
import gzip
import socket
import ssl
import zlib

import pytest

from proxying.adapters.base import UpstreamRequest
from proxying.client import UpstreamClient
from proxying.errors import UpstreamConnectError, UpstreamError, UpstreamProtocolError
from proxying.upstream_address import Origin, UnsendableError, address_of, request_head
from routing.types import Timeouts

pytestmark = pytest.mark.anyio
TIMES = Timeouts(connect_s=1, first_byte_s=0.5, idle_s=0.5, total_s=5)
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"content-length: 2\r\n\r\nok"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


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


class Provider:
    """Answers each request with the next of its scripts: pieces of bytes; None closes the connection."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.connections = 0
        self.heads = []
        self.bodies = []

    async def serve(self, reader, writer):
        self.connections += 1
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self.bodies.append(await reader.readexactly(int(length or 0)))
            for piece in self.scripts.pop(0):
                if piece is None:
                    writer.close()
                    return await writer.wait_closed()
                writer.write(piece)
                await asyncio.sleep(0.01)


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
    for server in servers:
        server.close()
    for task in serving:
        task.cancel()
    if serving:
        await asyncio.wait(serving)
    await asyncio.sleep(0.01)


@pytest.fixture
async def provider(listen):
    """Start a scripted provider."""

    async def start(*scripts, **options):
        made = Provider(*scripts)
        made.port = await listen(made.serve, **options)
        made.url = f"http://127.0.0.1:{made.port}/v1"
        return made

    return start


async def ask(client, url, body=b"{}", headers=None):
    request = UpstreamRequest("POST", url, headers or {}, body)
    deadline_at = asyncio.get_running_loop().time() + 5
    return await client.send(request, timeouts=TIMES, deadline_at=deadline_at)


async def answer(client, url, **more):
    """Status and body, or the class of the error."""
    try:
        response = await ask(client, url, **more)
        return response.status, await response.read(1_000_000)
    except UpstreamError as error:
        return type(error)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([LENGTH], (200, b"ok")),
        ([bytes([one]) for one in LENGTH[:30]] + [LENGTH[30:]], (200, b"ok")),
        ([OK + b"\r\nto the end", None], (200, b"to the end")),
        ([b"HTTP/1.0 200 OK\r\n\r\nold", None], (200, b"old")),
        ([CHUNKED + b"2\r\nok\r\n0\r\n\r\n"], (200, b"ok")),
        ([CHUNKED + b"1;a=b\r\no\r\n", b"1\r\nk\r\n0\r\nx-sum: 1\r\n\r\n"], (200, b"ok")),
        ([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n", LENGTH], (200, b"ok")),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], (204, b"")),
        ([b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"], (500, b"")),
        ([OK + b"content-length: 0\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"], (200, b"")),
    ],
)
async def test_answers_of_every_framing_are_read(client, provider, script, expected):
    up = await provider(script)
    assert await answer(client, up.url) == expected


@pytest.mark.parametrize(
    "script",
    [
        [OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok"],
        [OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok"],
        [OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\nok"],
        [OK + b"content-length: +2\r\n\r\nok"],
        [OK + b"content-length : 2\r\n\r\nok"],
        [OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
        [OK + b"transfer-encoding: identity\r\n\r\nok", None],
        [OK + b"x: a\r\n b\r\ncontent-length: 2\r\n\r\nok"],
        [OK + b"x: a\x00b\r\ncontent-length: 2\r\n\r\nok"],
        [b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"],
        [b"HTTP/2 200\r\n\r\n"],
        [b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok"],
        [CHUNKED + b"g\r\nok\r\n0\r\n\r\n"],
        [CHUNKED + b"2\r\nokay\r\n0\r\n\r\n"],
        [CHUNKED + b"2\r\nok\r\n", None],
        [CHUNKED + b"2\r\nok\r\n0\r\n", None],
        [OK + b"content-length: 3\r\n\r\nok", None],
        [OK + b"content-encoding: br\r\ncontent-length: 2\r\n\r\nok"],
        [OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(b"okay")[:-9], None],
        [OK + b"x: " + b"y" * 200_000, b"y" * 200_000],
        [OK + b"x: y\r\n" * 20_000],
        [CHUNKED + b"2;" + b"y" * 100_000, b"y" * 100_000],
        [CHUNKED + b"2\r\nok\r\n0\r\n" + b"x: y\r\n" * 20_000],
    ],
)
async def test_answers_that_can_be_read_in_two_ways_or_never_end_are_refused(client, provider, script):
    up = await provider(script, [LENGTH])
    assert await answer(client, up.url) is UpstreamProtocolError
    # And nothing of it reaches the next request.
    assert await answer(client, up.url) == (200, b"ok")
    assert up.connections == 2


async def test_body_that_is_not_compressed_as_it_says_is_refused(client, provider):
    up = await provider([OK + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nok"], [LENGTH])
    assert await answer(client, up.url) is UpstreamProtocolError
    assert await answer(client, up.url) == (200, b"ok")


@pytest.mark.parametrize(
    "script",
    [
        [LENGTH + LENGTH],  # a second answer, for whoever comes next
        [LENGTH, LENGTH],  # the same, a moment later
        [LENGTH + b"x"],
        [OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok"],
        [b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"],
    ],
)
async def test_connection_with_more_to_say_is_not_used_again(client, provider, script):
    up = await provider(script, [OK + b"content-length: 4\r\n\r\nnext"])
    assert await answer(client, up.url) == (200, b"ok")
    await asyncio.sleep(0.05)
    assert await answer(client, up.url) == (200, b"next")
    assert up.connections == 2


async def test_connection_is_free_before_its_answer_is_read(client, provider):
    up = await provider([LENGTH], [OK + b"content-length: 4\r\n\r\nnext"])
    first = await ask(client, up.url)
    second = await ask(client, up.url)
    assert (await first.read(10), await second.read(10), up.connections) == (b"ok", b"next", 1)


async def test_answer_before_the_request_was_read_leaves_no_half_request(client, listen):
    """The rest of the first body would be read as the second request."""
    heads = []

    async def serve(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 413 Large\r\ncontent-length: 2\r\n\r\nno")
        await asyncio.sleep(0.3)

    url = f"http://127.0.0.1:{await listen(serve, limit=1024)}/v1"
    big = b"x" * 20_000_000
    assert await answer(client, url, body=big) == (413, b"no")
    assert await answer(client, url) == (413, b"no")
    assert len(heads) == 2


async def test_reader_that_pauses_pauses_the_provider(client, listen):
    size = 50_000_000
    sent = []

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"content-length: %d\r\n\r\n" % size)
        for _ in range(size // 1_000_000):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
            sent.append(1)

    response = await ask(client, f"http://127.0.0.1:{await listen(serve)}/v1")
    await asyncio.sleep(0.2)
    assert len(sent) < 30
    assert len(await response.read(size)) == size


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_what_is_compressed_anyway_is_decoded_in_bounded_pieces(client, provider, pack):
    packed = pack(bytes(30_000_000))
    encoding = b"gzip" if pack is gzip.compress else b"deflate"
    head = OK + b"content-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (encoding, len(packed))
    up = await provider([head + packed], [head + packed])
    response = await ask(client, up.url)
    sizes = [len(piece) async for piece in response.chunks()]
    assert (sum(sizes), max(sizes)) == (30_000_000, 1_048_576)
    with pytest.raises(UpstreamProtocolError, match="more than 1000000"):
        await (await ask(client, up.url)).read(1_000_000)


async def test_headers_are_lower_case_and_of_repeated_ones_the_last_counts(client, provider):
    up = await provider(
        [OK + b"X-A: 1\r\nx-a: 2\r\nCaf\xc3\xa9: no\r\n\r\n"], [OK + b"X-A: 1\r\nx-a:  2 \r\n\r\n", None]
    )
    assert await answer(client, up.url) is UpstreamProtocolError
    assert dict((await ask(client, up.url)).headers) == {"x-a": "2"}


async def test_request_on_the_wire_is_what_was_asked(client, provider):
    up = await provider([LENGTH])
    await answer(client, up.url + "/a%20b?c=%2F", body=b"[1]", headers={"x-a": "b", "user-agent": "me"})
    assert up.heads == [
        b"POST /v1/a%%20b?c=%%2F HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nx-a: b\r\nuser-agent: me\r\n"
        b"accept-encoding: identity\r\ncontent-length: 3\r\n\r\n" % up.port
    ]
    assert up.bodies == [b"[1]"]


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b"])
async def test_header_that_would_make_another_is_never_sent(client, provider, value):
    up = await provider([LENGTH])
    assert await answer(client, up.url, headers={"x": value}) is UpstreamConnectError
    assert (up.connections, up.heads) == (0, [])


async def test_connection_that_rests_too_long_is_closed(client, provider, monkeypatch):
    monkeypatch.setattr("proxying.client._KEEPALIVE_S", 0.05)
    monkeypatch.setattr("proxying.client._SWEEP_S", 0.02)
    up = await provider([LENGTH], [LENGTH], [LENGTH])
    await answer(client, up.url)
    await answer(client, up.url)
    assert up.connections == 1
    await asyncio.sleep(0.3)
    await answer(client, up.url)
    assert up.connections == 2


async def test_second_address_is_tried_when_the_first_refuses_or_is_silent(client, provider, monkeypatch):
    """The first refuses, the second drops what it gets; the third, begun beside them, answers."""
    up = await provider([LENGTH])
    asked = []
    loop = asyncio.get_running_loop()
    dialled = []

    async def addresses(host, port, **_):
        asked.append((host, port))
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.2", "127.0.0.3", "127.0.0.1")
        ]

    async def connect(sock, where):
        dialled.append(where[0])
        if where[0] == "127.0.0.2":
            raise ConnectionRefusedError
        if where[0] == "127.0.0.3":
            await asyncio.Event().wait()
        sock.setblocking(True)
        sock.connect(where)
        sock.setblocking(False)

    fakes = {"getaddrinfo": addresses, "sock_connect": connect}
    monkeypatch.setattr("proxying.upstream_connect.asyncio.get_running_loop", lambda: Patched(loop, fakes))
    assert await answer(client, f"http://provider.test:{up.port}/v1") == (200, b"ok")
    assert dialled == ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
    assert asked == [("provider.test", up.port)]


class Patched:
    """An event loop with methods of the test's own."""

    def __init__(self, loop, fakes):
        self._loop = loop
        self._fakes = fakes

    def __getattr__(self, name):
        return self._fakes.get(name) or getattr(self._loop, name)


async def test_tls_is_checked_used_and_kept(client, provider, certificate, tmp_path):
    up = await provider([LENGTH], [CHUNKED + b"2\r\nok\r\n0\r\n\r\n"], ssl=certificate)
    url = f"https://localhost:{up.port}/v1"
    client._connector.__dict__["_tls"] = ssl.create_default_context(cafile=tmp_path / "tls.pem")
    assert [await answer(client, url), await answer(client, url)] == [(200, b"ok")] * 2
    assert up.connections == 1


@pytest.mark.parametrize(
    ("url", "origin", "target", "host"),
    [
        ("http://a/v1", Origin("a", 80, is_tls=False), "/v1", "a"),
        ("https://a:443/v1?x=%20", Origin("a", 443, is_tls=True), "/v1?x=%20", "a"),
        ("https://A.b:80", Origin("a.b", 80, is_tls=True), "/", "a.b:80"),
        ("http://[::1]:8/x", Origin("::1", 8, is_tls=False), "/x", "[::1]:8"),
        (
            "https://bücher.example/v1",
            Origin("xn--bcher-kva.example", 443, is_tls=True),
            "/v1",
            "xn--bcher-kva.example",
        ),
    ],
)
def test_address_is_taken_apart(url, origin, target, host):
    assert address_of(url) == (origin, target, host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a/",
        "http://",
        "http://:1/",
        "http://a:0/",
        "http://a:x/",
        "http://a/b c",
        "http://a/é",
        "http://a/\r\n",
        "http://a\n/",
    ],
)
def test_address_that_is_none_is_refused(url):
    with pytest.raises(UnsendableError):
        address_of(url)


def test_request_head_names_the_length_of_the_body():
    head = request_head(UpstreamRequest("POST", "http://a/", {}, b"12"), address_of("http://a/"))
    assert head.endswith(b"content-length: 2\r\n\r\n")
