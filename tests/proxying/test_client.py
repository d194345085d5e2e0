"""The upstream client against real sockets."""

import asyncio
import inspect
import socket
import struct
import time

import httptools
import pytest

from proxying.adapters.base import UpstreamRequest
from proxying.client import FAULTS, UpstreamClient, translated
from proxying.errors import UpstreamConnectError, UpstreamError, UpstreamProtocolError, UpstreamTimeoutError
from routing.types import Timeouts
from tests.upstream import Script, Upstream

pytestmark = pytest.mark.anyio
BODY = b'{"model":"m"}'
QUICK = Timeouts(connect_s=0.5, first_byte_s=0.3, idle_s=0.2, total_s=5)


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


async def send(client, url, timeouts=QUICK, deadline_s=5.0, method="POST"):
    request = UpstreamRequest(method, url, {"content-type": "application/json"}, BODY)
    deadline_at = asyncio.get_running_loop().time() + deadline_s
    return await client.send(request, timeouts=timeouts, deadline_at=deadline_at)


async def drain(response):
    """All that came, and how it ended."""
    pieces = b""
    try:
        async for piece in response.chunks():
            pieces += piece
    except UpstreamError as error:
        return pieces, type(error)
    return pieces, None


async def test_send_passes_bytes_and_reuses_the_connection(client, upstream):
    up = await upstream(body=b'{"a":1}')
    for _ in range(3):
        response = await send(client, up.base_url + "/x%2Fy?q=%41")
        assert (response.status, await response.read(100)) == (200, b'{"a":1}')
        await response.close()
    assert up.connections == 1
    got = up.requests[0]
    assert (got.method, got.path, got.body) == ("POST", "/v1/x%2Fy?q=%41", BODY)
    assert got.headers["accept-encoding"] == "identity"


async def test_send_decodes_what_is_compressed_anyway(client, upstream):
    up = await upstream(body=b"x" * 5000, gzip=True)
    assert await (await send(client, up.base_url)).read(5000) == b"x" * 5000


async def test_send_follows_no_redirect_and_keeps_no_cookie(client, upstream):
    up = await upstream(status=302, headers={"location": "/elsewhere", "set-cookie": "a=b"}, body=b"")
    for _ in range(2):
        response = await send(client, up.base_url)
        assert (response.status, response.headers["location"]) == (302, "/elsewhere")
        await response.read(10)
    assert ["cookie" in r.headers for r in up.requests] == [False, False]


async def test_pooled_connection_that_was_closed_is_not_used(client, upstream):
    up = await upstream(body=b"ok")
    await (await send(client, up.base_url)).read(10)
    up.close_connections()
    assert await (await send(client, up.base_url)).read(10) == b"ok"
    assert up.connections == 2


@pytest.fixture
def idle_at_once(monkeypatch):
    """Connections count as idle as soon as they rest, so that tests need not wait."""
    monkeypatch.setattr("proxying.client._IDLE_FROM_S", 0.0)


@pytest.mark.parametrize("reset", [False, True])
async def test_request_on_a_connection_in_full_use_is_sent_once(client, upstream, reset):
    """T35: a provider that breaks off on a busy connection may have read the request."""
    up = await upstream(body=b"ok")
    await (await send(client, up.base_url)).read(10)
    up.script(Script(drop=True, reset=reset))
    with pytest.raises(UpstreamConnectError):
        await send(client, up.base_url)
    assert [r.connection for r in up.requests] == [1, 1]


@pytest.mark.usefixtures("idle_at_once")
@pytest.mark.parametrize("reset", [False, True])
async def test_request_that_finds_its_kept_connection_closed_goes_out_again(client, upstream, reset):
    """The provider closes while the request is on its way: no poll before it can see that."""
    up = await upstream(body=b"ok")
    await (await send(client, up.base_url)).read(10)
    up.script(Script(drop=True, reset=reset))
    assert await (await send(client, up.base_url)).read(10) == b"ok"
    assert [(r.connection, r.body) for r in up.requests] == [(1, BODY), (1, BODY), (2, BODY)]


