"""The three people, and a small gateway to look at."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from routing import services, snapshot
from tests import factories


def look(user: User, *also: str) -> None:
    """Let a user see everything of routing and the records, and do what else is named."""
    wanted = Permission.objects.filter(content_type__app_label__in=["routing", "proxying"])
    user.user_permissions.set(
        [one for one in wanted if one.codename.startswith("view_") or one.codename in also]
    )


@pytest.fixture
def ada(db):
    """The operator."""
    user = User.objects.create_user("ada", password="ada", is_staff=True)
    look(user, "change_poolcandidate", "change_modelpool", "change_provider")
    return signed_in(user)


@pytest.fixture
def ben(db):
    """May look and change nothing."""
    user = User.objects.create_user("ben", password="ben", is_staff=True)
    look(user)
    return signed_in(user)


@pytest.fixture
def mallory(db):
    """Has an account and no business here."""
    return signed_in(User.objects.create_user("mallory", password="mallory"))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def people(ada, ben, mallory):
    """All three, and a stranger, by name."""
    return {"ada": ada, "ben": ben, "mallory": mallory, "stranger": Client()}


@pytest.fixture
def gateway(db):
    """Two pools: ``chat`` by priority over a, b, c; ``mixed`` by weight over a and b. ``b/m`` is in both."""
    a, b, c = (factories.ProviderFactory(name=name) for name in "abc")
    chat = factories.ModelPoolFactory(canonical_model="chat")
    for priority, provider in enumerate((a, b, c), 1):
        factories.PoolCandidateFactory(pool=chat, provider=provider, model="m", priority=priority)
    mixed = factories.ModelPoolFactory(canonical_model="mixed", strategy="weighted_round_robin")
    factories.PoolCandidateFactory(pool=mixed, provider=a, model="n", weight=3)
    factories.PoolCandidateFactory(pool=mixed, provider=b, model="m", weight=1)
    probed("a", "m", "n")
    probed("b", "m")
    probed("c", "m")
    return chat


def probed(name: str, *models: str, error: str = "") -> None:
    """A model discovery as the prober writes it."""
    from routing.models import Provider, ProviderModel

    provider = Provider.objects.get(name=name)
    if error:
        failures = provider.probe_failures + 1
        Provider.objects.filter(pk=provider.pk).update(
            probe_state="failed", probe_error=error, probe_failures=failures, probed_at=factories.NOW
        )
        return
    Provider.objects.filter(pk=provider.pk).update(probe_state="ok", probed_at=factories.NOW)
    for model in models:
        ProviderModel.objects.get_or_create(
            provider=provider, model=model, defaults={"last_seen_at": factories.NOW}
        )


def switch(key: str, *, enabled: bool = False, **how) -> services.SwitchResult:
    """Switch as somebody else, with a reason."""
    return services.set_switch(
        target=services.SwitchTarget.from_key(key),
        enabled=enabled,
        actor=services.Actor(how.pop("by", "carol")),
        source="api",
        **{"reason": "GPU swap", **how},
    )


@pytest.fixture(autouse=True)
def _no_table_of_another_test():
    snapshot.reset()
