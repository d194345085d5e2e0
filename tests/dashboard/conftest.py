"""All people together, a small gateway to look at, and a browser to look with."""

from __future__ import annotations

import os

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from routing import services, snapshot
from routing.models import Provider
from tests import factories
from tests.conftest import CHROMIUM
from tests.dashboard.browsing import FLAGS, Visitor, serving
from tests.people import look

ADA = {"actor": services.Actor("ada"), "source": "admin"}


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


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    # Playwright's loop runs in this thread while the tests use the tables: Django must not mind.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            yield chromium
            chromium.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def setup():
    """Pools ``chat`` (a, b, c by priority) and ``solo`` (b only); everything probed a moment ago."""
    for name in "abc":
        services.save_provider(
            name=name,
            values={"kind": "openai_compatible", "base_url": f"http://127.0.0.1:9/{name}/v1"},
            **ADA,
        )
    Provider.objects.update(probe_state="unsupported", probed_at=timezone.now())
    pools = {"chat": "abc", "solo": "b"}
    for name, providers in pools.items():
        candidates = [
            {"provider_name": provider, "model": "m", "priority": number}
            for number, provider in enumerate(providers, 1)
        ]
        services.save_pool(canonical_model=name, values={}, candidates=candidates, **ADA)


@pytest.fixture
def base(setup):
    with serving() as address:
        yield address


@pytest.fixture
def visit(browser, base):
    """Opens a browser as somebody: ``visit("ada")``; at the end none may have found a fault."""
    visitors = []

    def somebody(name="ada", **how):
        user, made = User.objects.get_or_create(username=name, is_staff=True)
        if made:
            look(user, *(["change_poolcandidate"] if name != "ben" else []))
        visitors.append(Visitor(browser, base, user, **how))
        return visitors[-1]

    yield somebody
    faults = [fault for one in visitors for fault in one.faults]
    for one in visitors:
        one.context.close()
    assert faults == []