@pytest.mark.usefixtures("idle_at_once")
async def test_request_is_repeated_once_and_only_after_a_kept_connection(client, upstream):
    up = await upstream(drop=True)
    with pytest.raises(UpstreamConnectError):
        await send(client, up.base_url)
    assert len(up.requests) == 1
    up.script(Script(body=b"ok"))
    await (await send(client, up.base_url)).read(10)
    with pytest.raises(UpstreamConnectError):
        await send(client, up.base_url)
    assert [r.connection for r in up.requests] == [1, 2, 2, 3]


@pytest.mark.usefixtures("idle_at_once")
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"drop": True, "delay_s": 0.6}, UpstreamConnectError),
        ({"raw": b"HTTP/1.1 200 OK\r\ncontent-le"}, UpstreamConnectError),
    ],
)
async def test_request_that_may_have_been_worked_on_is_not_repeated(client, upstream, script, kind):
    up = await upstream(body=b"ok")
    await (await send(client, up.base_url)).read(10)
    up.script(Script(**script))
    with pytest.raises(kind):
        await send(client, up.base_url, Timeouts())
    assert len(up.requests) == 2


@pytest.mark.usefixtures("idle_at_once")
async def test_provider_that_closes_idle_connections_at_once_loses_nothing(client, upstream):
    up = await upstream(body=b"ok")

    async def ask(number):
        for _ in range(25):
            assert await (await send(client, up.base_url, Timeouts())).read(10) == b"ok"
            await asyncio.sleep(number / 5000)

    async def close_all():
        while True:
            await asyncio.sleep(0.002)
            up.close_idle()

    closing = asyncio.create_task(close_all())
    await asyncio.gather(*map(ask, range(8)))
    closing.cancel()
    assert up.connections > 20


async def test_content_before_a_cut_survives_a_reader_that_pauses(client, upstream):
    """T53: more than the client holds, unread while the connection breaks."""
    sent = bytes(range(256)) * 2048  # 512 KiB: the transport is paused
    up = await upstream(body=sent + b"more", cut_after_bytes=len(sent))
    response = await send(client, up.base_url, Timeouts())
    await asyncio.sleep(0.1)
    got, kind = await drain(response)
    assert (len(got), got == sent, kind) == (len(sent), True, UpstreamProtocolError)


async def test_certificate_that_nobody_vouches_for_is_named(client, certificate):
    async def serve(reader, writer):
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificate)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(UpstreamConnectError, match="TLS failed"):
        await send(client, f"https://localhost:{port}/v1")
    server.close()


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_tls_handshake_that_breaks_off_is_a_connect_error(client, answer):
    """None: a reset; nothing: closed; else a server that speaks no TLS."""

    async def serve(reader, writer):
        await reader.read(100)
        if answer is None:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            writer.write(answer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(UpstreamConnectError) as caught:
        await send(client, f"https://localhost:{port}/v1")
    assert ("TLS failed" in caught.value.message) is (answer not in {None, b""})
    server.close()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("how", ["bytes", "pieces", "length"])
async def test_content_before_a_cut_is_delivered_first(client, upstream, reset, how):
    """T53: what came before FIN or RST reaches the caller, then the error."""
    script = {"bytes": {"pieces": [b"abc", b"def", b"ghi"], "cut_after_bytes": 5}}
    script["pieces"] = {"pieces": [b"abc", b"de", b"ghi"], "cut_after_pieces": 2}
    script["length"] = {"body": b"abcdefghi", "cut_after_bytes": 5}
    up = await upstream(reset=reset, **script[how])
    response = await send(client, up.base_url)
    await asyncio.sleep(0.05)  # the break is there before anything was read
    assert await drain(response) == (b"abcde", UpstreamProtocolError)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"drop": True}, UpstreamConnectError),
        ({"drop": True, "reset": True}, UpstreamConnectError),
        ({"hang": True}, UpstreamTimeoutError),
        ({"raw": b"SSH-2.0-nonsense\r\n\r\n"}, UpstreamProtocolError),
    ],
)
async def test_send_names_what_went_wrong(client, upstream, script, kind):
    up = await upstream(**script)
    with pytest.raises(UpstreamError) as caught:
        await send(client, up.base_url)
    assert type(caught.value) is kind


async def test_send_refused_and_unknown_host_are_connect_errors(client, upstream):
    up = await upstream()
    await up.stop()
    for url in (up.base_url, "http://nowhere.invalid/v1", "ftp://127.0.0.1/v1", "http://:1/"):
        with pytest.raises(UpstreamConnectError):
            await send(client, url)


