"""The switch: consequences first, then one service call with actor, reason and the revision seen."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from routing import queries
from routing.models import ModelPool, PoolCandidate, Provider, RoutingRevision
from tests.dashboard.conftest import switch

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}
URL = "/dashboard/switch/"
KEYS = ["provider/c", "canonical_model/mixed", "pool_candidate/chat/a/m"]


def row(key):
    kind, *names = key.split("/")
    if kind == "provider":
        return Provider.objects.get(name=names[0])
    if kind == "canonical_model":
        return ModelPool.objects.get(canonical_model=names[0])
    return PoolCandidate.objects.get(pool__canonical_model=names[0], provider__name=names[1], model=names[2])


def control(client, key, page="/dashboard/"):
    """What the switch of ``key`` shows and would send."""
    html = client.get(page).content.decode()
    found = re.search(rf'aria-checked="(\w+)"[^>]*?value="(\w+):{re.escape(key)}"', html, re.DOTALL)
    return found.groups()


def posted(client, key, to, **data):
    given = {"switch": f"{to}:{key}", "seen": queries.head_revision(), "reason": "OPS-31", **data}
    return client.post(URL, given, headers=PART)


@pytest.mark.parametrize("key", KEYS)
def test_toggle_sends_the_inverse_of_what_it_shows(ada, gateway, key):
    """T48: each of the three kinds works from the page."""
    page = "/dashboard/providers/" if key.startswith("provider/") else "/dashboard/"
    assert control(ada, key, page) == ("true", "off")
    typed = "mixed" if key == "canonical_model/mixed" else ""
    assert posted(ada, key, "off", typed=typed).status_code == 200
    assert (row(key).enabled, control(ada, key, page)) == (False, ("false", "on"))
    assert posted(ada, key, "on").status_code == 200
    assert (row(key).enabled, control(ada, key, page)) == (True, ("true", "off"))


def test_a_switch_is_one_revision_with_actor_reason_and_source(ada, gateway):
    answer = posted(ada, KEYS[2], "off")
    revision = RoutingRevision.objects.get()
    assert (revision.actor, revision.source, revision.reason) == ("ada", "dashboard", "OPS-31")
    assert (answer["HX-Retarget"], answer["HX-Trigger-After-Swap"]) == (
        "#toasts",
        '{"sluice:changed": {"revision": 1}}',
    )
    assert reverse("dashboard:undo", args=[1]) in answer.content.decode()


def test_after_a_change_everything_that_depends_on_it_is_new(ada, gateway):
    """T50."""
    posted(ada, "provider/b", "off")
    rows = {row.name: row for row in ada.get("/dashboard/").context["rows"]}
    assert {name: (found.mark.word, found.selectable) for name, found in rows.items()} == {
        "chat": ("Degraded", 2),
        "mixed": ("Degraded", 1),
    }


def test_disabling_with_others_left_asks_in_the_row(ada, gateway):
    answer = ada.get(URL, {"switch": f"off:{KEYS[2]}"}, headers=PART)
    assert answer.status_code == 200
    assert re.fullmatch(r"#slot-k[0-9a-f]{12}", answer["HX-Retarget"])
    assert RoutingRevision.objects.count() == 0


def test_disabling_a_provider_of_two_pools_shows_what_would_follow(ada, gateway):
    answer = ada.get(URL, {"switch": "off:provider/a"}, headers=PART)
    assert answer["HX-Retarget"] == "#dialog"
    rehearsal = answer.context["rehearsal"]
    assert [
        (
            pool["canonical_model"],
            pool["selectable_before"],
            pool["selectable_after"],
            pool["effective_after"],
        )
        for pool in rehearsal.impact["pools"]
    ] == [("chat", 3, 2, "b/m"), ("mixed", 2, 1, "b/m")]
    assert (rehearsal.phrase, Provider.objects.get(name="a").enabled) == ("", True)


def test_emptying_a_pool_takes_the_typed_name_and_a_reason(ada, gateway):
    switch("pool_candidate/mixed/a/n")
    key = "pool_candidate/mixed/b/m"
    asked = ada.get(URL, {"switch": f"off:{key}"}, headers=PART)
    assert (asked["HX-Retarget"], asked.context["rehearsal"].phrase) == ("#dialog", "mixed")
    assert "Clients will get 503" in asked.content.decode()
    for wrong in ({"typed": ""}, {"typed": "Mixed"}, {"typed": "mixed", "reason": " "}):
        refused = posted(ada, key, "off", **wrong)
        assert (refused.status_code, row(key).enabled) == (409, True)
    assert posted(ada, key, "off", typed=" mixed ").status_code == 200
    assert row(key).enabled is False


def test_a_provider_that_would_empty_many_pools_takes_a_phrase(ada, gateway):
    switch("provider/b", confirm=True)
    switch("provider/c", confirm=True)
    asked = ada.get(URL, {"switch": "off:provider/a"}, headers=PART)
    assert asked.context["rehearsal"].phrase == "empty 2 pools"
    assert posted(ada, "provider/a", "off", typed="chat").status_code == 409
    assert posted(ada, "provider/a", "off", typed="empty 2 pools").status_code == 200


def test_a_pool_that_health_emptied_already_is_guarded_by_the_service(ada, gateway):
    """The rehearsal sees no candidate that can be used before or after: only the switches tell."""
    Provider.objects.filter(name__in="ab").update(credential_ref="${NOT_THERE_KEY}")
    switch("pool_candidate/mixed/a/n")
    refused = posted(ada, "pool_candidate/mixed/b/m", "off")
    assert (refused.status_code, refused.context["rehearsal"].phrase) == (409, "mixed")
    assert posted(ada, "pool_candidate/mixed/b/m", "off", typed="mixed").status_code == 200


def test_a_timed_switch_ends_by_itself(ada, gateway):
    posted(ada, KEYS[2], "off", hours="8h")
    found = row(KEYS[2])
    assert 28_790 < (found.switch_expires_at - found.switch_updated_at).total_seconds() < 28_801
    assert "until" in ada.get("/dashboard/pools/chat/", headers=PART).content.decode()


def test_a_conflict_shows_both_values_and_who_changed_it(ada, gateway):
    seen = queries.head_revision()
    switch(KEYS[2], reason="mine", by="carol")
    answer = posted(ada, KEYS[2], "off", seen=seen)
    html = answer.content.decode()
    assert (answer.status_code, answer["HX-Retarget"]) == (409, "#dialog")
    assert "Changed meanwhile by carol in revision 1" in html
    assert re.search(r"switch_reason.*?\(nothing\).*?mine", html, re.DOTALL)
    assert row(KEYS[2]).switch_reason == "mine"
    again = int(re.search(r'name="seen" value="(\d+)"', html)[1])
    assert posted(ada, KEYS[2], "off", seen=again).status_code == 200
    assert row(KEYS[2]).switch_reason == "OPS-31"


def test_a_change_elsewhere_is_no_conflict(ada, gateway):
    seen = queries.head_revision()
    switch("pool_candidate/chat/c/m")
    assert posted(ada, KEYS[2], "off", seen=seen).status_code == 200


def test_without_scripts_the_question_is_a_page_and_the_answer_leads_back(ada, gateway):
    page = ada.get(URL, {"switch": f"off:{KEYS[2]}", "seen": 0})
    assert "<html" in page.content.decode()
    answer = ada.post(URL, {"switch": f"off:{KEYS[2]}", "next": "/dashboard/pools/chat/"}, follow=True)
    assert answer.redirect_chain == [("/dashboard/pools/chat/", 302)]
    assert "Disabled candidate a/m of chat." in answer.content.decode()


def test_the_way_back_never_leads_to_another_host(ada, gateway):
    answer = ada.post(URL, {"switch": f"off:{KEYS[2]}", "next": "https://evil.example/dashboard/"})
    assert answer["Location"] == "/dashboard/"


def test_only_operators_switch(people, gateway):
    data = {"switch": f"off:{KEYS[2]}"}
    statuses = {
        name: (client.get(URL, data).status_code, client.post(URL, data).status_code)
        for name, client in people.items()
    }
    assert statuses == {"ada": (200, 302), "ben": (403, 403), "mallory": (403, 403), "stranger": (302, 302)}
    assert "lacks “Can change pool candidate”" in people["ben"].get(URL, data).content.decode()
    assert RoutingRevision.objects.get().actor == "ada"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 400),
        ("off:", 400),
        ("sideways:provider/a", 400),
        ("off:nonsense/x", 400),
        ("off:provider/nobody", 400),
        ("on:pool_candidate/chat/a/other", 400),
    ],
)
def test_what_cannot_be_switched_keeps_its_status(ada, gateway, text, status):
    """T47: the service's own status and sentence."""
    assert ada.get(URL, {"switch": text}, headers=PART).status_code == status
    answer = ada.post(URL, {"switch": text, "reason": "x"}, headers=PART)
    assert (answer.status_code, answer["HX-Retarget"]) == (status, "#dialog")
    assert "Nothing was switched" in answer.content.decode()


