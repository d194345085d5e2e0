"""Live numbers on the pages."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from dashboard import numbers
from proxying.models import TrafficSlice
from proxying.traffic import Counts
from proxying.traffic_store import Traffic

PART = {"HX-Request": "true"}
A, B = ("mixed", "a", "n"), ("mixed", "b", "m")


def traffic(known=True):
    series = {A: Counts(requests=75, failed=3, failovers=2, latency={20: 75}), B: Counts(requests=25)}
    history = tuple({A: Counts(requests=count)} for count in (0, 5, 10))
    return Traffic(300, known, series if known else {}, history if known else (), {"a": 4})


def test_shares_rates_and_failures():
    whole, found = numbers.overall(traffic()), numbers.by_candidate(traffic())
    assert (whole.requests, whole.rate_text, whole.failed, whole.failovers, whole.in_flight) == (
        100,
        "0.33",
        0.03,
        2,
        4,
    )
    assert whole.sample == "last 5 min, 100 requests"
    assert (found["\n".join(A)].share, found["\n".join(B)].share) == (0.75, 0.25)
    assert (found["\n".join(B)].p95_ms, found["\n".join(A)].spark) == (None, "0,15.0 2,8.0 4,1.0")


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
        series=[["mixed", "a", "n", 3, 0, 0, {}, {}], ["mixed", "b", "m", 1, 0, 0, {}, {}]],
    )
    html = " ".join(ada.get("/dashboard/", headers=PART).content.decode().split())
    assert "last 5 min, 4 requests" in html
    assert re.findall(r"(\d+%) \(want (\d+%)\)", html) == [("75%", "75%"), ("25%", "25%")]
    html = ada.get("/dashboard/pools/mixed/", headers=PART).content.decode()
    assert "?since=15m&amp;model=mixed" in html
