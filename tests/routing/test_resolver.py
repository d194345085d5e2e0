from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from routing.health_exchange import HealthExchange
from routing.live_health import LiveHealth
from routing.resolver import Resolver
from routing.state import SharedState
from routing.store_guard import StoreGuard
from routing.types import Affinity, Caller, RouteRequest, RoutingTable, Switch
from tests.routing.one_pool import WEIGHTED, Clock, table
from tests.routing.stores import FailingStore, memory

pytestmark = pytest.mark.anyio


class Desk:
    """A resolver with everything that it stands on."""

    def __init__(self, shown: RoutingTable, store: Any = None) -> None:
        self.table = shown
        self.clock = Clock()
        store = store or memory()
        self.state = SharedState(pins=store, tickets=memory() if store.shared is False else store)
        self.health = LiveHealth(
            lambda: self.table, HealthExchange(memory(), StoreGuard(), self.clock), clock=self.clock
        )
        self.resolver = Resolver(lambda: self.table, self.state, self.health, clock=self.clock)

    async def order(self, **fields: Any) -> list[str]:
        decision = await self.resolver.resolve(RouteRequest("m", **fields))
        return [candidate.provider for candidate in decision.order]


async def test_weighted_shares_are_exact_over_ten_cycles() -> None:
    """T4: ten to six over 160 decisions."""
    desk = Desk(table(("a", 10), ("b", 6), policy=WEIGHTED))

    assert Counter([(await desk.order())[0] for _ in range(160)]) == {"a": 100, "b": 60}


async def test_one_resolution_takes_one_ticket_and_peeking_none() -> None:
    """T1, T2, T3: a peek is the next decision, however often one peeks."""
    desk = Desk(table(("a", 10), ("b", 6), policy=WEIGHTED))
    for _ in range(32):
        peeks = [await desk.resolver.peek(RouteRequest("m")) for _ in range(3)]
        decision = await desk.resolver.resolve(RouteRequest("m"))

        assert [(peek.order, peek.slot) for peek in peeks] == [(decision.order, decision.slot)] * 3


async def test_priority_pool_without_session_asks_the_cache_nothing() -> None:
    """T43: the request id is no key."""
    store = FailingStore(memory())
    desk = Desk(table(("a", 1), ("b", 1)), store)

    assert (await desk.order(), store.calls) == (["a", "b"], 0)


async def test_pin_is_a_hit_then_a_repin_when_its_candidate_is_blocked() -> None:
    """T6: the rest keeps the strategy's order behind a pin."""
    desk = Desk(table(("a", 1), ("b", 1), ("c", 1)))
    request = RouteRequest("m", session_key="s")
    first = await desk.resolver.resolve(request)
    assert first.pin_key is not None
    await desk.state.write_pin(first.pin_key, "b/x", 60)

    hit = await desk.resolver.resolve(request)
    peeked = await desk.resolver.peek(request)
    desk.health.rate_limited("b", "x", 30)
    repin = await desk.resolver.resolve(request)

    assert [(one.affinity, [c.provider for c in one.order]) for one in (first, hit, peeked, repin)] == [
        (Affinity.MISS, ["a", "b", "c"]),
        (Affinity.HIT, ["b", "a", "c"]),
        (Affinity.HIT, ["b", "a", "c"]),
        (Affinity.REPIN, ["a", "c"]),
    ]


async def test_pins_are_separate_per_caller() -> None:
    """T45: two callers with the same session key do not share a pin."""
    desk = Desk(table(("a", 1), ("b", 1)))
    ada, ben = Caller("1", "ada"), Caller("2", "ben")
    pinned = await desk.resolver.resolve(RouteRequest("m", caller=ada, session_key="s"))
    assert pinned.pin_key is not None
    await desk.state.write_pin(pinned.pin_key, "b/x", 60)

    assert await desk.order(caller=ada, session_key="s") == ["b", "a"]
    assert await desk.order(caller=ben, session_key="s") == ["a", "b"]


async def test_a_caller_gets_only_what_his_key_allows() -> None:
    """T15: a remembered plan of one caller is not another's."""
    desk = Desk(table(("a", 1), ("b", 1)))

    assert await desk.order(caller=Caller("1", "ada")) == ["a", "b"]
    assert await desk.order(caller=Caller("2", "ben", models=("b/*",))) == ["b"]
    assert await desk.order() == ["a", "b"]


