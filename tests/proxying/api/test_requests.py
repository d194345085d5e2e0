"""``/admin/requests``: the records of requests."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from routing import keys
from tests import factories

pytestmark = pytest.mark.django_db
RECORDS = "/admin/requests"


@pytest.fixture
def ask():
    secret = keys.make_admin_token().secret
    factories.AdminTokenFactory(secret=secret, read_only=True)
    client = Client(headers={"Authorization": f"Bearer {secret}", "Accept": "application/json"})
    return client.get


def ids(response) -> list[str]:
    return [row["request_id"] for row in response.json()["results"]]


def test_record_tells_the_whole_decision(ask):
    factories.RequestRecordFactory(
        request_id="r-1",
        decision_id="d-1",
        started_at=factories.NOW,
        blocked_candidates=[
            {"selector": "p/m", "status": "unhealthy_runtime", "reason": "Why.", "reasons": ["circuit_open"]}
        ],
        failover_used=True,
        fallback_target="east/x",
        config_primary="west/y",
        revision=7,
    )
    shape = ask(f"{RECORDS}/r-1").json()

    assert shape == ask(f"{RECORDS}/d-1").json() == ask(RECORDS).json()["results"][0]
    assert {name: shape[name] for name in ("decision_id", "started_at", "canonical_model", "strategy")} == {
        "decision_id": "d-1",
        "started_at": "2026-11-23T12:00:00Z",
        "canonical_model": "chat",
        "strategy": "priority_failover",
    }
    assert (shape["failover_used"], shape["fallback_target"], shape["config_primary"], shape["revision"]) == (
        True,
        "east/x",
        "west/y",
        7,
    )
    assert shape["blocked_candidates"][0]["reasons"] == ["circuit_open"]
    assert "id" not in shape


def test_unknown_record_is_said_so(ask):
    answer = ask(f"{RECORDS}/nothing/here")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "record_not_found")


def test_pages_do_not_shift_when_new_records_arrive(ask):
    for number in range(5):
        factories.RequestRecordFactory(request_id=f"r-{number}", started_at=factories.NOW)
    first = ask(f"{RECORDS}?limit=2")
    factories.RequestRecordFactory(request_id="new", started_at=factories.NOW + timedelta(days=1))
    second = ask(first.json()["next"])
    third = ask(second.json()["next"])

    assert [ids(page) for page in (first, second, third)] == [["r-4", "r-3"], ["r-2", "r-1"], ["r-0"]]
    assert third.json()["next"] is None
    assert ids(ask(third.json()["previous"])) == ["r-2", "r-1"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["c", "b", "a"]),
        ("canonical_model=chat", ["b", "a"]),
        ("requested_model=fast", ["c"]),
        ("provider=west", ["c"]),
        ("model=x", ["b", "a"]),
        ("status=200", ["b", "a"]),
        ("status=5xx", ["c"]),
        ("status=4xx", []),
        ("outcome=error", ["c"]),
        ("error_code=upstream_timeout", ["c"]),
        ("failover_used=true", ["b"]),
        ("failover_used=false", ["c", "a"]),
        ("streamed=true", ["a"]),
        ("affinity=hit", ["a"]),
        ("caller=app", ["a"]),
        ("caller_id=1", ["a"]),
        ("user_path=/team", ["b", "a"]),
        ("user_path=/team/a", ["a"]),
        ("user_path=/te", []),
        ("min_latency_ms=1000", ["c"]),
        ("min_attempts=2", ["b"]),
        ("since=2026-11-23T12:01:00Z", ["c", "b"]),
        ("until=2026-11-23T12:01:00Z", ["a"]),
        ("request_id=b", ["b"]),
        ("endpoint=embeddings", ["c"]),
        ("endpoint=chat_completions&status=200&failover_used=true", ["b"]),
    ],
)
def test_filters_narrow_together(ask, query, expected):
    factories.RequestRecordFactory(
        request_id="a",
        started_at=factories.NOW,
        streamed=True,
        affinity="hit",
        caller_id="1",
        caller_name="app",
        user_path="/team/a",
    )
    factories.RequestRecordFactory(
        request_id="b",
        started_at=factories.NOW + timedelta(minutes=1),
        failover_used=True,
        attempt_count=2,
        user_path="/team",
    )
    factories.RequestRecordFactory(
        request_id="c",
        started_at=factories.NOW + timedelta(minutes=2),
        requested_model="fast",
        canonical_model="weighted",
        selected_provider_name="west",
        selected_exact_model="y",
        status=504,
        outcome="error",
        error_code="upstream_timeout",
        latency_ms=5000,
        endpoint="embeddings",
    )

    assert ids(ask(f"{RECORDS}?{query}")) == expected


def test_name_that_was_used_last_long_ago_is_found_without_what_came_after(ask):
    before = factories.NOW - timedelta(days=30)
    made = factories.RequestRecordFactory
    made(request_id="first", canonical_model="old", started_at=before)
    made(request_id="meanwhile", started_at=before + timedelta(hours=1))
    made(request_id="slow", canonical_model="old", started_at=before + timedelta(minutes=1))
    later = made(request_id="later", started_at=before + timedelta(days=2))

    with CaptureQueriesContext(connection) as queries:
        found = ids(ask(RECORDS, {"canonical_model": "old"}))

    assert found == ["slow", "first"]
    asked = [one["sql"] for one in queries.captured_queries if '"request_id"' in one["sql"]]
    assert [f'"id" < {later.pk}' in sql for sql in asked] == [True]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("state=200", "state"),
        ("status=2", "status"),
        ("status=6xx", "status"),
        ("failover_used=maybe", "failover_used"),
        ("limit=1000", "limit"),
        ("since=yesterday", "since"),
        ("min_latency_ms=inf", "min_latency_ms"),
    ],
)
def test_filter_that_means_nothing_is_refused(ask, query, param):
    answer = ask(f"{RECORDS}?{query}")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_cursor_that_is_none_is_refused(ask):
    assert ask(f"{RECORDS}?cursor=nonsense").json()["error"]["code"] == "not_found"


def test_records_need_their_own_permission():
    user = User.objects.create_user("vera", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_modelpool"))
    client = Client()
    client.force_login(user)
    refused = client.get(RECORDS, headers={"Accept": "application/json"})
    user.user_permissions.add(Permission.objects.get(codename="view_requestrecord"))

    assert refused.status_code == 403
    assert client.get(RECORDS, headers={"Accept": "application/json"}).status_code == 200
