"""The list of requests and the page of one."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from django.contrib.auth.models import User
from django.db import connection

from dashboard import record_queries
from dashboard.traces import waterfall
from proxying.models import RequestRecord
from tests.factories import NOW
from tests.people import signed_in

pytestmark = pytest.mark.django_db
URL = "/dashboard/requests/"
PART = {"HX-Request": "true"}
numbers = count(1)


def attempt(provider, *, after_ms=0.0, latency_ms=100.0, status=200, error=None):
    started_at = NOW.timestamp() + after_ms / 1000
    return {
        "provider": provider,
        "model": "m",
        "started_at": started_at,
        "latency_ms": latency_ms,
        "status": status,
        "error": error,
    }


def record(**values):
    number = next(numbers)
    given = {
        "request_id": f"req-{number}",
        "decision_id": f"{number:032x}",
        "started_at": NOW,
        "endpoint": "chat_completions",
        "requested_model": "chat",
        "canonical_model": "chat",
        "strategy": "priority_failover",
        "selected_provider_name": "a",
        "selected_exact_model": "m",
        "attempts": [attempt("a")],
        "attempt_count": 1,
        "status": 200,
        "outcome": "ok",
        "latency_ms": 500.0,
        **values,
    }
    return RequestRecord.objects.create(**given)


def failover():
    return record(
        attempts=[
            attempt("a", after_ms=5, latency_ms=812, status=503, error="503 overloaded_error: busy"),
            attempt("b", after_ms=820, latency_ms=390, status=200),
        ],
        attempt_count=2,
        failover_used=True,
        fallback_target="b/m",
        selected_provider_name="b",
        streamed=True,
        latency_ms=3420.0,
        first_content_ms=1210.0,
        prompt_tokens=12,
        completion_tokens=34,
        cost_microusd=1_234,
        affinity="miss",
        caller_name="demo",
        config_primary="a/m",
        effective_candidate="a/m",
        blocked_candidates=[
            {
                "selector": "c/m",
                "status": "disabled_manual",
                "reason": "Off.",
                "reasons": ["candidate_disabled"],
            }
        ],
    )


def shown(client, **query):
    return [trace.record.pk for trace in client.get(URL, query).context["traces"]]


def test_pages_are_for_those_who_may_see_records(people):
    row = record()
    paths = (URL, f"{URL}{row.decision_id}/")
    assert {name: [client.get(path).status_code for path in paths] for name, client in people.items()} == {
        "ada": [200, 200],
        "ben": [200, 200],
        "mallory": [403, 403],
        "stranger": [302, 302],
    }


def test_who_sees_pools_needs_a_permission_more_for_records(ben):
    user = User.objects.get(username="ben")
    user.user_permissions.remove(*user.user_permissions.filter(codename="view_requestrecord"))
    answer = signed_in(User.objects.get(pk=user.pk)).get(URL)
    assert answer.status_code == 403
    assert "lacks “Can view request record”" in answer.content.decode()


def test_a_row_has_a_pip_per_attempt_and_a_word(ada):
    failover()
    record(outcome="error", status=404, attempts=[], attempt_count=0, error_code="model_not_found")
    record(outcome="client_gone", status=499)
    found = ada.get(URL).context["traces"]
    assert [(trace.mark.word, trace.pips) for trace in found] == [
        ("Client gone", ("ok",)),
        ("Refused", ()),
        ("OK after failover", ("bad", "ok")),
    ]
    assert (found[2].served, found[2].tokens) == ("b/m", "12 → 34")


def test_unknown_numbers_are_a_dash_not_zero(ada):
    record()
    html = ada.get(URL, headers=PART).content.decode()
    assert '<td class="num" data-label="first content">–</td>' in html
    assert '<td class="num" data-label="tokens">–</td>' in html
    assert '<td class="num" data-label="cost">–</td>' in html


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, "fxe"),
        ({"model": "chat"}, "fe"),
        ({"model": "a/m"}, "x"),
        ({"model": "a\0/m"}, "x"),
        ({"provider": "b"}, "f"),
        ({"status": "5xx"}, "e"),
        ({"status": "502"}, "e"),
        ({"status": "nonsense"}, "fxe"),
        ({"outcome": "ok"}, "fx"),
        ({"caller": "demo"}, "f"),
        ({"failover": "1"}, "f"),
        ({"id": "req-x"}, "x"),
        ({"since": "1h"}, ""),
        ({"model": "chat", "outcome": "error"}, "e"),
    ],
)
def test_filters_are_in_the_url(ada, query, names):
    rows = {
        "e": record(outcome="error", status=502),
        "x": record(canonical_model="", requested_model="a/m", request_id="req-x"),
        "f": failover(),
    }
    assert shown(ada, **query) == [rows[name].pk for name in names]


def test_pages_follow_the_cursor_and_miss_no_row_of_one_instant(ada):
    rows = [record(started_at=NOW - timedelta(seconds=number // 30)) for number in range(120)]
    expected = [row.pk for row in sorted(rows, key=lambda row: (row.started_at, row.pk), reverse=True)]
    found, query = [], ""
    for _ in range(3):
        answer = ada.get(f"{URL}?{query}")
        found += [trace.record.pk for trace in answer.context["traces"]]
        query = answer.context["older"]
    assert (found, query) == (expected, "")


def test_list_costs_one_query_and_uses_an_index(ada, django_assert_num_queries):
    for _ in range(60):
        record()
    # Session, user, two of permissions, the page; on PostgreSQL within a transaction and a time limit.
    with django_assert_num_queries(5 if connection.vendor == "sqlite" else 9) as found:
        ada.get(URL, {"provider": "a"})
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + found.captured_queries[-1]["sql"])
            plan = " ".join(row[3] for row in cursor.fetchall())
        assert "record_by_provider" in plan
        # Only rows of one instant are sorted.
        assert "TEMP B-TREE" not in plan.replace("TEMP B-TREE FOR RIGHT PART", "")


def test_pools_and_exact_names_are_one_list(ada):
    rows = [
        record(canonical_model="x/y", started_at=NOW),
        record(canonical_model="", requested_model="x/y", started_at=NOW + timedelta(seconds=1)),
        record(canonical_model="x/y", started_at=NOW + timedelta(seconds=2)),
    ]
    record(canonical_model="other", requested_model="x/y")
    assert shown(ada, model="x/y") == [row.pk for row in reversed(rows)]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_search_that_takes_too_long_is_given_up_and_leaves_nothing_behind(ada, monkeypatch):
    record()
    slow = RequestRecord.objects.extra(where=["pg_sleep(0.2) IS NOT NULL"])
    assert record_queries._within(20, slow) is None
    assert len(record_queries._within(5_000, slow)) == 1
    assert len(list(slow)) == 1
    monkeypatch.setattr(record_queries, "WALK_MS", 20)
    assert len(record_queries._first(slow, 1)) == 1
    monkeypatch.setattr(record_queries, "GATHER_MS", 20)
    monkeypatch.setattr(record_queries, "_narrowed", lambda rows, given: slow)
    assert "That search takes too long" in ada.get(URL, {"caller": "x"}).content.decode()


def test_a_broken_cursor_is_the_first_page(ada):
    row = record()
    for cursor in ("x", "1-", "-1", "9" * 30 + "-1", "1-" + "9" * 30):
        assert shown(ada, after=cursor) == [row.pk]


def test_waterfall_puts_attempts_on_one_axis():
    bars = waterfall(failover())
    assert [(bar.number, bar.selector, bar.tone, bar.text, bar.error) for bar in bars] == [
        (1, "a/m", "bad", "503", "503 overloaded_error: busy"),
        (2, "b/m", "ok", "200, first content after 1.21s", ""),
    ]
    assert [(bar.left, bar.width, bar.first_content, bar.after_content) for bar in bars] == [
        (1.5, 237.4, None, None),
        (239.8, 760.2, 353.8, 646.2),
    ]
    assert [bar.latency for bar in bars] == ["812ms", "2.60s"]


@pytest.mark.parametrize(
    "attempts", [[], [{}], [{"provider": "a", "started_at": "2026-11-23T12:00:00Z", "latency_ms": None}]]
)
def test_waterfall_of_an_odd_record_still_draws(attempts):
    row = record(attempts=attempts, latency_ms=0.0)
    assert all(0 <= bar.left <= 1000 and bar.width > 0 for bar in waterfall(row))


def test_detail_shows_what_a_decision_leaves_behind(ada):
    """T52."""
    row = failover()
    html = ada.get(f"{URL}{row.decision_id}/").content.decode()
    for text in (
        "200 after 2 attempts · 3.42s",
        'pool <a href="/dashboard/pools/chat/">chat</a>',
        "session miss",
        "first choice a/m",
        "overloaded_error: busy",
        "disabled_manual",
        "$0.0012",
        f"<code>{row.request_id}</code>",
        f"<code>{row.decision_id}</code>",
    ):
        assert text in html


def test_detail_of_nothing_is_404(ada):
    assert ada.get(f"{URL}nothing/").status_code == 404


def test_without_requests_the_page_tells_the_next_step(ada):
    assert "manage.py create_api_key first" in ada.get(URL).content.decode()


def test_a_record_that_is_still_being_written_is_waited_for(ada):
    url = f"{URL}{'a' * 32}/"
    assert ada.get(url).status_code == 404
    soon = ada.get(url, {"looked": "0"})
    assert (soon.status_code, soon["Refresh"]) == (200, f"1; url={url}?looked=1")
    assert "The record is being written" in soon.content.decode()
    assert ada.get(url, {"looked": "9"})["Refresh"].endswith("?looked=10")
    assert [ada.get(url, {"looked": looked}).status_code for looked in ("10", "-1", "x")] == [404] * 3
    made = record(decision_id="a" * 32)
    assert ada.get(url, {"looked": "3"}).context["trace"].record == made
