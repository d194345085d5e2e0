from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from routing.cachebackends import Acquired
from routing.redis_pipe import close_pipes
from routing.state import SharedState
from routing.store_guard import StoreGuard
from tests.routing.one_pool import Clock
from tests.routing.stores import FailingStore, memory, on_redis

pytestmark = pytest.mark.anyio
IDS = ("a/x", "b/x")


def state_on(url: str) -> SharedState:
    return SharedState(pins=on_redis("pins", url, 1800), tickets=on_redis("tickets", url))


async def test_nothing_to_ask_costs_no_trip() -> None:
    """T43: no key, no pin; a priority pool without a session asks the cache nothing."""
    store = FailingStore(memory())
    state = SharedState(pins=store, tickets=store)

    assert [await state.acquire(None, IDS, None), await state.peek(None, None)] == [Acquired()] * 2
    assert store.calls == 0


async def test_pins_in_memory_are_counted() -> None:
    """Those of a shared cache are nobody's memory."""
    pins = memory()
    state = SharedState(pins=pins, tickets=memory())
    for number in (1, 2, 2):
        await state.write_pin(f"p{number}", "a/x", 60)

    assert state.pins_held() == 2
    assert SharedState(pins=FailingStore(pins), tickets=memory()).pins_held() == 0


async def test_peek_is_what_acquire_gives_next() -> None:
    """T2, T3: looking changes nothing and tells the truth."""
    state = SharedState(pins=memory(), tickets=memory())
    seen = [
        (await state.peek("p", "c"), await state.peek("p", "c"), await state.acquire("p", IDS, "c"))
        for _ in range(3)
    ]

    assert seen == [(Acquired(None, n),) * 3 for n in range(3)]


async def test_failing_cache_means_local_tickets_and_no_pins() -> None:
    clock = Clock()
    pins, tickets = FailingStore(memory()), FailingStore(memory())
    state = SharedState(pins=pins, tickets=tickets, guard=StoreGuard(clock))
    await state.write_pin("p", "a/x", 60)
    before = [await state.acquire(None, IDS, "c") for _ in range(5)]

    pins.broken = True
    during = [await state.acquire("p", IDS, "c") for _ in range(3)]
    peeked = await state.peek("p", "c")
    written = await state.write_pin("p", "b/x", 60)
    calls = pins.calls
    status = state.status()
    pins.broken = False
    early = await state.acquire("p", ("b/x",), "c")
    clock.now += 0.6
    after = await state.acquire("p", IDS, "c")

    assert [one.ticket for one in before] == [0, 1, 2, 3, 4]
    assert (during, peeked, written) == (
        [Acquired(None, n) for n in (5, 6, 7)],
        Acquired(None, 8),
        False,
    )
    assert (early, after, calls) == (Acquired(None, 8), Acquired("a/x", None), 7)
    assert (status.available, status.failures, status.local_decisions, status.last_error) == (
        False,
        1,
        3,
        "ConnectionRefusedError: refused",
    )
    assert (state.status().available, state.status().failing_since) == (True, None)


async def test_a_failing_cache_is_asked_less_and_less() -> None:
    clock = Clock()
    store = FailingStore(memory())
    store.broken = True
    state = SharedState(pins=store, tickets=store, guard=StoreGuard(clock))

    for _ in range(600):  # one minute
        await state.acquire("p", IDS, "c")
        clock.now += 0.1

    assert 12 <= store.calls <= 18


async def test_memory_state_never_blocks_the_loop() -> None:
    state = SharedState(pins=memory(limit=10), tickets=memory())

    with blockbuster_ctx():
        for number in range(50):
            await state.acquire(f"p{number}", IDS, "c")
            await state.write_pin(f"p{number}", "a/x", 60)

    assert await state.peek("p49", "c") == Acquired("a/x", 50)


