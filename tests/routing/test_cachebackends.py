from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.core.cache import caches

from routing.cachebackends import (
    Acquired,
    SluiceLocMemCache,
    is_shared,
    unsupported_aliases,
)
from routing.redis_pipe import close_pipes, pipe_for
from tests.routing.stores import memory, on_redis

pytestmark = pytest.mark.anyio
BOTH = ["memory", pytest.param("redis", marks=pytest.mark.redis)]


@pytest.fixture(params=BOTH)
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Any, Any]]:
    if request.param == "memory":
        yield memory(timeout=1800), memory()
        return
    url = request.getfixturevalue("redis_url")
    yield on_redis("pins", url, timeout=1800), on_redis("tickets", url)
    await close_pipes()


async def test_async_and_sync_methods_see_the_same_values(stores: tuple[Any, Any]) -> None:
    cache, _ = stores

    await cache.aset("text", "äöü p/m")
    await cache.aset("number", 7)
    cache.set("entry", {"until": 1.5, "cause": "503"})

    assert [cache.get("text"), cache.get("number"), await cache.aget("entry")] == [
        "äöü p/m",
        7,
        {"until": 1.5, "cause": "503"},
    ]


async def test_every_async_method_does_what_its_sync_twin_does(stores: tuple[Any, Any]) -> None:
    cache, _ = stores

    results = [
        await cache.aadd("a", 1),
        await cache.aadd("a", 2),
        await cache.aget("a"),
        await cache.aget("absent", "default"),
        await cache.ahas_key("a"),
        await cache.atouch("a", 60),
        await cache.atouch("absent", 60),
        await cache.aset_many({"b": 2, "c": "three"}),
        await cache.aget_many(["a", "b", "c", "d"]),
        await cache.adelete("b"),
        await cache.adelete("b"),
        await cache.adelete_many(["a", "c"]),
        await cache.aget_many(["a", "b", "c"]),
        await cache.aget_or_set("e", "made"),
        await cache.aadd("gone", 1, 0),
        await cache.aget("gone"),
    ]

    assert results == [
        True,
        False,
        1,
        "default",
        True,
        True,
        False,
        [],
        {"a": 1, "b": 2, "c": "three"},
        True,
        False,
        None,
        {},
        "made",
        True,
        None,
    ]


async def test_incr_keeps_the_timeout_and_refuses_a_missing_key(stores: tuple[Any, Any]) -> None:
    cache, _ = stores
    await cache.aset("count", 1, 1)

    assert [await cache.aincr("count"), await cache.aincr("count", 5), await cache.adecr("count")] == [
        2,
        7,
        6,
    ]
    await asyncio.sleep(1.1)
    with pytest.raises(ValueError, match="count"):
        await cache.aincr("count")


async def test_clear_takes_only_its_own_entries(stores: tuple[Any, Any]) -> None:
    pins, tickets = stores
    await pins.aset("k", "a/x")
    await tickets.aset("k", 3)

    await pins.aclear()

    assert [await pins.aget("k"), await tickets.aget("k")] == [None, 3]


async def test_acquire_takes_tickets_only_without_an_eligible_pin(stores: tuple[Any, Any]) -> None:
    pins, tickets = stores
    ids = ["a/x", "b/y"]

    first = await pins.aacquire("pin", ids, "count", tickets=tickets)
    await pins.aset("pin", "b/y")
    pinned = await pins.aacquire("pin", ids, "count", tickets=tickets)
    ineligible = await pins.aacquire("pin", ["a/x"], "count", tickets=tickets)
    only_pin = await pins.aacquire("pin", ["a/x"], None, tickets=tickets)
    only_count = await pins.aacquire(None, ids, "count", tickets=tickets)
    neither = await pins.aacquire(None, ids, None, tickets=tickets)

    assert [first, pinned, ineligible, only_pin, only_count, neither] == [
        Acquired(None, 0),
        Acquired("b/y", None),
        Acquired("b/y", 1),
        Acquired("b/y", None),
        Acquired(None, 2),
        Acquired(None, None),
    ]


async def test_peek_writes_nothing(stores: tuple[Any, Any]) -> None:
    """T2: looking takes no ticket and writes no pin."""
    pins, tickets = stores

    peeks = [await pins.apeek("pin", "count", tickets=tickets) for _ in range(3)]
    await pins.aacquire(None, (), "count", tickets=tickets)
    await pins.aset("pin", "a/x")

    assert peeks == [Acquired(None, 0)] * 3
    assert await pins.apeek("pin", "count", tickets=tickets) == Acquired("a/x", 1)
    assert await pins.apeek(None, None, tickets=tickets) == Acquired(None, None)


async def test_concurrent_tickets_are_all_different(stores: tuple[Any, Any]) -> None:
    pins, tickets = stores

    taken = await asyncio.gather(
        *(pins.aacquire("none", ["a/x"], "count", tickets=tickets) for _ in range(300))
    )

    assert sorted(one.ticket for one in taken) == list(range(300))


