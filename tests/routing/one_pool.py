"""A routing table with one pool, and a clock, for tests of what stands around the pure core."""

from __future__ import annotations

from routing.types import Candidate, Pool, PoolPolicy, Provider, RoutingTable, Strategy

PRIORITY = PoolPolicy()
WEIGHTED = PoolPolicy(strategy=Strategy.WEIGHTED_ROUND_ROBIN)


def table(
    *candidates: tuple[str, int], policy: PoolPolicy = PRIORITY, name: str = "m", revision: int = 1
) -> RoutingTable:
    """One pool ``name`` with a candidate ``provider/x`` of each (provider, weight), priorities 1, 2, …"""
    rows = tuple(
        Candidate(name, provider, "x", priority=place, weight=weight)
        for place, (provider, weight) in enumerate(candidates, 1)
    )
    providers = {
        row.provider: Provider(
            row.provider, "openai", "http://127.0.0.1:1/v1", configured_models=frozenset({"x"})
        )
        for row in rows
    }
    return RoutingTable(revision, providers, {name: Pool(name, rows, policy)})


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
