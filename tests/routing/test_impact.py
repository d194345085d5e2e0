from __future__ import annotations

from dataclasses import replace

from routing.impact import emptied, impact
from routing.types import NO_HEALTH, Candidate, Pool, Provider, RoutingTable, Switch

OFF = Switch(enabled=False)
NOW = 1000.0


def table(**switches: Switch) -> RoutingTable:
    providers = {
        name: Provider(
            name,
            "openai",
            "http://x/v1",
            switch=switches.get(name, Switch()),
            configured_models=frozenset({"m"}),
        )
        for name in "ab"
    }
    pool = Pool("one", (Candidate("one", "a", "m"), Candidate("one", "b", "m", priority=2)))
    return RoutingTable(providers=providers, pools={"one": pool}, aliases={"short": "one"})


def told(before: RoutingTable, after: RoutingTable) -> dict:
    return impact(before, after, health=NO_HEALTH, now=NOW)


def test_impact_of_nothing_is_empty():
    assert told(table(), table()) == {"pools": [], "models_leaving": [], "models_joining": []}


def test_impact_tells_who_takes_over():
    assert told(table(), table(a=OFF)) == {
        "pools": [
            {
                "canonical_model": "one",
                "selectable_before": 2,
                "selectable_after": 1,
                "status_after": "degraded",
                "effective_before": "a/m",
                "effective_after": "b/m",
            }
        ],
        "models_leaving": ["a/m"],
        "models_joining": [],
    }


def test_impact_tells_which_names_leave_the_models_list():
    found = told(table(a=OFF), table(a=OFF, b=OFF))

    assert found["pools"][0]["effective_after"] is None
    assert found["pools"][0]["status_after"] == "unavailable"
    assert found["models_leaving"] == ["b/m", "one", "short"]


def test_impact_of_a_pool_that_goes():
    found = told(table(), replace(table(), pools={}, aliases={}))

    assert [(pool["selectable_after"], pool["status_after"]) for pool in found["pools"]] == [(0, None)]
    assert found["models_leaving"] == ["one", "short"]


def test_pool_is_emptied_only_by_losing_its_last_candidate():
    assert emptied(table(), table(a=OFF), NOW) == ()
    assert emptied(table(a=OFF), table(a=OFF, b=OFF), NOW) == ("one",)
    assert emptied(table(a=OFF, b=OFF), table(a=OFF, b=OFF), NOW) == ()


def test_pool_that_is_switched_off_is_not_emptied():
    off = table(a=OFF, b=OFF)
    pools = {"one": replace(off.pools["one"], switch=OFF)}

    assert emptied(table(), replace(off, pools=pools), NOW) == ()


def test_expired_switch_counts_as_the_value_before_it():
    expired = Switch(enabled=False, base=True, expires_at=NOW)

    assert emptied(table(a=OFF), table(a=OFF, b=expired), NOW) == ()