async def test_store_of_pins_is_bounded_and_drops_the_least_recently_used() -> None:
    """T44: the store is bounded."""
    pins = memory(limit=3)
    for name in "abc":
        await pins.aset(name, name)
    await pins.aget("a")

    await pins.aset("d", "d")

    assert await pins.aget_many("abcd") == {"a": "a", "c": "c", "d": "d"}


async def test_store_of_pins_expires_without_being_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """T44: what has expired is gone although nobody asks for it."""
    pins = memory(limit=1000)
    for number in range(100):
        await pins.aset(str(number), "a/x", 10)
    await pins.aset("lasting", "a/x", 1000)
    later = time.time() + 11
    monkeypatch.setattr("time.time", lambda: later)

    await pins.aset("another", "a/x", 10)

    assert len(pins._cache) == len(pins._expire_info) == len(pins._expiries) == 2


async def test_rewriting_one_key_does_not_grow_the_store() -> None:
    pins = memory(limit=1000)

    for _ in range(10_000):
        await pins.aset("k", "a/x", 600)

    assert (len(pins._cache), len(pins._expiries) < 100) == (1, True)


async def test_tickets_are_never_culled() -> None:
    tickets = memory()
    for number in range(2_000):
        tickets.take(f"pool-{number}")

    assert tickets.take("pool-0") == 1


def test_default_configuration_is_in_memory_and_supported() -> None:
    assert (is_shared(), unsupported_aliases()) == (False, [])
    assert {type(caches[alias]) for alias in caches} == {SluiceLocMemCache}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:se,cret@127.0.0.1:1/0", "SluiceRedisCache True"),
        ("rediss://127.0.0.1:1/0", "SluiceRedisCache True"),
        ("", "SluiceLocMemCache False"),
    ],
)
def test_cache_url_chooses_the_backend(url: str, expected: str) -> None:
    assert settings_with(url) == (0, expected, "")


def test_other_cache_urls_are_refused_without_repeating_the_secret() -> None:
    code, _, problem = settings_with("memcached://:hunter2@127.0.0.1:11211")

    assert code == 1
    assert problem == (
        "django.core.exceptions.ImproperlyConfigured: "
        "CACHE_URL must begin with redis:// or rediss:// and name a host, such as redis://127.0.0.1:6379/0."
    )


def settings_with(url: str) -> tuple[int, str, str]:
    """Exit code, output and last line of the errors of a process started with this ``CACHE_URL``."""
    code = (
        "import os; os.environ.update(CACHE_URL=__import__('sys').argv[1], SECRET_KEY='x',"
        " DJANGO_SETTINGS_MODULE='gateway_project.settings')\n"
        "import django; django.setup()\n"
        "from django.core.cache import caches\n"
        "from routing.cachebackends import is_shared\n"
        "print(type(caches['pins']).__name__, is_shared())"
    )
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip(), (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.redis
async def test_all_tasks_of_a_loop_share_one_connection(redis_url: str) -> None:
    async def use() -> int:
        cache = on_redis("health", redis_url)
        await cache.aset("k", 1)
        return id(pipe_for(redis_url))

    pipes = set(await asyncio.gather(*(asyncio.create_task(use()) for _ in range(50))))
    clients = await pipe_for(redis_url).call("CLIENT", "LIST", "TYPE", "NORMAL")
    await close_pipes()

    own = [line for line in clients.splitlines() if f" db={redis_url.rsplit('/', 1)[-1]} ".encode() in line]
    assert (len(pipes), len([line for line in own if b"cmd=client" in line])) == (1, 1)


@pytest.mark.redis
async def test_a_cancelled_caller_does_not_disturb_the_others(redis_url: str) -> None:
    pipe = pipe_for(redis_url)
    await pipe.call("SET", "k", "v")

    impatient = asyncio.create_task(pipe.call("GET", "k"))
    others = [asyncio.create_task(pipe.call("ECHO", str(number))) for number in range(20)]
    await asyncio.sleep(0)
    impatient.cancel()
    answers = await asyncio.gather(*others)
    await close_pipes()

    assert answers == [str(number).encode() for number in range(20)]


@pytest.mark.redis
async def test_a_connection_closed_while_idle_is_replaced_unnoticed(redis_url: str) -> None:
    pins, tickets = on_redis("pins", redis_url), on_redis("tickets", redis_url)
    first = await pins.aacquire("pin", ["a/x"], "count", tickets=tickets)
    own = await pipe_for(redis_url).call("CLIENT", "ID")
    pins._cache.get_client(write=True).client_kill_filter(_id=str(own))
    pins._cache.get_client(write=True).script_flush()

    second = await pins.aacquire("pin", ["a/x"], "count", tickets=tickets)
    await close_pipes()

    assert (first.ticket, second.ticket) == (0, 1)


@pytest.mark.redis
async def test_sync_and_async_tickets_are_the_same_counter(redis_url: str) -> None:
    pins, tickets = on_redis("pins", redis_url), on_redis("tickets", redis_url)
    await pins.aacquire(None, (), "count", tickets=tickets)

    assert (tickets.incr("count"), await tickets.aget("count")) == (2, 2)
    await close_pipes()