def test_an_internal_error_is_not_dressed_up_as_the_operators(ada, gateway, monkeypatch):
    """T47."""

    def broken(**_):
        raise RuntimeError("disk full")

    monkeypatch.setattr("dashboard.switching.services.set_switch", broken)
    ada.raise_request_exception = False
    assert posted(ada, KEYS[2], "off").status_code == 500


def test_a_forged_post_is_refused(gateway, ada):
    ada.handler.enforce_csrf_checks = True
    assert ada.post(URL, {"switch": f"off:{KEYS[2]}"}).status_code == 403
    assert RoutingRevision.objects.count() == 0


def test_a_form_that_is_refused_says_that_nothing_was_changed(gateway, ada):
    ada.handler.enforce_csrf_checks = True
    answer = ada.post(URL, {"switch": f"off:{KEYS[2]}"})
    assert answer.status_code == 403
    assert "Nothing was changed" in answer.content.decode()


@pytest.mark.parametrize(
    ("headers", "back"),
    [
        ({"Referer": "http://testserver/dashboard/providers/?q=a"}, "/dashboard/providers/%3Fq%3Da"),
        ({"HX-Request": "true", "HX-Current-URL": "http://testserver/dashboard/"}, "/dashboard/"),
        ({"Referer": "https://elsewhere.example/dashboard/x"}, "/dashboard/"),
        ({}, "/dashboard/"),
    ],
)
def test_after_the_login_a_stranger_is_back_where_the_switch_is(people, gateway, headers, back):
    answer = people["stranger"].post(URL, {"switch": f"off:{KEYS[2]}"}, headers=headers)
    where = answer.headers.get("HX-Redirect") or answer["Location"]
    assert where == f"/admin/login/?next={back}"


def test_a_dialog_tells_the_worst_first_and_how_many_pools_there_are(ada, gateway):
    for provider in ("a", "c"):
        switch(f"pool_candidate/chat/{provider}/m")
    html = ada.get(URL, {"switch": "off:provider/b"}, headers=PART).content.decode()
    assert "Used by 2 pools:" in html
    assert re.findall(r"<span><b>([^<]+)</b>", html) == ["chat", "mixed"]
    assert html.index("Clients will get 503") < html.index("<b>mixed</b>")
