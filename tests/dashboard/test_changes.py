"""The feed of revisions and the undo."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from routing import services
from routing.models import ClientKey, PoolCandidate, RoutingRevision
from tests.dashboard.conftest import switch
from tests.people import look, reader, signed_in

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}
KEY = "pool_candidate/chat/a/m"
URL = "/dashboard/changes/"
BY_CAROL = {"actor": services.Actor("carol"), "source": "api"}


def test_feed_says_who_when_via_what_and_why(ada, gateway):
    switch(KEY)
    entry = ada.get(URL).context["entries"][0]
    assert (entry.revision.actor, entry.revision.source, entry.revision.reason) == (
        "carol",
        "api",
        "GPU swap",
    )
    assert [(line.sign, line.object, line.field, line.before, line.after) for line in entry.lines] == [
        ("~", "candidate a/m of chat", "enabled", "true", "false"),
        ("~", "candidate a/m of chat", "reason", "(nothing)", "GPU swap"),
    ]
    assert (entry.pools, entry.can_undo, entry.undone_by) == (("chat",), True, None)


def test_undo_writes_a_new_change(ada, gateway):
    switch(KEY)
    answer = ada.post(f"{URL}1/undo/", headers=PART)
    assert (answer.status_code, answer["HX-Retarget"]) == (200, "#toasts")
    revision = RoutingRevision.objects.get(number=2)
    assert (revision.actor, revision.source, revision.reason, revision.reverts) == (
        "ada",
        "dashboard",
        "Undo revision 1.",
        1,
    )
    assert PoolCandidate.objects.get(pool=gateway, provider__name="a").enabled is True
    entries = ada.get(URL).context["entries"]
    assert [(entry.revision.number, entry.undone_by, entry.can_undo) for entry in entries] == [
        (2, None, True),
        (1, 2, False),
    ]


def test_undo_of_what_was_changed_again_shows_both_values(ada, gateway):
    switch(KEY)
    switch(KEY, reason="another")
    answer = ada.post(f"{URL}1/undo/", headers=PART)
    html = answer.content.decode()
    assert (answer.status_code, answer["HX-Retarget"]) == (409, "#dialog")
    assert "GPU swap" in html
    assert "another" in html


def test_undo_that_empties_a_pool_asks_first(ada, gateway):
    for key in ("provider/a", "provider/b"):
        switch(key, confirm=True)
    switch("provider/a", enabled=True)
    answer = ada.post(f"{URL}3/undo/", headers=PART)
    assert (answer.status_code, answer.context["pools"]) == (409, ("mixed",))
    assert ada.post(f"{URL}3/undo/", {"confirm": ["mixed"]}, headers=PART).status_code == 200


def test_undo_without_scripts_leads_back_to_the_feed(ada, gateway):
    switch(KEY)
    answer = ada.post(f"{URL}1/undo/", follow=True)
    assert answer.redirect_chain == [(URL, 302)]
    assert "Undid revision 1." in answer.content.decode()


def test_undo_of_nothing_is_404(ada, gateway):
    assert ada.post(f"{URL}7/undo/", headers=PART).status_code == 404


def test_only_operators_undo_and_all_who_may_look_see_the_feed(people, gateway):
    switch(KEY)
    assert {name: client.get(URL).status_code for name, client in people.items()} == {
        "ada": 200,
        "ben": 200,
        "mallory": 403,
        "stranger": 302,
    }
    undone = {
        name: people[name].post(f"{URL}1/undo/").status_code for name in ("ben", "mallory", "stranger", "ada")
    }
    assert undone == {"ben": 403, "mallory": 403, "stranger": 302, "ada": 302}
    assert people["ada"].get(f"{URL}1/undo/").status_code == 405


def test_who_may_only_switch_undoes_switches_and_nothing_else(gateway):
    olga = signed_in(reader())
    look(User.objects.get(), "change_poolcandidate")
    mona = signed_in(User.objects.create_user("mona", is_staff=True))
    look(User.objects.get(username="mona"), "change_poolcandidate", "change_modelpool", "change_provider")
    key, _ = services.create_client_key(values={"name": "app"}, **BY_CAROL)
    services.revoke_client_key(key_id=key.pk, **BY_CAROL)
    services.save_provider(name="c", values={"max_in_flight": 4}, **BY_CAROL)
    switch(KEY)

    shown = {entry.revision.number: not entry.why_not for entry in olga.get(URL).context["entries"]}
    assert shown == {4: True, 3: False, 2: False, 1: False}
    refused = olga.post(f"{URL}2/undo/", headers=PART)
    assert (refused.status_code, refused["HX-Retarget"]) == (403, "#dialog")
    assert "Can change provider" in refused.content.decode()
    assert {number: olga.post(f"{URL}{number}/undo/").status_code for number in (4, 3, 2)} == {
        4: 302,
        3: 403,
        2: 403,
    }
    assert {number: mona.post(f"{URL}{number}/undo/").status_code for number in (3, 2)} == {3: 302, 2: 403}
    assert ClientKey.objects.get().enabled is False


def test_feed_is_paged_and_filtered(ada, gateway):
    for number in range(60):
        services.save_alias(
            name=f"alias-{number:02}", target="chat", actor=services.Actor("ada"), source="admin"
        )
    first = ada.get(URL)
    assert [entry.revision.number for entry in first.context["entries"]] == list(range(60, 10, -1))
    second = ada.get(URL, {"before": first.context["older"]})
    assert [entry.revision.number for entry in second.context["entries"]] == list(range(10, 0, -1))
    assert [entry.revision.number for entry in ada.get(URL, {"q": "alias-07"}).context["entries"]] == [8]
    assert [entry.revision.number for entry in ada.get(URL, {"q": "alias\0-07"}).context["entries"]] == [8]
    assert ada.get(URL, {"before": "x"}).context["entries"][0].revision.number == 60


def test_feed_without_changes_tells_the_next_step(ada):
    assert "import_config" in ada.get(URL).content.decode()


def test_feed_costs_the_same_whatever_it_shows(ada, gateway, django_assert_num_queries):
    # Session, user, two of permissions, revisions, undone.
    switch(KEY)
    with django_assert_num_queries(6):
        ada.get(URL)
    for number in range(10):
        services.save_alias(
            name=f"alias-{number}", target="chat", actor=services.Actor("ada"), source="admin"
        )
    with django_assert_num_queries(6):
        ada.get(URL)
