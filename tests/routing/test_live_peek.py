"""What is shown is what is served: looking at a resolver tells its next decision, and moves nothing."""

from __future__ import annotations

import asyncio
from types import MappingProxyType

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.health_exchange import HealthExchange
from routing.inquiry import Question, explain
from routing.live_health import LiveHealth
from routing.resolver import Resolver
from routing.state import SharedState
from routing.store_guard import StoreGuard
from routing.types import Caller, PoolPolicy, RouteRequest, Strategy, Switch, WhenAllBlocked
from tests.routing.one_pool import Clock
from tests.routing.stores import memory
from tests.routing.tables import pool, provider, table

NAMES = ("a", "b", "c", "d")
ADA = Caller("1", "ada", digest=b"1")

candidates = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.integers(1, 3),
        st.integers(1, 12),
        st.sampled_from([True, True, True, False]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda row: row[0],
)
policies = st.builds(
    PoolPolicy,
    strategy=st.sampled_from(Strategy),
    session_affinity=st.booleans(),
    when_all_blocked=st.sampled_from(WhenAllBlocked),
)
# What happened before: an outcome at a provider, or a request that was routed.
happenings = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["failed", "limited", "refused", "served"]), st.sampled_from(NAMES)),
        st.tuples(st.just("routed"), st.sampled_from(["", "s", "t"])),
    ),
    max_size=14,
)


class Gateway:
    """A resolver over a made-up table, with its stores in sight."""

    def __init__(self, rows, policy, on) -> None:
        one = pool("m", *((f"{n}/x", p, w, Switch(enabled=e)) for n, p, w, e in rows), policy=policy)
        shown = table(*(provider(name, "x", switch=Switch(enabled=on)) for name in NAMES[:1]), one)
        others = {name: provider(name, "x") for name in NAMES[1:]}
        providers = MappingProxyType({**shown.providers, **others})
        self.table = type(shown)(
            shown.revision, providers, shown.pools, callers=MappingProxyType({ADA.digest: ADA})
        )
        self.clock = Clock()
        self.pins, self.tickets = memory(), memory()
        self.state = SharedState(pins=self.pins, tickets=self.tickets)
        exchange = HealthExchange(memory(), StoreGuard(), self.clock)
        self.health = LiveHealth(lambda: self.table, exchange, clock=self.clock)
        self.resolver = Resolver(lambda: self.table, self.state, self.health, clock=self.clock)

    def stored(self):
        return dict(self.pins._cache), dict(self.tickets._cache), self.health.view()

    async def happen(self, what: str, whom: str) -> None:
        if what == "failed":
            for _ in range(5):
                self.health.failure(whom, "x", "HTTP 500")
        elif what == "limited":
            self.health.rate_limited(whom, "x", 20)
        elif what == "refused":
            self.health.credential_refused(whom, "HTTP 401")
        elif what == "served":
            self.health.success(whom, "x")
        else:
            decision = await self.resolver.resolve(RouteRequest("m", caller=ADA, session_key=whom or None))
            if decision.pin_key and decision.order:
                await self.state.write_pin(decision.pin_key, decision.order[-1].selector, 60)
        self.clock.now += 1


async def look_then_serve(gateway: Gateway, past, session: str) -> None:
    for what, whom in past:
        await gateway.happen(what, whom)
    before = gateway.stored()

    survey = await gateway.resolver.survey()
    unpinned = await explain(gateway.resolver, Question("m"))
    asked = await explain(gateway.resolver, Question("m", session_id=session, api_key_id="1"))
    assert gateway.stored() == before

    shown = survey.decisions[0].effective_candidate
    assert unpinned["decision"]["effective_candidate"] == (shown.selector if shown else None)
    request = RouteRequest("m", caller=ADA, session_key=session or None)
    served = await gateway.resolver.resolve(request)
    assert asked["decision"]["order"] == [candidate.selector for candidate in served.order]
    assert asked["decision"]["affinity"] == served.affinity
    assert asked["decision"].get("slot") == served.slot
    if served.refusal is not None:
        assert asked["outcome"]["code"] == served.refusal.code
    if not session:
        assert served.effective_candidate == shown
    assert asked["listed"] == bool(served.order)


@settings(max_examples=1_000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(candidates, policies, st.booleans(), happenings, st.sampled_from(["", "s", "t"]))
def test_what_is_shown_is_what_is_served(rows, policy, on, past, session):
    """T2, T3: in any state the survey and explain tell the next decision, and move no counter and no pin."""
    asyncio.run(look_then_serve(Gateway(rows, policy, on), past, session))
