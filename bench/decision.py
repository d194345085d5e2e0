"""What a decision costs by itself: 100 pools of 5 candidates, and a models list of 1,000 names."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from routing import router
from routing.types import (
    NO_HEALTH,
    Candidate,
    Pool,
    PoolPolicy,
    Provider,
    RouteRequest,
    RoutingTable,
    Strategy,
)

POOLS, CANDIDATES, LISTED = 100, 5, 1000
ROUNDS, BATCH = 30, 200


def table(pools: int, strategy: Strategy = Strategy.PRIORITY_FAILOVER) -> RoutingTable:
    """Pools of five candidates, each at a provider of its own."""
    names = [f"provider-{place}" for place in range(CANDIDATES)]
    providers = {
        name: Provider(name, "openai", f"http://127.0.0.1:1/{name}", configured_models=frozenset({"model"}))
        for name in names
    }
    made = {}
    for number in range(pools):
        canonical = f"canonical-{number:04}"
        candidates = tuple(
            Candidate(canonical, name, "model", priority=place + 1, weight=10 - place)
            for place, name in enumerate(names)
        )
        made[canonical] = Pool(canonical, candidates, PoolPolicy(strategy=strategy))
    return RoutingTable(revision=1, providers=providers, pools=made)


def run() -> dict[str, float]:
    """Median microseconds of each; the list in milliseconds."""
    result = {}
    for strategy in Strategy:
        configured = table(POOLS, strategy)
        requests = [RouteRequest(model=name) for name in configured.pools]
        plans = [router.plan(configured, NO_HEALTH, request, now=0.0) for request in requests]
        sessions = [RouteRequest(model=request.model, session_key="abc") for request in requests]

        def fresh(
            place: int, configured: RoutingTable = configured, requests: list[RouteRequest] = requests
        ) -> None:
            made = router.plan(configured, NO_HEALTH, requests[place % POOLS], now=0.0)
            router.decide(made, decision_id="d", ticket=place)

        def planned(
            place: int, plans: list[router.Plan] = plans, requests: list[RouteRequest] = requests
        ) -> None:
            router.decide(
                router.bind(plans[place % POOLS], requests[place % POOLS]), decision_id="d", ticket=place
            )

        result[f"{strategy}_fresh_us"] = median_us(fresh)
        result[f"{strategy}_planned_us"] = median_us(planned)
        result[f"{strategy}_planned_with_session_us"] = median_us(
            lambda place, plans=plans, sessions=sessions: planned(place, plans, sessions)
        )
    many = table(LISTED)
    taken = []
    for _ in range(5):
        started = time.process_time()
        listed = router.listed(many, NO_HEALTH, now=0.0, expose_exact=False)
        taken.append((time.process_time() - started) * 1e3)
    assert len(listed) == LISTED
    result["list_of_1000_ms"] = round(statistics.median(taken), 2)
    return result


def median_us(work: Callable[[int], None]) -> float:
    """The median over rounds of the mean over a batch."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for place in range(BATCH):
            work(place)
        rounds.append((time.process_time() - started) / BATCH * 1e6)
    return round(statistics.median(rounds), 2)


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name:48} {value}")
