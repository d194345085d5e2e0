from __future__ import annotations

from dataclasses import replace

import pytest

from routing import live, shapes
from routing.health_exchange import HealthExchange
from routing.live_health import LiveHealth
from routing.provider_status import HealthReport, providers_status, summary
from routing.resolver import Resolver
from routing.state import SharedState
from routing.store_guard import StoreGuard
from routing.transitions import Transition
from routing.types import (
    Circuit,
    Discovery,
    DiscoveryState,
    HealthView,
    InventoryMode,
    RoutingTable,
    SkippedRow,
    Switch,
)
from tests.routing.one_pool import Clock, table
from tests.routing.stores import memory

NOW = 1_000_000.0
PROBED = Discovery(DiscoveryState.OK, frozenset({"x", "y"}), checked_at=NOW - 5)
FAILED = Discovery(
    DiscoveryState.FAILED, checked_at=NOW - 5, failures=3, first_failed_at=NOW - 99, error="HTTP 500"
)


def report(health: HealthView | None = None, **changes: dict[str, object]) -> HealthReport:
    shown = table(*((name, 1) for name in changes))
    providers = {name: replace(one, **changes[name]) for name, one in shown.providers.items()}
    return HealthReport(replace(shown, providers=providers), health or HealthView(), NOW)


def test_a_healthy_provider_tells_its_inventory_and_its_pools() -> None:
    shape = providers_status(report(a={"discovery": PROBED, "api_key": "k"}))

    assert shape["providers"] == [
        {
            "name": "a",
            "type": "openai",
            "type_label": "OpenAI",
            "enabled": True,
            "status": "healthy",
            "runtime_status": "healthy",
            "credential": {"state": "set"},
            "inventory": {
                "mode": "fallback",
                "state": "ok",
                "listable": True,
                "configured": 1,
                "discovered": 2,
                "shown": 2,
                "failures": 0,
                "checked_at": shapes.instant(NOW - 5),
            },
            "circuits": [],
            "in_flight": 0,
            "busy": False,
            "pools": ["m"],
        }
    ]
    assert (shape["skipped"], shape["events"]) == ([], [])


def test_a_failing_provider_with_models_is_degraded_and_one_without_unhealthy() -> None:
    """T27, T26: both say why."""
    shape = providers_status(
        report(a={"discovery": FAILED}, b={"discovery": FAILED, "configured_models": frozenset()})
    )

    assert [(row["status"], row["status_reason"], row["last_error"]) for row in shape["providers"]] == [
        ("degraded", "The last probe failed: HTTP 500", "HTTP 500"),
        ("unhealthy", "3 probes in a row failed: HTTP 500", "HTTP 500"),
    ]
    assert shape["providers"][1]["inventory"]["failing_since"] == shapes.instant(NOW - 99)
    assert shape["summary"] == {
        "total": 2,
        "healthy": 0,
        "degraded": 1,
        "unhealthy": 1,
        "disabled": 0,
        "overall_status": "degraded",
    }


def test_a_provider_that_is_switched_off_counts_as_disabled_and_says_why() -> None:
    """T23."""
    off = Switch(enabled=False, reason="maintenance", updated_by="ada", updated_at=NOW - 60)

    shape = providers_status(report(a={"switch": off}, b={"discovery": PROBED}))

    row = shape["providers"][0]
    assert (row["status"], row["enabled"], row["status_reason"]) == ("disabled", False, "maintenance")
    assert row["switch"] == {
        "enabled": False,
        "reason": "maintenance",
        "updated_by": "ada",
        "updated_at": shapes.instant(NOW - 60),
    }
    assert (shape["summary"]["disabled"], shape["summary"]["overall_status"]) == (1, "healthy")


