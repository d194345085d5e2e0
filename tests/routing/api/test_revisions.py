"""``/admin/routing/revisions``: the history."""

from __future__ import annotations

from base64 import b64encode

import pytest

from routing import models, queries
from routing.config_export import render
from tests.routing.api.conftest import VIEWER, person

HISTORY = "/admin/routing/revisions"
STATE = "/admin/routing-state"
pytestmark = pytest.mark.usefixtures("pools")


def error(response) -> tuple:
    found = response.json()["error"]
    return response.status_code, found["code"], found["param"]


@pytest.fixture
def history(ada):
    """East off, alias moved, east on."""
    east = {"kind": "provider", "provider_name": "east"}
    ada("PUT", STATE, {**east, "enabled": False, "reason": "broken"})
    ada("PATCH", "/admin/api/aliases/fast", {"target": "weighted"})
    ada("PUT", STATE, {**east, "enabled": True})
    return ada


def numbers(page: dict) -> list[int]:
    return [row["number"] for row in page["results"]]


def test_history_is_paged_newest_first(history):
    first = history.get(f"{HISTORY}?limit=2")
    second = history.get(first["next"])

    assert (numbers(first), numbers(second), second["next"]) == ([3, 2], [1], None)
    assert numbers(history.get(second["previous"])) == [3, 2]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("object=provider/east", [3, 1]),
        ("object=alias/fast", [2]),
        ("object=provider/eas", []),
        ("object=provider/EAST", []),
        ("object=provider%2Feast%25", []),
        ("actor=token%20ada", [3, 2, 1]),
        ("actor=nobody", []),
        ("source=api&limit=1", [3]),
        ("since=2100-01-01T00:00:00Z", []),
        ("until=2100-01-01T00:00:00Z", [3, 2, 1]),
    ],
)
def test_history_is_narrowed(history, query, expected):
    assert numbers(history.get(f"{HISTORY}?{query}")) == expected


@pytest.mark.parametrize(
    ("query", "param"), [("limit=0", "limit"), ("since=soon", "since"), ("who=ada", "who")]
)
def test_query_that_means_nothing_is_refused(ada, query, param):
    assert error(ada("GET", f"{HISTORY}?{query}")) == (400, "invalid_value", param)


def test_revision_tells_its_changes(history):
    shape = history.get(f"{HISTORY}/1")

    assert {name: shape[name] for name in shape if name != "created_at"} == {
        "number": 1,
        "actor": "token ada",
        "source": "api",
        "reason": "broken",
        "summary": "Disabled provider east",
        "changes": [
            {"object": "provider/east", "field": "enabled", "before": True, "after": False},
            {"object": "provider/east", "field": "switch_reason", "before": "", "after": "broken"},
            {"object": "provider/east", "field": "switch_set", "before": False, "after": True},
        ],
    }
    assert error(history("GET", f"{HISTORY}/99")) == (404, "revision_not_found", None)
    assert error(history("GET", f"{HISTORY}/{10**30}")) == (404, "revision_not_found", None)


def test_revert_undoes_by_a_new_revision(history):
    rehearsed = history("POST", f"{HISTORY}/2/revert?dry_run=true", {}).json()
    assert (rehearsed["dry_run"], models.RoutingRevision.objects.count()) == (True, 3)
    answer = history("POST", f"{HISTORY}/2/revert").json()

    assert answer == {
        "revision": 4,
        "changes": [{"object": "alias/fast", "field": "target", "before": "weighted", "after": "chat"}],
    }
    last = history.get(f"{HISTORY}/4")
    assert (last["reverts"], last["reason"]) == (2, "Undo revision 2.")
    assert history.get("/admin/api/aliases/fast")["target"] == "chat"


def test_revert_refuses_what_changed_since(history):
    answer = history("POST", f"{HISTORY}/1/revert", {})

    assert error(answer) == (409, "changed_since", None)
    assert {row["field"] for row in answer.json()["error"]["details"]} == {"enabled", "switch_reason"}
    assert error(history("POST", f"{HISTORY}/99/revert", {})) == (404, "revision_not_found", None)


def test_export_is_the_configuration_as_it_was(history):
    now = history("GET", f"{HISTORY}/3/export")
    before = history("GET", f"{HISTORY}/1/export")

    assert (now["Content-Type"], now["Content-Disposition"]) == (
        "application/yaml",
        'attachment; filename="gateway-revision-3.yaml"',
    )
    assert now.content.decode() == render(queries.read_document())
    assert "fast: chat" in before.content.decode()
    assert "fast: weighted" in now.content.decode()
    assert error(history("GET", f"{HISTORY}/9/export")) == (404, "revision_not_found", None)


@pytest.mark.parametrize("position", ["p=abc", "p=1e3", "p=1.5", f"p={'9' * 30}"])
def test_cursor_that_was_not_made_here_is_refused(history, position):
    cursor = b64encode(position.encode()).decode()
    assert error(history("GET", f"{HISTORY}?cursor={cursor}")) == (404, "not_found", None)


MAINTAINER = (*VIEWER, "change_modelpool", "change_provider")


@pytest.mark.parametrize(
    ("plural", "permission"), [("client-keys", "change_clientkey"), ("admin-tokens", "change_admintoken")]
)
def test_revert_of_a_revocation_needs_the_permission_to_change_keys(ada, plural, permission):
    made = ada("POST", f"/admin/api/{plural}", {"name": "app"}).json()
    ada("DELETE", f"/admin/api/{plural}/{made['id']}")
    refused = person("mona", *MAINTAINER)("POST", f"{HISTORY}/2/revert", {})
    assert error(refused) == (403, "permission_denied", None)
    assert ada.get(f"/admin/api/{plural}/{made['id']}")["enabled"] is False

    assert person("kim", *MAINTAINER, permission)("POST", f"{HISTORY}/2/revert", {}).status_code == 200
    assert ada.get(f"/admin/api/{plural}/{made['id']}")["enabled"] is True
