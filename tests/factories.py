"""Rows for tests, put straight into the tables: no revision, no refresh."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import factory
from factory.django import DjangoModelFactory

from proxying.models import RequestRecord
from routing import keys, models

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class ProviderFactory(DjangoModelFactory):
    class Meta:
        model = models.Provider
        django_get_or_create = ("name",)

    name = factory.Sequence(lambda n: f"provider-{n}")
    kind = "openai_compatible"
    base_url = factory.LazyAttribute(lambda row: f"http://127.0.0.1:9/{row.name}/v1")


class ProviderModelFactory(DjangoModelFactory):
    class Meta:
        model = models.ProviderModel

    provider = factory.SubFactory(ProviderFactory)
    model = factory.Sequence(lambda n: f"model-{n}")
    last_seen_at = NOW


class ModelPoolFactory(DjangoModelFactory):
    class Meta:
        model = models.ModelPool
        django_get_or_create = ("canonical_model",)

    canonical_model = factory.Sequence(lambda n: f"canonical-{n}")


class PoolCandidateFactory(DjangoModelFactory):
    class Meta:
        model = models.PoolCandidate

    pool = factory.SubFactory(ModelPoolFactory)
    provider = factory.SubFactory(ProviderFactory)
    model = factory.Sequence(lambda n: f"model-{n}")


class AliasFactory(DjangoModelFactory):
    class Meta:
        model = models.Alias

    name = factory.Sequence(lambda n: f"alias-{n}")
    target = "canonical-0"


class RoutingDefaultsFactory(DjangoModelFactory):
    class Meta:
        model = models.RoutingDefaults
        django_get_or_create = ("id",)

    id = 1


class RoutingHeadFactory(DjangoModelFactory):
    class Meta:
        model = models.RoutingHead
        django_get_or_create = ("id",)

    id = 1


class ClientKeyFactory(DjangoModelFactory):
    """Give ``secret=...`` to know the key."""

    class Meta:
        model = models.ClientKey

    class Params:
        secret = factory.LazyFunction(lambda: keys.make_client_key().secret)

    name = factory.Sequence(lambda n: f"client-{n}")
    prefix = factory.LazyAttribute(lambda row: row.secret[: keys.SHOWN_CHARACTERS])
    digest = factory.LazyAttribute(lambda row: keys.key_digest(row.secret).hex())


class AdminTokenFactory(DjangoModelFactory):
    """Give ``secret=...`` to know the token."""

    class Meta:
        model = models.AdminToken

    class Params:
        secret = factory.LazyFunction(lambda: keys.make_admin_token().secret)

    name = factory.Sequence(lambda n: f"token-{n}")
    prefix = factory.LazyAttribute(lambda row: row.secret[: keys.SHOWN_CHARACTERS])
    digest = factory.LazyAttribute(lambda row: keys.key_digest(row.secret).hex())


class RoutingRevisionFactory(DjangoModelFactory):
    class Meta:
        model = models.RoutingRevision

    number = factory.Sequence(lambda n: n + 1)
    actor = "ada"
    source = "admin"
    summary = factory.LazyAttribute(lambda row: f"Change {row.number}")


class RequestRecordFactory(DjangoModelFactory):
    """One answered request."""

    class Meta:
        model = RequestRecord

    request_id = factory.Sequence(lambda n: f"request-{n}")
    decision_id = factory.Sequence(lambda n: f"{n:032x}")
    started_at = factory.Sequence(lambda n: NOW + timedelta(seconds=n))
    endpoint = "chat_completions"
    requested_model = "chat"
    canonical_model = "chat"
    strategy = "priority_failover"
    effective_candidate = "east/x"
    selected_provider_name = "east"
    selected_exact_model = "x"
    affinity = "none"
    attempts = factory.LazyAttribute(
        lambda row: [
            {
                "provider": row.selected_provider_name,
                "model": row.selected_exact_model,
                "started_at": 1_795_435_200.0,
                "latency_ms": 12.5,
                "status": row.status,
                "error": None,
            }
        ]
    )
    attempt_count = 1
    status = 200
    outcome = "ok"
    latency_ms = 12.5