def test_a_refused_credential_shows_its_cause_and_its_end() -> None:
    refused = Circuit(failures=1, openings=1, open_until=NOW + 30, cause="HTTP 401")

    row = providers_status(report(HealthView(credentials={"a": refused}), a={"discovery": PROBED}))[
        "providers"
    ][0]

    assert row["status"] == "unhealthy"
    assert row["credential"] == {
        "state": "refused",
        "cause": "HTTP 401",
        "until": shapes.instant(NOW + 30),
    }


def test_a_missing_credential_shows_what_is_wrong() -> None:
    row = providers_status(report(a={"credential_error": "A_KEY is not set."}))["providers"][0]

    assert row["credential"] == {"state": "missing", "cause": "A_KEY is not set."}
    assert (row["status"], row["last_error"]) == ("unhealthy", "A_KEY is not set.")


def test_circuits_that_are_over_are_left_out() -> None:
    health = HealthView(
        circuits={
            ("a", "x"): Circuit(failures=5, openings=1, open_until=NOW + 30, cause="503"),
            ("a", "over"): Circuit(cooldown_until=NOW - 1),
            ("b", "x"): Circuit(cooldown_until=NOW + 9),
        }
    )

    rows = providers_status(report(health, a={}, b={}))["providers"]

    assert [row["circuits"] for row in rows] == [
        [{"model": "x", "state": "open", "failures": 5, "until": shapes.instant(NOW + 30), "cause": "503"}],
        [{"model": "x", "state": "cooling_down", "failures": 0, "until": shapes.instant(NOW + 9)}],
    ]


def test_events_come_newest_first_and_skipped_providers_are_named() -> None:
    """T21: a row that cannot be used is shown."""
    old = Transition(NOW - 9, "a", "x", "circuit_open", "503", NOW + 21, remote=True)
    new = Transition(NOW - 1, "a", None, "provider_healthy", "", None, remote=False)
    skipped = (SkippedRow("provider/z", "Unknown kind 'q'."), SkippedRow("pool/p", "bad"))
    shape = providers_status(
        HealthReport(RoutingTable(skipped=skipped), HealthView(), NOW, transitions=(old, new))
    )

    assert shape["skipped"] == [{"object": "provider/z", "problem": "Unknown kind 'q'."}]
    assert shape["events"] == [
        {"at": shapes.instant(NOW - 1), "provider_name": "a", "event": "provider_healthy"},
        {
            "at": shapes.instant(NOW - 9),
            "provider_name": "a",
            "event": "circuit_open",
            "model": "x",
            "cause": "503",
            "until": shapes.instant(NOW + 21),
        },
    ]


@pytest.mark.parametrize(
    ("statuses", "word"),
    [
        ([], "unknown"),
        (["disabled"], "disabled"),
        (["healthy", "disabled"], "healthy"),
        (["unhealthy", "unhealthy"], "unhealthy"),
        (["unhealthy", "healthy"], "degraded"),
        (["degraded"], "degraded"),
    ],
)
def test_overall_status_is_one_word_for_all(statuses: list[str], word: str) -> None:
    assert summary(statuses)["overall_status"] == word


@pytest.mark.anyio
async def test_a_worker_reports_its_own_calls_and_events() -> None:
    clock, shown = Clock(), replace(table(("a", 1)), inventory_mode=InventoryMode.ALLOWLIST)
    health = LiveHealth(lambda: shown, HealthExchange(memory(), StoreGuard(clock), clock), clock=clock)
    resolver = Resolver(lambda: shown, SharedState(pins=memory(), tickets=memory()), health, clock=clock)
    health.enter("a", None)
    health.rate_limited("a", "x", 20)

    shape = providers_status(await resolver.health_report())

    assert (shape["providers"][0]["in_flight"], shape["providers"][0]["status"]) == (1, "healthy")
    assert [one["event"] for one in shape["events"]] == ["cooling_down"]


@pytest.mark.django_db
def test_a_process_that_does_not_serve_answers_from_the_stores() -> None:
    assert providers_status(live.ask(Resolver.health_report))["summary"]["total"] == 0
