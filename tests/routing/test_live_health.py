from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any, cast

import pytest
from blockbuster import blockbuster_ctx

from routing.health import Phase, phase
from routing.health_exchange import HealthExchange
from routing.live_health import LiveHealth
from routing.redis_pipe import close_pipes
from routing.store_guard import StoreGuard
from routing.types import Discovery, DiscoveryState, RoutingTable
from tests.routing.one_pool import Clock, table
from tests.routing.stores import FailingStore, memory, on_redis

pytestmark = pytest.mark.anyio
TABLE = table(("a", 1), ("b", 1))


def worker(store: Any, clock: Any, shown: RoutingTable = TABLE, **options: Any) -> LiveHealth:
    exchange = HealthExchange(store, StoreGuard(clock), clock)
    return LiveHealth(lambda: shown, exchange, clock=clock, **options)


def fail(live: LiveHealth, times: int, provider: str = "a") -> None:
    for _ in range(times):
        live.failure(provider, "x", "503")


class SlowStore:
    """A cache that answers the claim of one key when it is told to."""

    def __init__(self, behind: Any) -> None:
        self.behind = behind
        self.slow_at = ""
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)

    async def aadd(self, key: str, *values: Any) -> bool:
        if key == self.slow_at:
            self.reached.set()
            await self.go_on.wait()
        return bool(await self.behind.aadd(key, *values))


async def test_view_is_the_same_object_until_something_changes() -> None:
    live = worker(memory(), Clock())
    first = live.view()
    fail(live, 4)
    live.success("b", "x")

    assert live.view() is first
    live.failure("a", "x", "503")
    assert (live.view().version, live.view() is live.view()) == (first.version + 1, True)


async def test_five_failures_open_the_circuit_and_a_success_closes_it() -> None:
    """T28: live outcomes change what is known of a candidate."""
    clock = Clock()
    live = worker(memory(), clock)

    fail(live, 5)
    opened = live.view().circuits["a", "x"]
    clock.now += 31
    claimed = await live.claim_trial("a", "x")
    trial = phase(live.view().circuits["a", "x"], clock.now)
    live.success("a", "x")

    assert (opened.open_until, opened.cause) == (clock.now - 1, "503")
    assert (claimed, trial, dict(live.view().circuits)) == (True, Phase.TRIAL, {})
    assert [(one.what, one.until) for one in live.transitions] == [
        ("circuit_open", clock.now - 1),
        ("trial_in_flight", clock.now + 60),
        ("circuit_closed", None),
    ]


async def test_transitions_reach_the_other_worker() -> None:
    store, clock = memory(), Clock()
    one, other = worker(store, clock), worker(store, clock)
    await other.sync()

    fail(one, 5)
    one.rate_limited("b", "x", 20)
    one.credential_refused("b", "401")
    await one.sync()
    await other.sync()

    assert other.view().circuits == one.view().circuits
    assert other.view().credentials == one.view().credentials
    assert [(t.provider, t.model, t.what, t.remote) for t in other.transitions] == [
        ("a", "x", "circuit_open", True),
        ("b", "x", "cooling_down", True),
        ("b", None, "credential_refused", True),
    ]


async def test_a_closing_reaches_the_other_worker() -> None:
    store, clock = memory(), Clock()
    one, other = worker(store, clock), worker(store, clock)
    fail(one, 5)
    await one.sync()
    await other.sync()
    clock.now += 31

    other.success("a", "x")
    await other.sync()
    await one.sync()

    assert (dict(one.view().circuits), dict(other.view().circuits)) == ({}, {})


async def test_a_new_worker_learns_what_is_open() -> None:
    store, clock = memory(), Clock()
    fail(old := worker(store, clock), 5)
    await old.sync()

    new = worker(store, clock)
    await new.sync()

    assert new.view().circuits == old.view().circuits


async def test_nothing_new_is_one_read() -> None:
    clock = Clock()
    store = FailingStore(memory())
    one, other = worker(store, clock), worker(store, clock)
    fail(one, 5)
    await one.sync()
    await other.sync()
    before = store.calls

    await other.sync()

    assert store.calls - before == 1


async def test_one_trial_for_all_workers_and_all_tasks() -> None:
    store, clock = memory(), Clock()
    one, other = worker(store, clock), worker(store, clock)
    fail(one, 5)
    await one.sync()
    await other.sync()
    clock.now += 31

    claims = await asyncio.gather(*(live.claim_trial("a", "x") for live in (one, other, one, other)))

    assert sum(claims) == 1 + 2  # a task that comes later finds a trial in flight: nothing left to claim
    assert claims[:2] == [True, False]
    assert phase(other.view().circuits["a", "x"], clock.now) is Phase.TRIAL


