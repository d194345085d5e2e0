"""What a change does to pools and to the models list: one table before, one after. Pure."""

from __future__ import annotations

from typing import Any

from routing.types import RoutingTable


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


def impact(before: RoutingTable, after: RoutingTable, now: float) -> dict[str, Any]:
    """The pools that change."""
    had, have = switched_on(before, now), switched_on(after, now)
    return {
        "pools": [
            {
                "canonical_model": name,
                "selectable_before": had.get(name, 0),
                "selectable_after": have.get(name, 0),
            }
            for name in sorted(had.keys() | have.keys())
            if had.get(name) != have.get(name)
        ]
    }
