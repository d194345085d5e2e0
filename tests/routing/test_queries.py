from __future__ import annotations

import pytest

from routing import models, queries, services
from tests import factories

pytestmark = pytest.mark.django_db
BY_ADA = {"actor": services.Actor("ada"), "source": "api"}
SWITCH = {"enabled": True, "switch_reason": "", "switch_base": True, "switch_expires_at": None}
POLICY = {
    "strategy": "",
    "session_affinity": None,
    "session_affinity_ttl_s": None,
    "failover_enabled": None,
    "failover_max_attempts": None,
    "failover_on_statuses": None,
    "failover_on_model_errors": None,
    "when_all_blocked": "",
}


def test_document_of_an_empty_database_is_the_defaults():
    expected = {"defaults": POLICY | {"configured_provider_models_mode": "fallback"}}

    assert queries.read_document() == expected
    factories.RoutingDefaultsFactory()
    assert queries.read_document() == expected


def test_document_holds_every_object_under_its_key():
    provider = factories.ProviderFactory(name="p", kind="openai", base_url="", credential_ref="${A_KEY}")
    pool = factories.ModelPoolFactory(canonical_model="a/b")
    factories.PoolCandidateFactory(pool=pool, provider=provider, model="m:1", priority=2, weight=3)
    factories.AliasFactory(name="short", target="a/b")
    key = factories.ClientKeyFactory(name="app", secret="sk-sluice-x", expires_at=factories.NOW)
    token = factories.AdminTokenFactory(name="ci", secret="sluice-admin-x")

    document = queries.read_document()

    assert document["provider/p"] == SWITCH | {
        "kind": "openai",
        "base_url": "",
        "configured_models": [],
        "options": {},
        "connect_timeout_s": None,
        "first_byte_timeout_s": None,
        "idle_timeout_s": None,
        "total_timeout_s": None,
        "max_in_flight": None,
        "credential": "${A_KEY}",
    }
    assert document["pool/a%2Fb"] == SWITCH | POLICY | {"description": ""}
    assert document["candidate/a%2Fb/p/m%3A1"] == SWITCH | {"priority": 2, "weight": 3}
    assert document["alias/short"] == {"target": "a/b"}
    assert document[f"client_key/{key.pk}"] == {
        "name": "app",
        "prefix": "sk-sluice-x",
        "user_path": "",
        "models": [],
        "enabled": True,
        "expires_at": "2026-11-23T12:00:00Z",
    }
    assert document[f"admin_token/{token.pk}"] == {
        "name": "ci",
        "prefix": "sluice-admin-x",
        "read_only": False,
        "enabled": True,
        "expires_at": None,
    }
    assert len(document) == 7


def test_document_shows_of_a_stored_key_its_end_only():
    factories.ProviderFactory(name="p", credential_encrypted="gAAAA-token", credential_hint="…f3a")

    assert queries.read_document()["provider/p"]["credential"] == "set …f3a"
    assert "gAAAA" not in str(queries.read_document())


def test_document_takes_a_fixed_number_of_queries(django_assert_num_queries):
    for _ in range(5):
        factories.PoolCandidateFactory()

    with django_assert_num_queries(7):
        queries.read_document()


def test_users_of_a_provider_are_pools_and_aliases_that_name_it():
    provider = factories.ProviderFactory(name="p")
    factories.ProviderFactory(name="p2")
    for name in ("zebra", "ant"):
        pool = factories.ModelPoolFactory(canonical_model=name)
        factories.PoolCandidateFactory(pool=pool, provider=provider, model="one")
        factories.PoolCandidateFactory(pool=pool, provider=provider, model="two")
    factories.ModelPoolFactory(canonical_model="p/own")
    factories.AliasFactory(name="exact", target="p/x")
    factories.AliasFactory(name="pooled", target="p/own")
    factories.AliasFactory(name="other", target="p2/x")
    factories.AliasFactory(name="capital", target="P/x")

    assert queries.users_of_provider("p") == ["pool ant", "pool zebra", "alias exact"]
    assert queries.users_of_pool("p/own") == ["alias pooled"]
    assert queries.pools_with_pair("p", "one") == ["ant", "zebra"]


def test_providers_are_counted_in_one_query(django_assert_num_queries):
    candidate = factories.PoolCandidateFactory(provider=factories.ProviderFactory(name="p"), model="m")
    factories.PoolCandidateFactory(pool=candidate.pool, provider=candidate.provider, model="n")
    for model, listed in (("m", True), ("n", True), ("gone", False)):
        factories.ProviderModelFactory(provider=candidate.provider, model=model, listed=listed)

    with django_assert_num_queries(1):
        rows = list(queries.providers())

    assert [(row.name, row.pool_count, row.listed_count) for row in rows] == [("p", 1, 2)]


def test_revisions_touching_an_object_are_the_later_ones_oldest_first():
    for limit in (1, 2, 3):
        services.save_provider(name="p", values={"kind": "openai", "max_in_flight": limit}, **BY_ADA)
    services.save_provider(name="q", values={"kind": "openai"}, **BY_ADA)

    found = queries.revisions_touching(["provider/p"], after=1)

    assert [revision.number for revision, _ in found] == [2, 3]
    assert found[1][1] == [{"object": "provider/p", "field": "max_in_flight", "before": 2, "after": 3}]
    assert [revision.number for revision in queries.revisions()] == [4, 3, 2, 1]
    assert queries.head_revision() == models.RoutingHead.objects.get().revision == 4
