"""The home page and the page of one pool."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.utils import timezone

from proxying.models import TrafficSlice
from proxying.traffic import Counts, as_json
from routing import live
from routing.health import Circuit
from routing.models import ModelPool, Provider
from tests import factories
from tests.dashboard.conftest import switch

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}
CANDIDATE = "pool_candidate/chat/a/m"


def texts(html: str, css_class: str) -> list[str]:
    """The text of every element that has this class and nothing but text and inline tags in it."""
    found = re.findall(rf'<(\w+) class="{css_class}[^"]*"[^>]*>(.*?)</\1>', html, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", inner).split()) for _, inner in found]


def words(html: str) -> list[str]:
    """The state words, in the order of the page."""
    return re.findall(r'<span class="mark \w+"><svg.*?</svg><span>(.*?)</span></span>', html)


def selectors(html: str) -> list[str]:
    """The candidates, in the order of the page."""
    found = re.findall(r'<b>([^<]*)</b><span class="slash">/</span>([^<]*)</span>', html)
    return ["/".join(one) for one in found]


@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard/pools/chat/"])
def test_pages_are_for_those_who_may_look(people, gateway, path):
    answers = {name: client.get(path) for name, client in people.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "ada": 200,
        "ben": 200,
        "mallory": 403,
        "stranger": 302,
    }
    assert answers["stranger"]["Location"] == f"/admin/login/?next={path}"
    assert "You may not do this" in answers["mallory"].content.decode()


def test_root_leads_to_the_dashboard(ada):
    answer = ada.get("/")
    assert (answer.status_code, answer["Location"]) == (302, "/dashboard/")


def test_a_part_for_a_stranger_sends_the_page_to_the_login(people, gateway):
    answer = people["stranger"].get("/dashboard/", headers=PART)
    assert (answer.status_code, answer["HX-Redirect"]) == (401, "/admin/login/?next=/dashboard/")


def test_home_shows_one_word_per_pool_and_candidate(ada, gateway):
    html = ada.get("/dashboard/", headers=PART).content.decode()
    assert words(html) == ["OK", "Effective", "Standby", "Standby", "OK", "In rotation", "In rotation"]
    assert selectors(html) == ["a/m", "b/m", "c/m", "a/n", "b/m"]


def test_problems_come_first_with_their_reason_and_since_when(ada, gateway):
    """T51: blocked candidates show their reasons; a pair in two pools shows twice."""
    switch("pool_candidate/mixed/b/m")
    html = ada.get("/dashboard/", headers=PART).content.decode()
    assert words(html)[:4] == ["Degraded", "In rotation", "Disabled", "OK"]
    assert texts(html, "reason") == ["The candidate is switched off: GPU swap"]
    assert selectors(html) == ["a/n", "b/m", "a/m", "b/m", "c/m"]
    assert re.search(r"disabled by carol.*?data-ago", html, re.DOTALL)


def test_a_failed_over_pool_says_where_it_serves_from(ada, gateway):
    switch(CANDIDATE)
    html = ada.get("/dashboard/pools/chat/", headers=PART).content.decode()
    assert texts(html, "sentence") == [
        "Serving from b/m because a/m: The candidate is switched off: GPU swap."
    ]
    assert words(html)[:3] == ["Failed over", "Disabled", "Effective"]


def test_a_candidate_absent_from_the_inventory_is_shown(ada, gateway):
    """T51."""
    factories.PoolCandidateFactory(
        pool=gateway, provider=factories.ProviderFactory(name="a"), model="ghost", priority=9
    )
    html = ada.get("/dashboard/", headers=PART).content.decode()
    assert words(html)[:5] == ["Degraded", "Effective", "Standby", "Standby", "Missing model"]
    assert texts(html, "reason") == ["a has no model &#x27;ghost&#x27;."]


def test_every_reason_is_shown_not_only_the_first(ada, gateway):
    """T51."""
    switch(CANDIDATE)
    switch("provider/a", confirm=True)
    html = ada.get("/dashboard/pools/chat/", headers=PART).content.decode()
    assert texts(html, "reason") == [
        "The candidate is switched off: GPU swap",
        "The provider a is switched off: GPU swap",
    ]


def test_a_disabled_pool_and_an_empty_one_say_what_clients_get(ada, gateway):
    switch("canonical_model/chat")
    html = ada.get("/dashboard/pools/chat/", headers=PART).content.decode()
    assert texts(html, "sentence") == ["Switched off. Clients that ask for it get 404 model_disabled."]
    factories.ModelPoolFactory(canonical_model="hollow")
    html = ada.get("/dashboard/pools/hollow/", headers=PART).content.decode()
    assert words(html) == ["Unavailable"]
    assert texts(html, "sentence") == ["No candidate can be used. Clients get 503 no_eligible_candidates."]


def test_a_pool_that_is_not_there_is_404(ada, gateway):
    assert ada.get("/dashboard/pools/nothing/").status_code == 404


@pytest.mark.parametrize("name", ["vendor/model:free", "a b", "ünï", 'q"<&>?#', "x/../y"])
def test_any_pool_name_has_its_page(ada, gateway, name):
    factories.PoolCandidateFactory(
        pool=factories.ModelPoolFactory(canonical_model=name),
        provider=factories.ProviderFactory(name="a"),
        model="m",
    )
    html = unescape(ada.get("/dashboard/", headers=PART).content.decode())
    path = next(
        path
        for path in re.findall(r'href="(/dashboard/pools/[^"]+)"', html)
        if "chat" not in path and "mixed" not in path
    )
    answer = ada.get(path)
    assert (answer.status_code, answer.context["row"].name) == (200, name)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["chat", "mixed"]),
        ("q=MIX", ["mixed"]),
        ("q=c/m", ["chat"]),
        ("provider=c", ["chat"]),
        ("state=problem", ["chat"]),
        ("problems=1", ["chat"]),
        ("state=Failed+over", ["chat"]),
        ("state=OK", ["mixed"]),
        ("q=nothing", []),
    ],
)
def test_filters_are_in_the_url(ada, gateway, query, names):
    switch(CANDIDATE)
    answer = ada.get(f"/dashboard/?{query}")
    assert [row.name for row in answer.context["rows"]] == names


def test_without_pools_the_page_tells_the_next_step(ada):
    html = ada.get("/dashboard/").content.decode()
    assert "No pools yet" in html
    assert "manage.py import_config docs/examples/gateway.yaml" in html


def test_read_only_users_see_switches_that_say_why_they_do_not_work(ben, gateway):
    html = ben.get("/dashboard/", headers=PART).content.decode()
    controls = re.findall(r'<button class="switch".*?>', html, re.DOTALL)
    assert len(controls) == 7
    assert all("disabled title=" in control and "hx-" not in control for control in controls)


def test_policy_shows_where_each_value_comes_from(ada, gateway):
    answer = ada.get("/dashboard/pools/mixed/")
    policy = answer.context["policy"]
    assert (policy["strategy"], policy["when_all_blocked"]) == (
        {"value": "weighted_round_robin", "source": "pool"},
        {"value": "keep_last", "source": "defaults"},
    )


@pytest.mark.parametrize(("path", "queries"), [("/dashboard/", 13), ("/dashboard/pools/chat/", 17)])
def test_pages_cost_the_same_whatever_the_number_of_pools(
    ada, gateway, django_assert_num_queries, path, queries
):
    """Session, user, two of permissions; eight for a snapshot; the live numbers; a pool's id and changes."""
    with django_assert_num_queries(queries):
        ada.get(path)
    for number in range(20):
        pool = factories.ModelPoolFactory(canonical_model=f"more-{number}")
        for name in "abc":
            factories.PoolCandidateFactory(pool=pool, provider=factories.ProviderFactory(name=name))
    with django_assert_num_queries(queries):
        ada.get(path)