async def test_a_released_trial_is_free_for_the_other_worker() -> None:
    store, clock = memory(), Clock()
    one, other = worker(store, clock), worker(store, clock)
    fail(one, 5)
    await one.sync()
    clock.now += 31
    await one.claim_trial("a", "x")
    await one.sync()
    await other.sync()
    seen = phase(other.view().circuits["a", "x"], clock.now)

    other.release_trial("a", "x")  # not its own
    one.release_trial("a", "x")
    await one.sync()
    await other.sync()

    assert (seen, phase(other.view().circuits["a", "x"], clock.now)) == (Phase.TRIAL, Phase.HALF_OPEN)
    assert await other.claim_trial("a", "x")
    assert await store.aget("trial:a/x") is not None


async def test_the_credential_of_a_provider_has_one_trial_too() -> None:
    store, clock = memory(), Clock()
    one, other = worker(store, clock), worker(store, clock)
    one.credential_refused("a", "401")
    await one.sync()
    await other.sync()
    clock.now += 31

    claims = [await one.claim_trial("a", "x"), await other.claim_trial("a", "x")]
    one.credential_accepted("a")

    assert (claims, dict(one.view().credentials)) == ([True, False], {})


async def test_while_the_cache_is_down_a_worker_goes_on_alone_and_tells_later() -> None:
    store, clock = FailingStore(memory()), Clock()
    one, other = worker(store, clock), worker(store, clock)
    store.broken = True
    fail(one, 5)
    await one.sync()
    clock.now += 31
    alone = await one.claim_trial("a", "x")
    fail(one, 1)
    store.broken = False
    clock.now += 6

    await one.sync()
    await other.sync()

    assert (alone, other.view().circuits["a", "x"].openings) == (True, 2)


async def test_a_cache_that_lost_its_log_is_told_again() -> None:
    store, clock = memory(), Clock()
    one = worker(store, clock)
    fail(one, 5)
    await one.sync()
    await one.sync()
    store.clear()

    await one.sync()
    new = worker(store, clock)
    await new.sync()

    assert new.view().circuits == one.view().circuits


async def test_a_note_of_another_version_does_no_harm() -> None:
    store, clock = memory(), Clock()
    live = worker(store, clock)
    await store.aset("number", 3)
    await store.aset("note:1", "nonsense")
    await store.aset("note:2", {"from": "x", "news": [{"provider": "a"}]})
    circuit = {"open_until": clock.now + 9, "openings": 1, "invented_later": 1}
    await store.aset("note:3", {"from": "x", "news": [{"provider": "a", "model": "x", "circuit": circuit}]})

    await live.sync()

    assert live.view().circuits["a", "x"].open_until == clock.now + 9


async def test_a_burst_of_rate_limits_is_one_transition() -> None:
    clock = Clock()
    live = worker(memory(), clock)

    for _ in range(50):
        live.rate_limited("a", "x", None)
        clock.now += 0.01
    live.rate_limited("a", "x", 60)

    assert [one.what for one in live.transitions] == ["cooling_down", "cooling_down"]
    assert live.view().circuits["a", "x"].cooldown_until == clock.now + 60


async def test_what_the_table_does_not_know_is_not_kept() -> None:
    clock = Clock()
    live = worker(memory(), clock)
    for number in range(100):
        fail(live, 5, f"unknown-{number}")
        live.rate_limited("a", f"unknown-{number}", 10)

    assert (len(live._circuits), live.view().version) == (0, 0)


async def test_what_is_over_is_forgotten() -> None:
    clock = Clock()
    live = worker(memory(), clock)
    live.rate_limited("a", "x", 10)
    clock.now += 400

    await live.sync()

    assert (dict(live.view().circuits), live._circuits) == ({}, {})


async def test_calls_under_way_are_limited_and_make_a_provider_busy() -> None:
    live = worker(memory(), Clock())

    entered = [live.enter("a", 2) for _ in range(3)]
    busy = live.view().busy
    live.leave("a")

    assert (entered, busy, live.view().busy, live.in_flight()) == (
        [True, True, False],
        frozenset({"a"}),
        frozenset(),
        {"a": 1},
    )
    live.leave("a")
    assert live.in_flight() == {}


async def test_a_success_of_a_provider_whose_discovery_fails_is_shown_everywhere() -> None:
    store, clock = memory(), Clock()
    failing = replace(TABLE.providers["a"], discovery=Discovery(state=DiscoveryState.FAILED, failures=3))
    shown = replace(TABLE, providers={**TABLE.providers, "a": failing})
    one, other = worker(store, clock, shown), worker(store, clock, shown)
    for _ in range(100):
        one.success("a", "x")
        one.success("b", "x")
    await one.sync()
    await other.sync()

    assert dict(one.view().last_success_at) == dict(other.view().last_success_at) == {"a": clock.now}
    assert one.view().version == 1


