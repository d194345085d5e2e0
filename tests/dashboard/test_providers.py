"""The page of providers."""

from __future__ import annotations

import pytest

from routing import probes, snapshot
from routing.models import Provider
from tests import factories
from tests.dashboard.conftest import switch

pytestmark = pytest.mark.django_db
URL = "/dashboard/providers/"


def rows(client, **query):
    return {row.name: row for row in client.get(URL, query).context["rows"]}


def test_page_is_for_those_who_may_look(people, gateway):
    assert {name: client.get(URL).status_code for name, client in people.items()} == {
        "ada": 200,
        "ben": 200,
        "mallory": 403,
        "stranger": 302,
    }


def test_a_row_says_health_models_and_who_uses_it(ada, gateway):
    row = rows(ada)["a"]
    assert (row.mark.word, row.evidence) == ("Healthy", "The last probe listed 2 models.")
    assert (row.listed, row.used, row.missing) == (2, 2, ())
    assert row.pools == (("chat", 1), ("mixed", 1))


def test_one_classifier_says_the_word_here_and_in_routing(ada, gateway):
    """T27, T29: a provider with models and an error is degraded, without any it is unhealthy after three."""
    Provider.objects.filter(name="a").update(
        probe_state="failed", probe_error="503", probe_failures=3, probe_first_failed_at=factories.NOW
    )
    lost = factories.ProviderFactory(
        name="lost",
        probe_state="failed",
        probe_error="refused",
        probe_failures=3,
        probe_first_failed_at=factories.NOW,
    )
    found = rows(ada)
    assert (found["a"].mark.word, found["a"].evidence) == ("Degraded", "The last probe failed: 503")
    assert (found[lost.name].mark.word, found[lost.name].evidence) == (
        "Unhealthy",
        "3 probes in a row failed: refused",
    )
    assert list(found) == ["lost", "a", "b", "c"]


def test_a_disabled_provider_is_disabled_not_degraded(ada, gateway):
    """T23."""
    switch("provider/c")
    row = rows(ada)["c"]
    assert (row.mark.word, row.switch.on, row.switch.by, row.switch.reason) == (
        "Disabled",
        False,
        "carol",
        "GPU swap",
    )


def test_keys_are_never_shown(ada, gateway):
    Provider.objects.filter(name="a").update(credential_encrypted="gAAAsecret", credential_hint="…f3a")
    Provider.objects.filter(name="b").update(credential_ref="${B_API_KEY}")
    html = ada.get(URL).content.decode()
    assert "set, ends …f3a" in html
    assert "${B_API_KEY}" in html
    assert "gAAAsecret" not in html


def test_models_that_a_pool_wants_and_the_provider_lacks_are_named(ada, gateway):
    factories.PoolCandidateFactory(pool=gateway, provider=Provider.objects.get(name="a"), model="ghost")
    assert rows(ada)["a"].missing == ("ghost",)


def test_filter_is_in_the_url(ada, gateway):
    factories.ProviderFactory(name="zebra")
    assert list(rows(ada, q="ZEB")) == ["zebra"]


def test_without_providers_the_page_tells_the_next_step(ada):
    assert "manage.py import_config" in ada.get(URL).content.decode()


def test_test_now_asks_the_provider_and_says_what_came(ada, gateway, monkeypatch):
    asked = []

    def discover(names):
        asked.append(names)
        provider = snapshot.load().providers["a"]
        return [probes.Probe(provider, why="Its kind has no models list.")]

    monkeypatch.setattr(probes, "discover", discover)
    answer = ada.post(f"{URL}a/test/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Retarget"], asked) == (200, "#toasts", [["a"]])
    assert "Its kind has no models list." in answer.content.decode()
    assert ada.post(f"{URL}a/test/").status_code == 302


def test_only_operators_test(people, gateway):
    statuses = {name: people[name].post(f"{URL}a/test/").status_code for name in people if name != "ada"}
    assert statuses == {"ben": 403, "mallory": 403, "stranger": 302}
    assert people["ada"].post(f"{URL}nobody/test/").status_code == 404
