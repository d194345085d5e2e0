"""Real connections to the real server: clients that leave, clients that stop reading."""

import asyncio
import statistics
import time

import pytest

from tests.proxying.deployed import CHAT, STREAM, Wire, deployed
from tests.upstream import Script, chunk_event, stream_pieces

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("body", [CHAT, STREAM])
async def test_provider_is_left_within_10_ms_of_the_client(tmp_path, upstream, body):
    """T33: whole answers too. The median counts: the machine that tests may be busy."""
    up = await upstream()
    waits_ms = []
    async with deployed(tmp_path, up.base_url) as gateway:
        for _ in range(15):
            if body is CHAT:
                up.script(Script(hang=True))
            else:
                up.script(Script(pieces=stream_pieces(["x"] * 500), piece_delay_s=0.05))
            came = len(up.requests)
            async with Wire(gateway) as client:
                client.ask(body)
                if body is STREAM:
                    await client.head()
                async with asyncio.timeout(5):
                    while len(up.requests) == came:  # noqa: ASYNC110 - the provider tells nobody
                        await asyncio.sleep(0.005)
                await asyncio.sleep(0.02)
                began = time.perf_counter()
            await asyncio.wait_for(up.requests[-1].gone.wait(), 1)
            waits_ms.append((time.perf_counter() - began) * 1000)
        assert statistics.median(waits_ms) < 10, waits_ms
        async with asyncio.timeout(5):
            while len(gateway.rows()) < 15:  # noqa: ASYNC110 - the gateway writes them from time to time
                await asyncio.sleep(0.1)
        assert {outcome for _, outcome in gateway.rows()} == {"client_gone"}


async def test_client_that_stops_reading_holds_the_provider_not_the_memory(tmp_path, upstream):
    """64 MiB of stream to a client that reads nothing: what waits, waits at the provider."""
    piece = chunk_event("x" * 65_536)
    sent = 0

    def pieces():
        nonlocal sent
        for _ in range(1000):
            sent += len(piece)
            yield piece
        yield chunk_event("", finish="stop")
        yield b"data: [DONE]\n\n"

    up = await upstream(pieces=pieces())
    async with deployed(tmp_path, up.base_url) as gateway:
        before = gateway.memory_bytes()
        async with Wire(gateway, receive_buffer=16_384) as client:
            client.ask(STREAM)
            await asyncio.sleep(1.0)
            stalled_at = sent
            await asyncio.sleep(0.5)
            assert sent == stalled_at
            assert stalled_at < 16 * 2**20
            assert gateway.memory_bytes() - before < 8 * 2**20
            body = await client.rest_of_chunks(within_s=30)
        assert (body.count(b"\ndata: ") + 1, body.endswith(b"data: [DONE]\n\n")) == (1002, True)
        assert gateway.memory_bytes() - before < 16 * 2**20


async def test_head_is_answered_without_a_body_everywhere(tmp_path, upstream):
    """What stood after a head would be read as the next answer."""
    up = await upstream()
    async with deployed(tmp_path, up.base_url) as gateway, Wire(gateway) as client:
        for path, status in {
            "/health": 200,
            "/v1/models": 200,
            "/v1/none": 404,
            "/admin/login/": 401,  # a client key is no admin token
        }.items():
            client.ask(path=path, method="HEAD")
            assert (await client.head())[0] == status
        client.ask(path="/health")
        status, _, body = await client.whole()
        assert (status, body) == (200, b'{"status":"ok"}')
        assert "body bytes on a no-body response" not in gateway.log