def test_pages_carry_the_strict_policy_and_are_not_kept(ada, gateway):
    answer = ada.get("/dashboard/")
    policy = dict(part.strip().partition(" ")[::2] for part in answer["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == (
        "'none'",
        "'self'",
        "'self'",
    )
    assert "no-store" in answer["Cache-Control"]
    html = answer.content.decode()
    assert re.findall(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", html) == []


def test_health_from_the_workers_is_shown(ada, gateway, monkeypatch):
    """T25, T28: what live requests found changes the page."""
    ask = live.ask

    def with_open_circuit(question):
        import dataclasses

        survey = ask(question)
        return dataclasses.replace(survey, health=dataclasses.replace(survey.health, circuits=CIRCUITS))

    import time

    now = time.time()
    CIRCUITS[("a", "m")] = Circuit(
        failures=5, openings=1, open_until=now + 30, since_at=now - 240, cause="5 times 503"
    )
    monkeypatch.setattr(live, "ask", with_open_circuit)
    answer = ada.get("/dashboard/providers/")
    row = next(row for row in answer.context["rows"] if row.name == "a")
    assert (row.mark.word, [circuit.mark.word for circuit in row.circuits]) == ("Degraded", ["Open"])
    assert "5 times 503" in answer.content.decode()


CIRCUITS: dict = {}


@pytest.mark.parametrize("path", ["/dashboard/pools/gone/", "/dashboard/nothing/", "/nowhere"])
def test_what_is_not_there_has_a_page_that_leads_back(ada, gateway, path):
    response = ada.get(path)
    html = response.content.decode()
    assert response.status_code == 404
    assert f"<code>{path}</code>" in html
    assert 'href="/dashboard/"' in html


def test_a_page_that_fails_says_that_clients_are_served(ada, gateway, monkeypatch):
    monkeypatch.setattr("dashboard.views.pools.queries.survey", lambda: 1 / 0)
    ada.raise_request_exception = False
    response = ada.get("/dashboard/")
    assert response.status_code == 500
    assert "<code>/v1</code> goes on" in response.content.decode()


def test_of_very_many_pools_the_first_are_shown_and_the_filter_finds_the_others(ada, gateway):
    pools = [factories.ModelPoolFactory(canonical_model=f"team-{number:03}") for number in range(70)]
    for pool in pools:
        factories.PoolCandidateFactory(pool=pool, provider=Provider.objects.get(name="c"), model="m")
    switch("pool_candidate/team-069/c/m", confirm=True)
    first = ada.get("/dashboard/")
    assert (len(first.context["rows"]), first.context["left_out"]) == (60, 12)
    assert first.context["rows"][0].name == "team-069"
    assert 'href="?all=1">Show all 72</a>' in first.content.decode()
    whole = ada.get("/dashboard/", {"all": "1"})
    assert (len(whole.context["rows"]), whole.context["left_out"]) == (72, 0)
    narrowed = ada.get("/dashboard/", {"q": "team-06", "state": "OK"})
    assert [row.name for row in narrowed.context["rows"]] == [f"team-06{number}" for number in range(9)]
    providers = ada.get("/dashboard/providers/").content.decode()
    assert '<a href="/dashboard/?provider=c">61 more</a>' in providers


def test_numbers_lead_to_the_requests_behind_them(ada, gateway):
    ModelPool.objects.filter(pk=gateway.pk).update(canonical_model="a/b & c")
    counts = {("a/b & c", "a", "m"): Counts(requests=3, failed=1, failovers=2)}
    TrafficSlice.objects.create(at=timezone.now(), worker="w", pools=as_json(counts))
    html = ada.get("/dashboard/").content.decode()
    assert 'href="/dashboard/requests/?since=15m&amp;model=a/b%20%26%20c"' in html
    assert '<a href="/dashboard/requests/?since=15m&amp;failover=1">2</a>' in html


def test_problems_are_counted_in_their_own_words(ada, gateway):
    switch("pool_candidate/chat/a/m")
    html = ada.get("/dashboard/").content.decode()
    assert "<b>1</b> of 2 pools: 1 failed over" in html


def test_the_admin_is_one_press_away(ada, ben, gateway):
    pool, provider = ModelPool.objects.get(canonical_model="chat"), Provider.objects.get(name="a")
    links = {
        "/dashboard/pools/chat/": f'href="/admin/routing/modelpool/{pool.pk}/change/">',
        "/dashboard/providers/": f'href="/admin/routing/provider/{provider.pk}/change/">',
    }
    for page, link in links.items():
        assert f"{link}Edit" in ada.get(page).content.decode()
        assert f"{link}See" in ben.get(page).content.decode()