async def test_timeouts_say_which(client, upstream):
    up = await upstream(hang=True)
    with pytest.raises(UpstreamTimeoutError, match="first-byte"):
        await send(client, up.base_url)
    with pytest.raises(UpstreamTimeoutError, match="deadline"):
        await send(client, up.base_url, deadline_s=0.05)
    slow = await upstream(pieces=[b"a", b"b"], piece_delay_s=1)
    response = await send(client, slow.base_url)
    with pytest.raises(UpstreamTimeoutError, match="idle"):
        await response.read(10)


async def test_read_refuses_more_than_its_limit(client, upstream):
    up = await upstream(body=b"x" * 11)
    response = await send(client, up.base_url)
    with pytest.raises(UpstreamProtocolError, match="more than 10 bytes"):
        await response.read(10)


@pytest.mark.parametrize("script", [{"hang": True}, {"pieces": [b"a"] * 100, "piece_delay_s": 0.1}])
async def test_cancelling_closes_the_upstream_at_once(client, upstream, script):
    up: Upstream = await upstream(**script)

    async def call():
        return await drain(await send(client, up.base_url, Timeouts()))

    task = asyncio.create_task(call())
    await asyncio.sleep(0.1)
    began = time.perf_counter()
    task.cancel()
    await asyncio.wait_for(up.requests[0].gone.wait(), 1)
    assert time.perf_counter() - began < 0.05
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_metadata_address_is_never_called_and_private_ones_on_demand(upstream):
    up = await upstream()
    client = UpstreamClient(deny_private=True)
    await client.open()
    for url in (up.base_url, f"http://localhost:{up.port}/", "http://169.254.169.254/latest/"):
        with pytest.raises(UpstreamConnectError):
            await send(client, url)
    await client.close()
    assert up.connections == 0


def all_below(kind):
    """A class of exceptions and all that were made of it."""
    return {kind, *(one for child in kind.__subclasses__() for one in all_below(child))}


def test_every_exception_of_the_parser_is_caught_where_bytes_are_parsed():
    """A new exception class of httptools must be looked at."""
    kinds = {
        kind for _, kind in inspect.getmembers(httptools, inspect.isclass) if issubclass(kind, Exception)
    }
    caught = {httptools.HttpParserUpgrade, *all_below(httptools.HttpParserError)}
    assert kinds | caught == caught


_OF_THE_SYSTEM_OR_OURS = {"builtins", "socket", "ssl", "proxying.upstream_connection"}
_OF_THE_SYSTEM_OR_OURS |= {"proxying.upstream_address", "routing.egress"}


@pytest.mark.parametrize("connecting", [False, True])
def test_every_fault_has_an_error_of_its_own(connecting):
    """Of the system's exceptions too: none falls to the last line unseen."""
    kinds = {
        kind for kind in set().union(*map(all_below, FAULTS)) if kind.__module__ in _OF_THE_SYSTEM_OR_OURS
    }
    found = {kind.__name__: type(translated(kind.__new__(kind), connecting=connecting)) for kind in kinds}
    protocol = {name for name, error in found.items() if error is UpstreamProtocolError}
    timeout = {name for name, error in found.items() if error is UpstreamTimeoutError}
    assert protocol == {"MalformedAnswerError"}
    assert timeout == {"TimeoutError"}
    assert {"ConnectionRefusedError", "gaierror", "SSLError", "AddressRefusedError"} <= found.keys()
    connect = found.keys() - protocol - timeout
    assert {found[name] for name in connect} == {UpstreamConnectError}


async def test_stream_that_only_drips_ends_at_the_first_byte_timeout_until_content_came(client, upstream):
    up = await upstream(pieces=[b"."] * 20, piece_delay_s=0.05)
    began = time.perf_counter()
    assert (await drain(await send(client, up.base_url)))[1] is UpstreamTimeoutError
    assert time.perf_counter() - began < 0.9
    response = await send(client, up.base_url)
    response.content_came()
    assert await drain(response) == (b"." * 20, None)


async def test_whole_answer_that_only_drips_ends_at_the_deadline(client, upstream):
    up = await upstream(pieces=[b"."] * 40, piece_delay_s=0.05)
    response = await send(client, up.base_url, deadline_s=0.4)
    with pytest.raises(UpstreamTimeoutError, match="deadline"):
        await response.read(100)
