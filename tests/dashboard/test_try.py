"""The page that explains what a request would get."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches

from routing.models import RoutingRevision
from tests import factories
from tests.dashboard.conftest import switch
from tests.people import signed_in

pytestmark = pytest.mark.django_db
URL = "/dashboard/try/"
PART = {"HX-Request": "true"}


def asked(client, model="chat", **query):
    return client.get(URL, {"model": model, **query}).context


def test_page_is_for_those_who_may_look(people, gateway):
    assert {name: client.get(URL, {"model": "chat"}).status_code for name, client in people.items()} == {
        "ada": 200,
        "ben": 200,
        "mallory": 403,
        "stranger": 302,
    }


def test_the_answer_is_the_decision_with_every_candidate(ada, gateway):
    switch("pool_candidate/chat/a/m")
    answer = asked(ada)["answer"]
    assert answer["outcome"] == {"status": 200, "served_by": "b/m"}
    assert [(one["selector"], one["order"], one["status"]) for one in answer["candidates"]] == [
        ("a/m", None, "disabled_manual"),
        ("b/m", 1, "enabled"),
        ("c/m", 2, "enabled"),
    ]
    html = ada.get(URL, {"model": "chat"}, headers=PART).content.decode()
    assert "200 from b/m" in html
    assert "The candidate is switched off: GPU swap" in html


def test_pretended_failures_show_who_comes_next(ada, gateway):
    context = asked(ada, assume=["a/m=503", "b/m=timeout", ""])
    attempts = context["answer"]["decision"]["attempts"]
    assert [(one["candidate"], one["assumed"]) for one in attempts] == [
        ("a/m", True),
        ("b/m", True),
        ("c/m", False),
    ]
    assert context["assumed"] == {"a/m": "503", "b/m": "timeout"}
    html = ada.get(URL, {"model": "chat", "assume": ["a/m=503"]}, headers=PART).content.decode()
    assert re.findall(r'<option value="([^"]+)" selected>', html) == ["a/m=503"]


def test_asking_changes_nothing(ada, gateway):
    """T2: no ticket is taken and no pin written."""
    seen = [asked(ada, "mixed", session_id="s")["answer"]["decision"]["order"] for _ in range(3)]
    assert seen[0] == seen[1] == seen[2]
    assert RoutingRevision.objects.count() == 0
    assert (len(caches["tickets"]._cache), len(caches["pins"]._cache)) == (0, 0)


def test_an_unknown_name_gets_suggestions(ada, gateway):
    context = asked(ada, "chatt")
    assert (context["answer"]["outcome"]["status"], context["answer"]["suggestions"]) == (404, ["chat"])
    assert "Did you mean" in ada.get(URL, {"model": "chatt"}, headers=PART).content.decode()


@pytest.mark.parametrize("assume", ["x/y=503", "a/m=whatever", "nonsense", "a/m=99"])
def test_what_cannot_be_pretended_is_said(ada, gateway, assume):
    context = asked(ada, assume=[assume])
    assert context["answer"] is None
    assert context["problem"]


def test_a_client_key_narrows_and_is_only_for_those_who_may_see_keys(ada, gateway):
    key = factories.ClientKeyFactory(name="narrow", models=["other"])
    assert asked(ada, api_key_id=str(key.pk))["answer"]["outcome"]["status"] == 403
    assert "There is no client key 999" in asked(ada, api_key_id="999")["problem"]
    user = User.objects.get(username="ada")
    user.user_permissions.remove(*user.user_permissions.filter(codename="view_clientkey"))
    context = asked(signed_in(User.objects.get(pk=user.pk)), api_key_id=str(key.pk))
    assert (context["keys"], context["answer"]["outcome"]["status"]) == (None, 200)


def test_without_a_question_the_page_says_what_it_does(ada, gateway):
    assert "nothing is sent, counted or stored." in ada.get(URL).content.decode()