async def test_callbacks_hear_every_transition() -> None:
    live = worker(memory(), Clock())
    heard: list[Any] = []
    live.on_transition.append(heard.append)

    fail(live, 5)

    assert heard == list(live.transitions)


async def test_background_task_shares_within_a_second_without_blocking() -> None:
    store, clock = memory(), Clock()
    one, other = worker(store, clock), worker(store, clock)
    with blockbuster_ctx():
        await one.open()
        await other.open()
        fail(one, 5)
        await asyncio.sleep(0.6)
        known = dict(other.view().circuits)
        await one.close()
        await other.close()

    assert known == dict(one.view().circuits) != {}


@pytest.mark.redis
async def test_redis_shares_within_a_second(redis_url: str) -> None:
    clock = Clock()
    one, other = (worker(on_redis("health", redis_url, 600), clock) for _ in range(2))
    with blockbuster_ctx():
        await one.open()
        await other.open()
        await asyncio.sleep(0.1)
        fail(one, 5)
        one.credential_refused("b", "401")
        await asyncio.sleep(0.6)
        known = (dict(other.view().circuits), dict(other.view().credentials))
        clock.now += 31
        claims = [await one.claim_trial("a", "x"), await other.claim_trial("a", "x")]
        await one.close()
        await other.close()
    await close_pipes()

    assert [list(part) for part in known] == [[("a", "x")], ["b"]]
    assert claims == [True, False]


async def test_a_transition_is_one_log_line_of_the_worker_that_saw_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "sluice.health")
    store, clock = memory(), Clock()
    one, other = worker(store, clock), worker(store, clock)

    fail(one, 5)
    one.credential_refused("b", "HTTP 401")
    await one.sync()
    await other.sync()

    assert [
        (line.levelname, line.message, line.event_type, line.provider, line.model, line.cause, line.until)
        for line in cast("list[Any]", caplog.records)
    ] == [
        ("WARNING", "Health of a/x: circuit_open", "circuit_open", "a", "x", "503", clock.now + 30),
        (
            "WARNING",
            "Health of b: credential_refused",
            "credential_refused",
            "b",
            None,
            "HTTP 401",
            clock.now + 30,
        ),
    ]


async def test_cut_streams_in_a_row_open_the_circuit() -> None:
    """The first content of each forgets the failures before it, but not the cuts."""
    live = worker(memory(), Clock())
    for _ in range(4):
        live.success("a", "x")
        live.failure("a", "x", "cut", after_content=True)
    before = dict(live.view().circuits)
    live.completed("a", "x")
    for _ in range(4):
        live.success("a", "x")
        live.failure("a", "x", "cut", after_content=True)
    between = dict(live.view().circuits)
    live.success("a", "x")
    live.failure("a", "x", "cut", after_content=True)

    assert (before, between) == ({}, {})
    assert phase(live.view().circuits["a", "x"], Clock().now) is Phase.OPEN


async def test_cuts_of_unknown_models_are_not_remembered() -> None:
    live = worker(memory(), Clock())
    live.failure("a", "made up", "cut", after_content=True)
    assert (live._cuts, live.size()) == ({}, 0)


async def test_a_client_that_leaves_while_the_trial_is_claimed_blocks_nobody() -> None:
    """T33: neither the trial that was being claimed nor the one already won stays taken."""
    store, clock = SlowStore(memory()), Clock()
    live = worker(store, clock)
    fail(live, 5)
    live.credential_refused("a", "401")
    await live.sync()
    clock.now += 31
    store.slow_at = "trial:a/x"

    leaving = asyncio.ensure_future(live.claim_trial("a", "x"))
    await asyncio.wait_for(store.reached.wait(), 1)
    leaving.cancel()
    await asyncio.wait([leaving])
    view = live.view()
    store.go_on.set()
    await asyncio.sleep(0.01)
    await live.sync()

    assert phase(view.credentials["a"], clock.now) is Phase.HALF_OPEN
    assert phase(view.circuits["a", "x"], clock.now) is Phase.HALF_OPEN
    assert (await store.aget("trial:a"), await store.aget("trial:a/x")) == (None, None)


async def test_a_lease_is_given_back_by_its_holder_only() -> None:
    """A worker that took a trial on its own, while the cache was away, frees nobody else's."""
    store, clock = memory(), Clock()
    one, other = (HealthExchange(store, StoreGuard(clock), clock) for _ in range(2))
    assert await one.claim("a/x", 60)

    await other.give_back("a/x")
    assert not await other.claim("a/x", 60)
    await one.give_back("a/x")
    assert await other.claim("a/x", 60)
