"""``/admin/routing-state``: switches."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from routing import models, services, snapshot
from routing.types import Switch
from tests import factories
from tests.routing.api.conftest import Script, person

STATE = "/admin/routing-state"
EAST = {"kind": "provider", "provider_name": "east"}
CHAT = {"kind": "canonical_model", "canonical_model": "chat"}
PAIR = {"kind": "pool_candidate", "canonical_model": "chat", "provider_name": "east", "model": "x"}
pytestmark = pytest.mark.usefixtures("pools")


def put(ask: Script, body: dict, query: str = "", **fields):
    return ask("PUT", f"{STATE}{query}", {**body, **fields})


def error(response) -> tuple:
    found = response.json()["error"]
    return response.status_code, found["code"], found["param"]


def test_nothing_is_listed_that_nobody_set(ada):
    assert ada.get(STATE) == []


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (EAST, "provider/east"),
        (CHAT, "canonical_model/chat"),
        (PAIR, "pool_candidate/chat/east/x"),
    ],
)
@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_put_answers_the_stored_entry(ada, body, key, spelling):
    """T18, T19: the key is derived, and the entry is that of the list, however kind is written."""
    answer = put(ada, {**body, "kind": spelling(body["kind"])}, enabled=False, reason="maintenance")
    entry = answer.json()
    warnings = entry.pop("warnings", None)

    assert answer.status_code == 200
    assert entry == {
        "key": key,
        **body,
        "enabled": False,
        "reason": "maintenance",
        "created_at": entry["created_at"],
        "updated_at": entry["created_at"],
        "updated_by": "token ada",
    }
    assert ada.get(STATE) == [entry]
    assert (
        warnings
        == {
            "provider/east": [
                "chat has one selectable candidate left.",
                "weighted has one selectable candidate left.",
            ],
            "canonical_model/chat": ["chat has no selectable candidate left."],
            "pool_candidate/chat/east/x": ["chat has one selectable candidate left."],
        }[key]
    )


def test_key_of_the_caller_is_refused(ada):
    """T18: the key is always derived."""
    assert error(put(ada, EAST, enabled=False, key="provider/west")) == (400, "invalid_value", "key")
    assert ada.get(STATE) == []


def test_switch_of_a_pair_belongs_to_its_pool(ada):
    """T16: the same pair in another pool is untouched."""
    put(ada, PAIR, enabled=False)

    entries = {entry["key"]: entry["effective_enabled"] for entry in ada.get(f"{STATE}?include=all")}
    assert entries["pool_candidate/chat/east/x"] is False
    assert entries["pool_candidate/weighted/east/x"] is True


def test_names_of_different_kinds_do_not_collide(ada):
    """T17: a provider and a pool of one name, and names with slashes, have their own switches."""
    pool = factories.ModelPoolFactory(canonical_model="east")
    slashed = factories.ModelPoolFactory(canonical_model="east/x y%")
    for one in (pool, slashed):
        factories.PoolCandidateFactory(
            pool=one, provider=models.Provider.objects.get(name="west"), model="x/y"
        )
    put(ada, EAST, enabled=False)
    put(ada, {"kind": "canonical_model", "canonical_model": "east"}, enabled=False)
    put(
        ada,
        {"kind": "pool_candidate", "canonical_model": "east/x y%", "provider_name": "west", "model": "x/y"},
        enabled=False,
        confirm=["east/x y%"],
    )

    assert [entry["key"] for entry in ada.get(STATE)] == [
        "canonical_model/east",
        "pool_candidate/east%2Fx%20y%25/west/x%2Fy",
        "provider/east",
    ]
    assert ada("DELETE", STATE, {"key": "canonical_model/east"}).status_code == 204
    assert ada("DELETE", STATE, {"key": "pool_candidate/east%2Fx%20y%25/west/x%2Fy"}).status_code == 204
    assert [entry["key"] for entry in ada.get(STATE)] == ["provider/east"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({**EAST, "provider_name": "north"}, (400, "invalid_value", "provider_name")),
        ({"kind": "provider"}, (400, "invalid_value", "provider_name")),
        ({**CHAT, "canonical_model": "CHAT"}, (400, "invalid_value", "canonical_model")),
        ({**PAIR, "model": "y"}, (400, "invalid_value", "model")),
        ({**PAIR, "canonical_model": "nothing"}, (400, "invalid_value", "canonical_model")),
        (
            {"kind": "pool_candidate", "provider_name": "east", "model": "x"},
            (400, "ambiguous_candidate", "canonical_model"),
        ),
        ({"kind": "model"}, (400, "invalid_value", "kind")),
        ({**EAST, "enabeld": False}, (400, "invalid_value", "enabeld")),
        ({**EAST, "expires_at": "2020-01-01T00:00:00Z"}, (400, "invalid_value", "expires_at")),
        ({**EAST, "expires_at": "soon"}, (400, "invalid_value", "expires_at")),
        ({**EAST, "expires_in_s": -1}, (400, "invalid_value", "expires_in_s")),
        ({**EAST, "expires_in_s": 1e300}, (400, "invalid_value", "expires_in_s")),
        ({**EAST, "expires_in_s": True}, (400, "invalid_value", "expires_in_s")),
        ({**EAST, "expires_in_s": "1_0"}, (400, "invalid_value", "expires_in_s")),
        ({**EAST, "model": "x"}, (400, "invalid_value", "model")),
        ({**EAST, "kind": "Provider", "canonical_model": "chat"}, (400, "invalid_value", "canonical_model")),
        ({**CHAT, "provider_name": "east"}, (400, "invalid_value", "provider_name")),
        ({**EAST, "expected_revision": 99}, (400, "invalid_value", "expected_revision")),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(ada, body, expected):
    """T24: nothing is stored about names that do not exist."""
    assert error(put(ada, {"enabled": False, **body})) == expected
    assert (ada.get(STATE), models.RoutingRevision.objects.count()) == ([], 0)


@pytest.mark.parametrize("value", [None, "false", 0, "", [], {}])
def test_enabled_must_be_said_as_a_boolean(ada, value):
    assert error(put(ada, EAST, enabled=value)) == (400, "invalid_value", "enabled")


def test_enabled_is_required(ada):
    assert error(put(ada, EAST)) == (400, "invalid_value", "enabled")


def test_ambiguous_pair_names_its_pools(ada):
    answer = put(ada, {"kind": "pool_candidate", "provider_name": "east", "model": "x"}, enabled=False)

    assert "chat, weighted" in answer.json()["error"]["message"]


def test_pair_in_one_pool_needs_no_pool(ada):
    models.ModelPool.objects.get(canonical_model="weighted").delete()
    answer = put(ada, {"kind": "pool_candidate", "provider_name": "east", "model": "x"}, enabled=False)

    assert answer.json()["key"] == "pool_candidate/chat/east/x"


def test_provider_is_off_everywhere(ada):
    """T23, T16: in pools, exact names and aliases; and it counts as disabled."""
    put(ada, EAST, enabled=False)

    asked = {
        name: ada("POST", "/admin/routing/explain", {"model": name}).json()
        for name in ("chat", "fast", "east/x")
    }
    assert asked["chat"]["decision"]["order"] == asked["fast"]["decision"]["order"] == ["west/y"]
    assert asked["east/x"]["outcome"]["status"] in {403, 404}
    status = ada.get("/admin/providers/status")
    assert (status["summary"]["disabled"], status["providers"][0]["status"]) == (1, "disabled")


def test_second_switch_that_would_empty_pools_needs_confirmation(ada):
    put(ada, EAST, enabled=False)
    west = {"kind": "provider", "provider_name": "west", "enabled": False}
    refused = put(ada, west)
    half = put(ada, west, confirm=["chat"])

    assert error(refused) == (409, "would_empty_pool", "confirm")
    assert refused.json()["error"]["pools"] == ["chat", "weighted"]
    assert half.json()["error"]["pools"] == ["weighted"]
    assert put(ada, west, "?confirm=chat&confirm=weighted").json()["warnings"] == [
        "chat has no selectable candidate left.",
        "weighted has no selectable candidate left.",
    ]


def test_dry_run_tells_the_impact_and_writes_nothing(ada):
    answer = put(ada, CHAT, "?dry_run=true", enabled=False)

    assert answer.json() == {
        "dry_run": True,
        "impact": {
            "pools": [
                {
                    "canonical_model": "chat",
                    "selectable_before": 2,
                    "selectable_after": 0,
                    "status_after": "disabled_manual",
                    "effective_before": "east/x",
                    "effective_after": None,
                }
            ],
            "models_leaving": ["chat", "fast"],
            "models_joining": [],
        },
    }
    assert (ada.get(STATE), models.RoutingRevision.objects.count()) == ([], 0)
    assert put(ada, CHAT, enabled=False, dry_run=True).json() == answer.json()


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("dry_run", "dry_run"),
        ("dry_run=", "dry_run"),
        ("dry_run=1", "dry_run"),
        ("expected_revision=", "expected_revision"),
        ("confirm", "confirm"),
    ],
)
def test_word_of_the_query_without_its_value_writes_nothing(ada, query, param):
    for answer in (put(ada, CHAT, f"?{query}", enabled=False), ada("DELETE", f"{STATE}?key=a&{query}")):
        assert error(answer) == (400, "invalid_value", param)
    assert ada.get(STATE) == []


def test_dry_run_of_the_query_holds_whatever_the_body_says(ada):
    answer = put(ada, CHAT, "?dry_run=true", enabled=False, dry_run=False)
    assert (answer.status_code, answer.json()["dry_run"], ada.get(STATE)) == (200, True, [])


def test_stale_write_conflicts_only_about_the_same_object(ada):
    first = put(ada, EAST, enabled=False)
    revision = int(first["X-Gateway-Revision"])
    put(ada, EAST, enabled=True)

    assert error(put(ada, EAST, enabled=False, expected_revision=revision)) == (
        409,
        "stale_revision",
        "expected_revision",
    )
    assert put(ada, CHAT, enabled=False, expected_revision=revision).status_code == 200
    assert put(ada, EAST, enabled=False, expected_revision=revision + 2).status_code == 200


def test_repeating_a_switch_changes_nothing(ada):
    """T20: updated_at moves only when something changed, and there is no second revision."""
    first = put(ada, EAST, enabled=False, reason="r").json()
    second = put(ada, EAST, enabled=False, reason="r").json()

    assert second["updated_at"] == first["updated_at"]
    assert models.RoutingRevision.objects.count() == 1


@pytest.mark.parametrize(
    "expiry", [{"expires_in_s": 60}, {"expires_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}]
)
def test_timed_switch_counts_as_before_once_it_is_over(ada, time_passes, expiry):
    entry = put(ada, EAST, enabled=False, **expiry).json()
    assert entry["expires_at"] > entry["created_at"]

    time_passes()

    entries = {one["key"]: one for one in ada.get(f"{STATE}?include=all")}
    assert (entries["provider/east"]["enabled"], entries["provider/east"]["effective_enabled"]) == (
        True,
        True,
    )
    assert entries["pool_candidate/chat/east/x"]["effective_enabled"] is True
    assert services.expire_due_switches() == 1
    assert ada.get(STATE) == []


@pytest.fixture
def time_passes():
    """Let every timed switch be over."""

    def pass_by() -> None:
        models.Provider.objects.filter(switch_expires_at__isnull=False).update(
            switch_expires_at=datetime.now(UTC) - timedelta(seconds=1)
        )

    return pass_by


def test_timed_switch_that_changes_nothing_is_refused(ada):
    assert error(put(ada, EAST, enabled=True, expires_in_s=60)) == (400, "invalid_value", "expires_at")


@pytest.mark.parametrize("where", ["body", "query"])
def test_delete_goes_back_to_the_default(ada, where):
    put(ada, EAST, enabled=False)
    answer = (
        ada("DELETE", STATE, {"key": "provider/east"})
        if where == "body"
        else ada("DELETE", f"{STATE}?key=provider/east")
    )

    assert (answer.status_code, answer.content) == (204, b"")
    assert ada.get(STATE) == []
    assert [row["summary"] for row in ada.get("/admin/routing/revisions")["results"]] == [
        "Enabled provider east",
        "Disabled provider east",
    ]


def test_delete_needs_a_key_that_is_set(ada):
    assert error(ada("DELETE", STATE)) == (400, "invalid_value", "key")
    assert error(ada("DELETE", STATE, {"key": "provider/east"})) == (404, "switch_not_found", "key")
    assert error(ada("DELETE", f"{STATE}?key=provider/north"))[:2] == (404, "switch_not_found")
    assert error(ada("DELETE", f"{STATE}?key=nonsense"))[:2] == (404, "switch_not_found")


def test_delete_dry_run_tells_the_impact(ada):
    put(ada, CHAT, enabled=False)
    answer = ada("DELETE", f"{STATE}?key=canonical_model/chat&dry_run=true")

    assert answer.json()["impact"]["models_joining"] == ["chat", "fast"]
    assert len(ada.get(STATE)) == 1


def test_include_all_has_no_instants_for_what_nobody_set(ada):
    entry = next(one for one in ada.get(f"{STATE}?include=all") if one["key"] == "provider/east")

    assert entry == {
        "key": "provider/east",
        "kind": "provider",
        "provider_name": "east",
        "enabled": True,
        "created_at": None,
        "updated_at": None,
        "updated_by": None,
        "effective_enabled": True,
    }


def test_unknown_query_is_refused(ada):
    assert error(ada("GET", f"{STATE}?includes=all")) == (400, "invalid_value", "includes")


def test_html_form_asks_for_an_explicit_choice(db):
    """An unticked box would post False; the form has a choice of on and off instead."""
    root = person("root", is_superuser=True)
    page = root.client.get(STATE, headers={"Accept": "text/html"}).content.decode()
    fields = re.findall(r'<(select|input)[^>]*name="enabled"[^>]*>', page)

    assert fields == ["select"]
    for name in ("enabled", "dry_run"):
        options = re.findall(r'<option value="(\w*)"', page.split(f'name="{name}"')[1])
        assert options[:3] == ["", "True", "False"]

    blank = {"confirm": "", "expected_revision": "", "dry_run": "", "expires_at": "", "expires_in_s": ""}
    form = {**blank, "kind": "provider", "provider_name": "east", "canonical_model": "", "model": ""}
    put_form = {"path": STATE, "content_type": MULTIPART_CONTENT}
    sent = root.client.put(data=encode_multipart(BOUNDARY, {**form, "enabled": "False"}), **put_form)
    silent = root.client.put(data=encode_multipart(BOUNDARY, {**form, "enabled": ""}), **put_form)
    assert (sent.status_code, sent.json()["enabled"], sent.json()["updated_by"]) == (200, False, "root")
    assert error(silent) == (400, "invalid_value", "enabled")


@pytest.mark.parametrize("how", ["api", "service"])
def test_switch_shows_everywhere_at_once(ada, how, django_capture_on_commit_callbacks):
    """Through the API, or where admin, dashboard and commands set it: all that shows it shows it."""
    snapshot.refresh()
    with django_capture_on_commit_callbacks(execute=True):
        if how == "api":
            put(ada, PAIR, enabled=False, reason="why")
        else:
            services.set_switch(
                target=services.SwitchTarget("pool_candidate", "east", "chat", "x"),
                enabled=False,
                actor=services.Actor("ada"),
                source="admin",
                reason="why",
            )
    state = ada.get(STATE)
    pool = ada.get("/admin/routing/model-pools")[0]
    decision = ada("POST", "/admin/routing/explain", {"model": "chat"}).json()["decision"]
    switch = next(c for c in snapshot.current().pools["chat"].candidates if c.provider == "east").switch

    assert [(entry["key"], entry["reason"]) for entry in state] == [("pool_candidate/chat/east/x", "why")]
    assert (pool["effective_candidate"], pool["blocked_candidates"]) == (
        "west/y",
        [
            {
                "selector": "east/x",
                "status": "disabled_manual",
                "reason": "The candidate is switched off: why",
                "reasons": ["candidate_disabled"],
            }
        ],
    )
    assert decision["order"] == ["west/y"]
    assert (switch.enabled, switch.reason) == (False, "why")
    assert isinstance(switch, Switch)
