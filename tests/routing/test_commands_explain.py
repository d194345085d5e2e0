from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command

from routing import models
from tests.routing.api.conftest import _clean, ada, pools  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("pools")


def told(capsys, *arguments: str) -> str:
    call_command("explain_route", *arguments)
    return capsys.readouterr().out


def test_explanation_for_people(capsys):
    models.Provider.objects.filter(name="east").update(enabled=False, switch_reason="maintenance")
    text = told(capsys, "fast", "--assume", "west/y=timeout")

    assert text.splitlines()[:11] == [
        "fast: the client would get 504 upstream_timeout.",
        "",
        "  1. alias 'fast' → 'chat'",
        "  2. pool 'chat'",
        "  3. west/y is the only candidate that can be used.",
        "",
        "Candidates of chat (degraded):",
        "  1.  west/y  enabled            priority 2, weight 6",
        "  -   east/x  disabled_manual    priority 1, weight 10, config primary",
        "      provider_disabled: The provider east is switched off: maintenance",
        "",
    ]
    assert "  west/y: timeout (assumed), fails over" in text
    assert "Affinity: none   revision: 0   listed in /v1/models: yes" in text
    assert "Seen from the database and the shared cache" in text


def test_json_is_the_answer_of_the_api(capsys, ada):  # noqa: F811
    text = told(capsys, "weighted", "--json", "--assume", "east/x=429")
    answer = ada(
        "POST",
        "/admin/routing/explain",
        {"model": "weighted", "assume": [{"candidate": "east/x", "status": 429}]},
    ).json()
    shown = json.loads(text)
    for one in (shown, answer):
        del one["decision"]["decision_id"]

    assert shown == answer


def test_unknown_name_suggests_others(capsys):
    text = told(capsys, "chatt")

    assert text.startswith("chatt: the client would get 404 model_not_found: ")
    assert "Did you mean: chat?" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("chat", "--assume", "north/x=429"), "'chat' has no candidate 'north/x'; it has east/x, west/y."),
        (("chat", "--key", "99"), "There is no client key 99."),
        (("chat", "--assume", "east/x"), "is not of the form provider/model=429"),
        (("chat", "--assume", "east/x=soon"), "is neither a status"),
    ],
)
def test_question_about_nothing_is_refused(arguments, message):
    with pytest.raises(CommandError, match=message):
        call_command("explain_route", *arguments)


def test_nothing_is_written(capsys, django_assert_max_num_queries):
    with django_assert_max_num_queries(12) as captured:
        told(capsys, "weighted")

    assert [
        query["sql"] for query in captured if not query["sql"].startswith(("SELECT", "SAVEPOINT", "RELEASE"))
    ] == []
