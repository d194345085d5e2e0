"""Live numbers on the pages."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from dashboard import numbers
from proxying.models import TrafficSlice
from proxying.traffic import Counts
from proxying.traffic_reads import Traffic

PART = {"HX-Request": "true"}
A, B = ("mixed", "a", "n"), ("mixed", "b", "m")


def traffic(known=True):
    failures = {"timeout": 1, "5xx": 4}
    a = Counts(requests=75, failed=3, failovers=2, earlier=5, failures=failures, latency={20: 75})
    series = {A: a, B: Counts(requests=25), ("mixed", "", ""): Counts(requests=900)}
    history = tuple({A: count} for count in (0, 5, 10))
    return Traffic(300, known, series if known else {}, history if known else (), {"a": 4})


def test_shares_rates_and_failures():
    whole, found = numbers.overall(traffic()), numbers.by_candidate(traffic())
    assert (whole.requests, whole.rate_text, whole.failed, whole.failovers, whole.in_flight) == (
        1000,
        "3.3",
        0.003,
        2,
        4,
    )
    assert whole.sample == "last 5 min, 1000 requests"
    assert (found["\n".join(A)].share, found["\n".join(B)].share) == (0.075, 0.025)
    assert (found["\n".join(B)].p95_ms, found["\n".join(A)].spark) == (None, "0,15.0 2,8.0 4,1.0")


def test_a_candidate_answers_for_its_attempts_whoever_served_in_the_end():
    found = traffic()
    a, whole = numbers.by_candidate(found)["\n".join(A)], numbers.overall(found)
    assert (a.attempts, a.attempts_failed, a.failures) == (80, 5 / 80, (("5xx", 4), ("timeout", 1)))
    assert a.attempts_text == "last 5 min: 5 of 80 attempts failed (5xx: 4, timeout: 1)"
    # The 900 that reached no provider were no attempts.
    assert (whole.attempts, whole.attempts_failed) == (105, 5 / 105)
    assert numbers.by_provider(found)["b"].attempts_text == "last 5 min: 0 of 25 attempts failed"
    assert numbers.by_provider(traffic(known=False))["b"].attempts_text == whole_unknown()


def whole_unknown():
    return numbers.overall(traffic(known=False)).sample


def test_unknown_is_unknown_and_idle_is_idle():
    unknown = numbers.overall(traffic(known=False))
    assert (unknown.rate_text, unknown.failed, unknown.failovers, unknown.in_flight) == (
        "–",
        None,
        None,
        None,
    )
    assert numbers.by_pool(traffic(known=False))["mixed"].rate_text == "–"
    idle = numbers.by_pool(traffic())["other"]
    assert (idle.rate_text, idle.failed, idle.sample) == ("0", None, "last 5 min, 0 requests")


@pytest.mark.django_db
def test_pages_show_numbers_with_their_window(ada, gateway):
    html = ada.get("/dashboard/", headers=PART).content.decode()
    assert "no worker has reported numbers yet" in html
    TrafficSlice.objects.create(
        at=timezone.now(),
        worker="w",
        pools={
            "/mixed": [
                ["a", "n", 3, 0, 0, 0, {}, {}, {}],
                ["b", "m", 1, 0, 1, 2, {"5xx": 2}, {}, {}],
            ]
        },
    )
    html = " ".join(ada.get("/dashboard/", headers=PART).content.decode().split())
    assert "last 5 min, 4 requests" in html
    assert re.findall(r"(\d+%) \(want (\d+%)\)", html) == [("75%", "75%"), ("25%", "25%")]
    assert re.findall(r"last 5 min: [^\"]*\">err (\S+) of (\d+)<", html) == [("0%", "3"), ("67%", "3")]
    html = " ".join(ada.get("/dashboard/providers/", headers=PART).content.decode().split())
    assert re.findall(r"(\d+) in 5 min</a>, (none failed|.*?failed</span>: [^<]*)", html) == [
        ("3", "none failed"),
        ("3", '<span class="bad-text">67% failed</span>: 5xx: 2'),
    ]
    html = ada.get("/dashboard/pools/mixed/", headers=PART).content.decode()
    assert "err 67% of 3" in html
    assert "?since=15m&amp;model=mixed" in html
