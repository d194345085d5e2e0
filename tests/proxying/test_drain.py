"""Signals to the real server: nothing is lost, nothing waits for nobody."""

import asyncio
import os
import signal
import time

import httpx
import pytest

from tests.proxying.deployed import CHAT, STREAM, Deployed, Wire, deployed
from tests.upstream import Script, stream_pieces

pytestmark = pytest.mark.anyio


async def test_sigterm_ends_streams_and_leaves_idle_clients(tmp_path, upstream):
    """A stream in flight comes to its end; an idle keep-alive connection does not hold the worker."""
    up = await upstream()
    async with (
        deployed(tmp_path, up.base_url) as gateway,
        Wire(gateway) as idle,
        Wire(gateway) as never_used,
        Wire(gateway) as busy,
        Wire(gateway) as stream,
    ):
        idle.ask(CHAT)
        busy.ask(CHAT)
        for wire in (idle, busy):
            status, headers, _ = await wire.whole()
            assert (status, headers.get("connection")) == (200, None)
        up.script(Script(pieces=stream_pieces([str(n) for n in range(40)]), piece_delay_s=0.1))
        stream.ask(STREAM)
        assert (await stream.head())[0] == 200
        gateway.signal(signal.SIGTERM)
        began = time.monotonic()
        await asyncio.sleep(0.3)
        busy.ask(path="/health/ready")
        status, headers, body = await busy.whole()
        assert (status, headers["connection"], b'"draining"' in body) == (503, "close", True)
        assert await busy.rest() == b""
        assert (await idle.rest(), await never_used.rest()) == (b"", b"")
        assert time.monotonic() - began < 3.5
        assert b"[DONE]" in await stream.rest()
        assert time.monotonic() - began > 3.5
        assert await gateway.ended(5) == 0
        assert gateway.rows() == [(200, "ok")] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_answers_that_last_too_long_are_cut_and_recorded(tmp_path, upstream, number):
    """The drain time bounds SIGTERM; SIGINT waits for nobody. Either way the records are written."""
    up = await upstream(pieces=stream_pieces(["x"] * 100), piece_delay_s=0.2)
    async with deployed(tmp_path, up.base_url, GATEWAY_DRAIN_S="2") as gateway, Wire(gateway) as stream:
        stream.ask(STREAM)
        assert (await stream.head())[0] == 200
        gateway.signal(number)
        assert b"[DONE]" not in await stream.rest()
        assert await gateway.ended(8) == 0
        assert gateway.rows() == [(200, "client_gone")]


async def asking(gateway, until: asyncio.Event) -> list[int]:
    """The statuses that eight clients get, half of them with a new connection for each request."""
    answers: list[int] = []

    async def ask(*, anew: bool) -> None:
        limits = httpx.Limits(max_keepalive_connections=0 if anew else 1)
        async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=10) as http:
            url = f"{gateway.base_url}/v1/chat/completions"
            while not until.is_set():
                answers.append((await http.post(url, json=CHAT, headers=gateway.headers)).status_code)

    await asyncio.gather(*(ask(anew=n % 2 == 0) for n in range(8)))
    return answers


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
async def test_reload_under_load_loses_nothing(tmp_path, upstream, event_loop):
    """SIGHUP replaces the workers while clients with and without keep-alive ask on."""
    up = await upstream()
    chosen = {"GUNICORN_CMD_ARGS": f"--asgi-loop {event_loop}"}
    async with deployed(tmp_path, up.base_url, **chosen) as gateway, Wire(gateway) as stream:
        up.script(Script(pieces=stream_pieces([str(n) for n in range(50)]), piece_delay_s=0.1))
        stream.ask(STREAM)
        assert (await stream.head())[0] == 200
        enough = asyncio.Event()
        load = asyncio.create_task(asking(gateway, enough))
        for _ in range(2):
            await asyncio.sleep(1.0)
            gateway.signal(signal.SIGHUP)
        await gateway.wait_for_log("Worker exiting", within_s=30)
        await asyncio.sleep(0.5)
        enough.set()
        answers = await load
        assert len(answers) > 50
        assert set(answers) == {200}
        assert b"[DONE]" in await stream.rest()
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended(30) == 0
        assert gateway.rows() == [(200, "ok")] * (len(answers) + 1)


