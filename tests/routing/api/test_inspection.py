"""Pools, providers and explain as the API shows them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import caches
from django.db import connection
from django.test.utils import CaptureQueriesContext

from routing import live, models
from routing.types import DiscoveryState, RouteRequest
from tests import factories

POOLS = "/admin/routing/model-pools"
EXPLAIN = "/admin/routing/explain"
STATUS = "/admin/providers/status"
pytestmark = pytest.mark.usefixtures("pools")


def stored() -> list[dict]:
    """All that the shared caches hold."""
    return [dict(caches[alias]._cache) for alias in ("pins", "tickets", "health")]


def resolved(model: str, **fields) -> str | None:
    async def question(resolver):
        return await resolver.resolve(RouteRequest(model, **fields))

    first = live.ask(question).effective_candidate
    return first.selector if first else None


def test_a_pool_tells_everything_of_its_candidates(ada):
    pool = ada.get(POOLS)[1]

    assert pool == {
        "canonical_model": "weighted",
        "enabled": True,
        "strategy": "weighted_round_robin",
        "status": "enabled",
        "effective_candidate": "east/x",
        "effective_provider_name": "east",
        "config_primary_candidate": "east/x",
        "config_primary_provider_name": "east",
        "blocked_candidates": [],
        "session_affinity": True,
        "session_affinity_ttl_s": 1800,
        "failover": {
            "enabled": True,
            "max_attempts": 3,
            "retry_on_statuses": [429, 500, 502, 503, 504],
            "retry_on_model_errors": True,
        },
        "when_all_blocked": "keep_last",
        "revision": 0,
        "candidates": [
            {
                "selector": selector,
                "provider_name": selector[:4],
                "provider_type": "openai_compatible",
                "model": selector[5:],
                "priority": priority,
                "weight": weight,
                "share": weight / 16,
                "provider_enabled": True,
                "candidate_enabled": True,
                "effective_enabled": True,
                "selectable": True,
                "status": "enabled",
                "reasons": [],
                "provider_runtime_status": "healthy",
                "is_config_primary": selector == "east/x",
                "is_effective_candidate": selector == "east/x",
            }
            for selector, priority, weight in (("east/x", 1, 10), ("west/y", 2, 6))
        ],
    }


def test_effective_candidate_is_the_next_one_for_a_whole_cycle(ada):
    """T2, T3: the API shows what the next request really gets, and looking moves nothing."""
    for _ in range(16):
        before = stored()
        shown = {ada.get(POOLS)[1]["effective_candidate"] for _ in range(2)}
        explained = ada("POST", EXPLAIN, {"model": "weighted"}).json()["decision"]["effective_candidate"]
        assert stored() == before

        assert shown == {explained} == {resolved("weighted")}


def test_all_reasons_are_told_and_unhealthy_is_not_degraded(ada):
    """T25, T26: an unhealthy one is blocked, a degraded one marked; every reason is told."""
    models.Provider.objects.filter(name="east").update(
        probe_state=DiscoveryState.FAILED, probe_failures=3, probe_error="HTTP 500", configured_models=[]
    )
    models.Provider.objects.filter(name="west").update(probe_state=DiscoveryState.FAILED, probe_error="slow")
    models.PoolCandidate.objects.filter(pool__canonical_model="chat", model="x").update(enabled=False)
    chat, weighted = ada.get(POOLS)

    assert [
        (one["selector"], one["status"], [reason["code"] for reason in one["reasons"]], one["selectable"])
        for one in chat["candidates"]
    ] == [
        ("east/x", "disabled_manual", ["candidate_disabled", "provider_unhealthy"], False),
        ("west/y", "degraded_runtime", ["provider_degraded"], True),
    ]
    assert (weighted["status"], weighted["status_reason"]) == ("degraded", "1 of 2 candidates can be used.")
    assert weighted["blocked_candidates"] == [
        {
            "selector": "east/x",
            "status": "unhealthy_runtime",
            "reason": "3 probes in a row failed: HTTP 500",
            "reasons": ["provider_unhealthy"],
        }
    ]


def test_providers_status_counts_by_the_one_classifier(ada, pools):
    """T27, T29: models with an error are degraded; the page says what routing uses."""
    models.Provider.objects.filter(name="west").update(probe_state=DiscoveryState.FAILED, probe_error="slow")
    factories.ProviderFactory(
        name="gone", probe_state=DiscoveryState.FAILED, probe_failures=3, probe_error="HTTP 500"
    )
    factories.ProviderFactory(name="off", enabled=False, switch_created_at=datetime.now(UTC))
    answer = ada.get(STATUS)

    assert answer["summary"] == {
        "total": 4,
        "healthy": 1,
        "degraded": 1,
        "unhealthy": 1,
        "disabled": 1,
        "overall_status": "degraded",
    }
    routed = {
        one["provider_name"]: one["provider_runtime_status"]
        for pool in ada.get(POOLS)
        for one in pool["candidates"]
    }
    shown = {one["name"]: one["runtime_status"] for one in answer["providers"]}
    assert {name: shown[name] for name in routed} == routed == {"east": "healthy", "west": "degraded"}


def test_providers_status_shows_how_a_stored_key_ends(ada, settings):
    from cryptography.fernet import Fernet

    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    ada("PATCH", "/admin/api/providers/east", {"credential": "sk-secret-secret-f3a"})
    east = ada.get(STATUS)["providers"][0]

    assert (east["credential"], east["models_used"]) == ({"state": "set", "shown": "set …f3a"}, ["x"])
    assert "sk-secret" not in ada("GET", STATUS).content.decode()


LISTS = {
    POOLS: 10,
    STATUS: 11,
    "/admin/routing-state": 5,
    "/admin/routing-state?include=all": 5,
    "/admin/api/providers": 3,
    "/admin/api/pools": 5,
    "/admin/api/aliases": 3,
    "/admin/api/client-keys": 3,
    "/admin/api/admin-tokens": 3,
    "/admin/routing/revisions": 3,
    "/admin/requests": 3,
}


def queries_of(ask) -> dict[str, int]:
    counts = {}
    for path in LISTS:
        with CaptureQueriesContext(connection) as captured:
            assert ask("GET", path).status_code == 200
        counts[path] = len(captured)
    return counts


def test_lists_take_the_same_queries_however_long_they_are(ada):
    """One finds the token, one the revision; pools and status load the table, as no worker serves here."""
    assert queries_of(ada) == LISTS
    for number in range(3):
        pool = factories.ModelPoolFactory(switch_created_at=datetime.now(UTC))
        factories.PoolCandidateFactory(pool=pool, switch_created_at=datetime.now(UTC))
        factories.AliasFactory(name=f"more-{number}", target=pool.canonical_model)
        factories.ClientKeyFactory()
        factories.AdminTokenFactory()
        factories.RoutingRevisionFactory(number=number + 1)
        factories.RequestRecordFactory()

    assert queries_of(ada) == LISTS


def test_explain_tells_a_failover_and_who_would_serve(ada):
    answer = ada(
        "POST", EXPLAIN, {"model": "fast", "assume": [{"candidate": "east/x", "status": 429}]}
    ).json()
    decision = answer["decision"]

    assert {name: decision[name] for name in decision if name not in {"decision_id", "steps"}} == {
        "requested_model": "fast",
        "canonical_model": "chat",
        "matched_by": "alias",
        "strategy": "priority_failover",
        "config_primary": "east/x",
        "effective_candidate": "east/x",
        "selected_provider_name": "west",
        "selected_exact_model": "y",
        "order": ["east/x", "west/y"],
        "blocked_candidates": [],
        "affinity": "none",
        "revision": 0,
        "failover_used": True,
        "fallback_target": "west/y",
        "attempts": [
            {
                "candidate": "east/x",
                "provider": "east",
                "model": "x",
                "assumed": True,
                "status": 429,
                "error": "status",
                "fails_over": True,
            },
            {"candidate": "west/y", "provider": "west", "model": "y", "assumed": False, "status": 200},
        ],
    }
    assert (answer["outcome"], answer["listed"]) == ({"status": 200, "served_by": "west/y"}, True)
    assert [one["order"] for one in answer["candidates"]] == [1, 2]
    assert decision["steps"][-1] == "priority_failover: east/x comes first of 2."


@pytest.mark.parametrize(
    ("assumed", "outcome"),
    [
        ({"east/x": 400}, {"status": 400}),
        ({"east/x": 401, "west/y": 401}, {"status": 502, "code": "upstream_auth_error"}),
        ({"east/x": "connect", "west/y": "timeout"}, {"status": 504, "code": "upstream_timeout"}),
        ({"east/x": 302, "west/y": "protocol"}, {"status": 502, "code": "upstream_protocol_error"}),
        ({"east/x": 404}, {"status": 200, "served_by": "west/y"}),
        ({"east/x": 200}, {"status": 200, "served_by": "east/x"}),
    ],
)
def test_explain_says_what_the_client_would_get(ada, assumed, outcome):
    assume = [{"candidate": candidate, "status": status} for candidate, status in assumed.items()]

    assert ada("POST", EXPLAIN, {"model": "chat", "assume": assume}).json()["outcome"] == outcome


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": ""}, "model"),
        ({"model": "chat", "assume": [{"candidate": "north/x", "status": 429}]}, "assume"),
        ({"model": "chat", "assume": [{"candidate": "east/x", "status": 429}] * 2}, "assume"),
        ({"model": "nothing", "assume": [{"candidate": "east/x", "status": 429}]}, "assume"),
        ({"model": "chat", "assume": [{"candidate": "east/x", "status": 99}]}, "assume.0.status"),
        ({"model": "chat", "assume": [{"candidate": "east/x", "status": True}]}, "assume.0.status"),
        ({"model": "chat", "api_key_id": "99"}, "api_key_id"),
        ({"model": "chat", "endpoint": "cooking"}, "endpoint"),
        ({"model": "chat", "modell": 1}, "modell"),
        ([], None),
    ],
)
def test_explain_refuses_questions_that_are_not_well_formed(ada, body, param):
    answer = ada("POST", EXPLAIN, body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_disabled_and_unavailable_are_different_answers(ada):
    """T46: 404 for what an operator switched off, 503 with the time for what passes."""
    models.ModelPool.objects.filter(canonical_model="chat").update(enabled=False)
    models.PoolCandidate.objects.filter(pool__canonical_model="weighted").update(
        enabled=False, switch_expires_at=datetime.now(UTC) + timedelta(seconds=30)
    )
    off = ada("POST", EXPLAIN, {"model": "chat"}).json()
    away = ada("POST", EXPLAIN, {"model": "weighted"}).json()

    assert (off["outcome"]["status"], off["outcome"]["code"]) == (404, "model_disabled")
    assert (off["listed"], off["not_listed_because"]) == (False, "The model 'chat' is switched off.")
    assert (away["outcome"]["status"], away["outcome"]["code"]) == (503, "no_eligible_candidates")
    assert 25 < away["outcome"]["retry_after_s"] <= 30
    assert [one["status"] for one in away["candidates"]] == ["disabled_manual"] * 2


def test_unknown_name_suggests_what_is_like_it(ada):
    answer = ada("POST", EXPLAIN, {"model": "weihgted"}).json()

    assert (answer["outcome"]["status"], answer["outcome"]["code"]) == (404, "model_not_found")
    assert (answer["listed"], answer["suggestions"], answer["candidates"]) == (False, ["weighted"], [])


def test_bare_id_is_accepted_but_not_listed(ada):
    answer = ada("POST", EXPLAIN, {"model": "x"}).json()

    assert (answer["outcome"], answer["listed"]) == ({"status": 200, "served_by": "east/x"}, False)
    assert answer["not_listed_because"] == "A bare model id is accepted, but only provider/model is listed."


def test_explain_finds_the_pin_of_a_key_and_session(ada):
    """T2, T45: the pin of this caller's session, not of another's; and nothing is written."""
    key, other = factories.ClientKeyFactory(), factories.ClientKeyFactory()

    async def pin(resolver):
        caller = resolver.caller(str(key.pk))
        decision = await resolver.resolve(RouteRequest("chat", caller=caller, session_key="s"))
        await resolver._state.write_pin(decision.pin_key, "west/y", 60)

    live.ask(pin)
    before = stored()
    asked = [
        ada("POST", EXPLAIN, {"model": "chat", **fields}).json()["decision"]
        for fields in (
            {"session_id": "s", "api_key_id": str(key.pk)},
            {"session_id": "s", "api_key_id": str(other.pk)},
            {"session_id": "t", "api_key_id": str(key.pk)},
            {},
        )
    ]

    assert [(one["affinity"], one["effective_candidate"]) for one in asked] == [
        ("hit", "west/y"),
        ("miss", "east/x"),
        ("miss", "east/x"),
        ("none", "east/x"),
    ]
    assert asked[0]["steps"][-1] == "The session is pinned to west/y."
    assert stored() == before


def test_explain_knows_what_a_key_may_ask_for(ada):
    narrow = factories.ClientKeyFactory(models=["weighted"])
    ended = factories.ClientKeyFactory(enabled=False)
    refused = ada("POST", EXPLAIN, {"model": "chat", "api_key_id": str(narrow.pk)}).json()
    unknown = ada("POST", EXPLAIN, {"model": "chat", "api_key_id": str(ended.pk)}).json()

    assert (refused["outcome"]["status"], refused["outcome"]["code"]) == (403, "model_not_allowed")
    assert [one["reasons"][0]["code"] for one in refused["candidates"]] == ["caller_not_allowed"] * 2
    assert (unknown["outcome"]["status"], unknown["outcome"]["code"]) == (401, "invalid_api_key")


def test_user_path_is_the_session_of_who_names_none(ada):
    key = factories.ClientKeyFactory(user_path="/team")
    asked = [
        ada("POST", EXPLAIN, {"model": "chat", "api_key_id": str(key.pk), **fields}).json()["decision"]
        for fields in ({}, {"user_path": "/team/a"}, {"user_path": "/other"})
    ]

    assert [one["affinity"] for one in asked] == ["miss"] * 3


def test_reads_show_what_another_worker_wrote(ada):
    """A worker that serves asks the database which revision is in force before it answers."""
    from routing import services, snapshot
    from routing.resolver import Resolver
    from routing.state import SharedState

    snapshot.refresh()
    loop = asyncio.new_event_loop()
    import threading

    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def serve():
        from routing.health_exchange import HealthExchange
        from routing.live_health import LiveHealth
        from routing.store_guard import StoreGuard

        health = LiveHealth(snapshot.current, HealthExchange(caches["health"], StoreGuard()))
        resolver = Resolver(snapshot.current, SharedState(), health)
        live.register(resolver)
        return resolver

    resolver = asyncio.run_coroutine_threadsafe(serve(), loop).result(5)
    try:
        services.set_switch(
            target=services.SwitchTarget("provider", "east"),
            enabled=False,
            actor=services.Actor("elsewhere"),
            source="admin",
        )
        assert snapshot.current().providers["east"].switch.enabled is True
        assert ada.get(POOLS)[0]["effective_candidate"] == "west/y"
    finally:
        live.unregister(resolver)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
