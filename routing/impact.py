"""What a change does to pools and to the models list: one table before, one after. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.eligibility import evaluate
from routing.router import decide, listed, plan
from routing.types import HealthView, RouteRequest, RoutingTable


def switched_on(table: RoutingTable, now: float) -> dict[str, int]:
    """Per pool that is switched on: how many of its candidates are switched on, providers included."""
    return {
        name: sum(
            candidate.switch.value_at(now) and table.providers[candidate.provider].switch.value_at(now)
            for candidate in pool.candidates
        )
        for name, pool in table.pools.items()
        if pool.switch.value_at(now)
    }


def emptied(before: RoutingTable, after: RoutingTable, now: float) -> tuple[str, ...]:
    """The pools that lose their last candidate that is switched on, sorted."""
    had, have = switched_on(before, now), switched_on(after, now)
    return tuple(sorted(name for name, count in have.items() if count == 0 and had.get(name, 0) > 0))


def impact(
    before: RoutingTable, after: RoutingTable, *, health: HealthView, now: float, expose_exact: bool = True
) -> dict[str, Any]:
    """Pools that change and names that join or leave the models list, as the routing-state API tells them."""
    pools = []
    for name in sorted(before.pools.keys() | after.pools.keys()):
        old, new = _pool(before, name, health, now), _pool(after, name, health, now)
        if old != new:
            pools.append(
                {
                    "canonical_model": name,
                    "selectable_before": old[0],
                    "selectable_after": new[0],
                    "status_after": new[1],
                    "effective_before": old[2],
                    "effective_after": new[2],
                }
            )
    had = _listed(before, health, now, expose_exact)
    have = _listed(after, health, now, expose_exact)
    return {"pools": pools, "models_leaving": sorted(had - have), "models_joining": sorted(have - had)}


def warnings(found: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each pool that an impact leaves with one selectable candidate or none."""
    return tuple(
        f"{pool['canonical_model']} has no selectable candidate left."
        if pool["selectable_after"] == 0
        else f"{pool['canonical_model']} has one selectable candidate left."
        for pool in found["pools"]
        if pool["selectable_after"] <= 1
        and pool["selectable_after"] < pool["selectable_before"]
        and pool["status_after"] is not None
    )


def _pool(
    table: RoutingTable, name: str, health: HealthView, now: float
) -> tuple[int, str | None, str | None]:
    """How many candidates are selectable, the pool's status, and the selector that comes first."""
    pool = table.pools.get(name)
    if pool is None:
        return 0, None, None
    evaluation = evaluate(pool, table, health, now=now)
    decision = decide(plan(table, health, RouteRequest(name), now=now), decision_id="", ticket=0)
    first = decision.effective_candidate
    return len(evaluation.selectable), evaluation.status.value, first.selector if first else None


def _listed(table: RoutingTable, health: HealthView, now: float, expose_exact: bool) -> set[str]:
    return {line.id for line in listed(table, health, now=now, expose_exact=expose_exact)}