@pytest.mark.redis
async def test_reload_of_two_workers_under_load_loses_nothing(tmp_path, upstream, redis_url):
    up = await upstream()
    async with deployed(tmp_path, up.base_url, "--workers", "2", CACHE_URL=redis_url) as gateway:
        enough = asyncio.Event()
        load = asyncio.create_task(asking(gateway, enough))
        await asyncio.sleep(0.5)
        gateway.signal(signal.SIGHUP)
        await gateway.wait_for_log("Worker exiting", times=2, within_s=30)
        await asyncio.sleep(0.5)
        enough.set()
        answers = await load
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended(30) == 0
        assert len(answers) > 50
        assert gateway.rows() == [(200, "ok")] * len(answers)


@pytest.mark.redis
async def test_killed_worker_is_replaced_and_the_other_serves_on(tmp_path, upstream, redis_url):
    """SIGKILL: what it was doing breaks off for its clients; everyone after that is served."""
    up = await upstream()
    async with (
        deployed(tmp_path, up.base_url, "--workers", "2", CACHE_URL=redis_url) as gateway,
        Wire(gateway) as stream,
        httpx.AsyncClient(trust_env=False, timeout=10, headers=gateway.headers) as http,
    ):
        await gateway.wait_for_log("ASGI server listening on", times=2)
        up.script(Script(pieces=stream_pieces(["one "] * 100), piece_delay_s=0.1))
        stream.ask(STREAM)
        assert (await stream.head())[0] == 200
        for worker in gateway.workers():
            os.kill(worker, signal.SIGKILL)
            answers = [
                await http.post(
                    f"{gateway.base_url}/v1/chat/completions", json=CHAT, headers={"connection": "close"}
                )
                for _ in range(10)
            ]
            assert {one.status_code for one in answers} == {200}
            await gateway.wait_for_log("ASGI server listening on", times=3, within_s=30)
        assert b"[DONE]" not in await stream.rest()
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended(30) == 0


async def test_upgrade_under_load_loses_nothing(tmp_path, upstream):
    """SIGUSR2 starts a second master on the same port; then the first gets its SIGTERM."""
    up = await upstream()
    async with deployed(tmp_path, up.base_url) as gateway:
        enough = asyncio.Event()
        load = asyncio.create_task(asking(gateway, enough))
        await asyncio.sleep(0.5)
        gateway.signal(signal.SIGUSR2)
        await gateway.wait_for_log("ASGI server listening on", times=2)
        second = gateway.workers()[-1]
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended(30) == 0
        await asyncio.sleep(0.5)
        enough.set()
        answers = await load
        os.kill(second, signal.SIGTERM)
        await gateway.wait_for_log("Shutting down: Master", times=2)
        assert len(answers) > 50
        assert set(answers) == {200}
        assert gateway.rows() == [(200, "ok")] * len(answers)


async def test_sigterm_while_the_worker_loads_is_heard(tmp_path, upstream):
    """The master has told the worker only once: whoever misses it is waited for until the drain time ends."""
    up = await upstream()
    gateway = await asyncio.to_thread(lambda: Deployed(tmp_path, up.base_url))
    gateway.start()
    await gateway.wait_for_log("Booting worker")
    await asyncio.sleep(0.1)
    assert "listening on" not in gateway.log
    gateway.signal(signal.SIGTERM)
    assert await gateway.ended(8) == 0


async def test_burst_of_new_connections_is_not_reset(tmp_path, upstream):
    """A worker that is busy for a moment finds them waiting: gunicorn's backlog, not asyncio's 100."""
    up = await upstream()
    async with deployed(tmp_path, up.base_url) as gateway:
        (worker,) = gateway.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            wires = [Wire(gateway) for _ in range(300)]
            async with asyncio.timeout(5):
                await asyncio.gather(*(wire.__aenter__() for wire in wires))
            for wire in wires:
                wire.ask(path="/health")
        finally:
            os.kill(worker, signal.SIGCONT)
        answers = await asyncio.gather(*(wire.whole() for wire in wires))
        assert {status for status, _, _ in answers} == {200}
        for wire in wires:
            await wire.__aexit__()