@pytest.mark.redis
async def test_redis_state_never_blocks_the_loop(redis_url: str) -> None:
    state = state_on(redis_url)
    with blockbuster_ctx():
        await state.open()
        for number in range(50):
            await state.acquire(f"p{number}", IDS, "c")
            await state.write_pin(f"p{number}", "a/x", 60)

    assert (await state.peek("p49", "c"), state.status().failures) == (Acquired("a/x", 50), 0)
    await state.close()


@pytest.mark.redis
async def test_pins_are_seen_by_every_worker(redis_url: str) -> None:
    one, other = state_on(redis_url), state_on(redis_url)

    missed = await one.acquire("p", IDS, "c")
    await one.write_pin("p", "b/x", 60)

    assert missed == Acquired(None, 0)
    assert await other.acquire("p", IDS, "c") == Acquired("b/x", None)
    assert await other.acquire("p", ("a/x",), "c") == Acquired("b/x", 1)
    await close_pipes()


@pytest.mark.redis
async def test_a_pin_expires_counted_from_pinning(redis_url: str) -> None:
    """T44: reading a pin does not prolong it, and it goes without being read."""
    state = state_on(redis_url)
    await state.write_pin("p", "a/x", 1)
    await asyncio.sleep(0.6)
    read = await state.acquire("p", IDS, None)
    await asyncio.sleep(0.6)

    assert (read.pin, (await state.acquire("p", IDS, None)).pin) == ("a/x", None)
    await close_pipes()


WORKER = """
import asyncio, json, os, sys
os.environ.update(SECRET_KEY="x", CACHE_URL=sys.argv[1], DJANGO_SETTINGS_MODULE="gateway_project.settings")
import django; django.setup()
from routing.live_health import LiveHealth
from routing.health_exchange import HealthExchange
from routing.resolver import Resolver
from routing.state import SharedState
from routing.store_guard import StoreGuard
from routing.types import RouteRequest
from tests.routing.stores import memory
from tests.routing.one_pool import WEIGHTED, table
shown = table(("a", 10), ("b", 6), policy=WEIGHTED)
async def main():
    state = SharedState()
    health = LiveHealth(lambda: shown, HealthExchange(memory(), StoreGuard()))
    resolver = Resolver(lambda: shown, state, health)
    await state.open()
    chosen = []
    for _ in range(4):
        chosen += await asyncio.gather(*(resolver.resolve(RouteRequest("m")) for _ in range(10)))
    print(json.dumps([one.effective_candidate.provider for one in chosen] + [state.status().failures]))
    await state.close()
asyncio.run(main())
"""


@pytest.mark.redis
def test_weighted_shares_are_exact_across_processes(redis_url: str) -> None:
    """T4: ten to six over 160 requests of four workers is a hundred to sixty."""
    root = Path(__file__).resolve().parents[2]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, redis_url], stdout=subprocess.PIPE, text=True, cwd=root
        )
        for _ in range(4)
    ]
    outputs = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]

    assert Counter(name for output in outputs for name in output) == {"a": 100, "b": 60, 0: 4}


@pytest.mark.redis
async def test_redis_may_die_and_come_back(tmp_path: Path) -> None:
    server = shutil.which("redis-server")
    assert server is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [server, "--port", str(port), "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
        )

    state = state_on(f"redis://127.0.0.1:{port}/0")
    process = start()
    try:
        tickets = []
        for step in range(60):
            if step == 20:
                process.kill()
                process.wait()
            if step == 40:
                process = start()
            tickets.append((await state.acquire("p", IDS, "c")).ticket)
            await asyncio.sleep(0.05)
        for _ in range(100):
            await state.acquire("p", IDS, "c")
            if state.status().available:
                break
            await asyncio.sleep(0.1)
        status = state.status()
        pinned = await state.write_pin("p", "a/x", 60)
        found = await state.acquire("p", IDS, "c")
    finally:
        process.kill()
        process.wait()
        await state.close()

    assert None not in tickets
    assert (status.available, status.failures > 0, status.local_decisions > 10) == (True, True, True)
    assert (pinned, found) == (True, Acquired("a/x", None))