async def test_a_decision_is_of_one_table_and_one_view() -> None:
    """T9: a refresh while the cache is asked changes the next decision, not this one."""
    old = table(("a", 1), ("b", 1), policy=WEIGHTED, revision=1)
    desk = Desk(old)
    stored = desk.state.acquire

    async def refreshed_meanwhile(*args: Any) -> Any:
        desk.table = table(("c", 1), ("d", 1), policy=WEIGHTED, revision=2)
        return await stored(*args)

    desk.state.acquire = refreshed_meanwhile  # type: ignore[method-assign]
    decisions = [await desk.resolver.resolve(RouteRequest("m")) for _ in range(2)]

    assert [(one.revision, sorted(c.provider for c in one.order)) for one in decisions] == [
        (1, ["a", "b"]),
        (2, ["c", "d"]),
    ]


async def test_time_alone_brings_a_candidate_back() -> None:
    desk = Desk(table(("a", 1), ("b", 1)))
    desk.health.rate_limited("a", "x", 30)

    blocked = await desk.order()
    desk.clock.now += 31

    assert (blocked, await desk.order()) == (["b"], ["a", "b"])


async def test_timed_switch_expires_without_a_new_table() -> None:
    shown = table(("a", 1), ("b", 1))
    desk = Desk(shown)
    off = Switch(enabled=False, expires_at=desk.clock.now + 10, base=True)
    desk.table = replace(shown, providers={**shown.providers, "a": replace(shown.providers["a"], switch=off)})

    before = await desk.order()
    desk.clock.now += 10

    assert (before, await desk.order()) == (["b"], ["a", "b"])


async def test_a_candidate_blocked_since_is_not_selectable_any_more() -> None:
    desk = Desk(table(("a", 1), ("b", 1), ("c", 1)))
    decision = await desk.resolver.resolve(RouteRequest("m"))
    desk.health.rate_limited("b", "x", 30)
    desk.table = replace(
        desk.table,
        providers={
            **desk.table.providers,
            "c": replace(desk.table.providers["c"], switch=Switch(enabled=False)),
        },
    )

    assert [desk.resolver.still_selectable(decision, one) for one in decision.order] == [True, False, False]


async def test_a_candidate_kept_as_the_last_stays_selectable() -> None:
    desk = Desk(table(("a", 1), ("b", 1)))
    for _ in range(5):
        desk.health.failure("b", "x", "503")
    only_b = Caller("2", "ben", models=("b/*",))
    decision = await desk.resolver.resolve(RouteRequest("m", caller=only_b))

    assert [one.provider for one in decision.order] == ["b"]
    assert desk.resolver.still_selectable(decision, decision.order[0])


async def test_a_candidate_that_left_its_pool_is_not_selectable() -> None:
    desk = Desk(table(("a", 1), ("b", 1)))
    decision = await desk.resolver.resolve(RouteRequest("m"))
    desk.table = table(("a", 1), revision=2)
    gone = [desk.resolver.still_selectable(decision, one) for one in decision.order]
    desk.table = RoutingTable(3)

    assert gone == [True, False]
    assert [desk.resolver.still_selectable(decision, one) for one in decision.order] == [False, False]


async def test_remembered_plans_are_bounded() -> None:
    desk = Desk(table(("a", 1)))

    for number in range(5_100):
        await desk.resolver.resolve(RouteRequest(f"unknown-{number}"))

    assert len(desk.resolver._plans) == 5_000


def test_listed_is_what_resolves() -> None:
    desk = Desk(table(("a", 1), ("b", 1)))

    assert [line.id for line in desk.resolver.listed()] == ["a/x", "b/x", "m"]
    assert [line.id for line in desk.resolver.listed(Caller("2", "ben", models=("m",)))] == ["m"]


def test_listed_is_remembered_until_a_switch_expires() -> None:
    """A remembered list ends with the table, the health view, or the time of a switch."""
    desk = Desk(table(("a", 1)))
    off = Switch(enabled=False, expires_at=desk.clock.now + 60, base=True)
    pools = {"m": replace(desk.table.pools["m"], switch=off)}
    desk.table = replace(desk.table, pools=pools)

    first = desk.resolver.listed()
    assert [line.id for line in first] == ["a/x"]
    assert desk.resolver.listed() is first
    desk.clock.now += 60
    assert [line.id for line in desk.resolver.listed()] == ["a/x", "m"]
    desk.table = replace(desk.table, pools={})
    assert [line.id for line in desk.resolver.listed()] == ["a/x"]
