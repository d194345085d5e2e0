"""The upstream client against real sockets."""

import asyncio
import inspect
import time

import aiohttp
import pytest

from proxying.adapters.base import UpstreamRequest
from proxying.client import UpstreamClient, translated
from proxying.errors import UpstreamConnectError, UpstreamError, UpstreamProtocolError, UpstreamTimeoutError
from routing.types import Timeouts
from tests.upstream import Upstream

pytestmark = pytest.mark.anyio
BODY = b'{"model":"m"}'
QUICK = Timeouts(connect_s=0.5, first_byte_s=0.3, idle_s=0.2, total_s=5)


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


async def test_every_exception_of_aiohttp_is_mapped():
    """A new exception class of aiohttp must be looked at: none falls to the last line unseen."""
    kinds = [
        kind
        for _, kind in inspect.getmembers(aiohttp.client_exceptions, inspect.isclass)
        if issubclass(kind, aiohttp.ClientError)
    ]
    protocol = {"ClientError", "ClientPayloadError", "RedirectClientError", "TooManyRedirects"}
    protocol |= {"ClientResponseError", "ContentTypeError", "WSServerHandshakeError", "ClientHttpProxyError"}
    found = {k.__name__ for k in kinds if type(translated(k.__new__(k))) is UpstreamProtocolError}
    assert found == protocol
