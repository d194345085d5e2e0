"""Live numbers: counting, sharing, summing."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from types import SimpleNamespace

import pytest

from proxying.models import TrafficSlice
from proxying.traffic import Collector, Counts, as_json, from_json, percentile, total
from proxying.traffic_store import KEEP_S, TrafficFlusher, read_traffic, write_slice
from tests.factories import NOW

A, B = ("chat", "a", "m"), ("chat", "b", "m")


def counted(*latencies, key=A, failed=False, failed_over=False, first=None):
    collector = Collector()
    for value in latencies:
        collector.count(key, failed=failed, failed_over=failed_over, latency_ms=value, first_content_ms=first)
    return collector.take()


def test_a_slice_is_counted_once():
    collector = Collector()
    collector.count(A, failed=False, failed_over=True, latency_ms=100, first_content_ms=20)
    collector.count(A, failed=True, failed_over=False, latency_ms=5, first_content_ms=None)
    first = collector.take()[A]
    assert (first.requests, first.failed, first.failovers) == (2, 1, 1)
    assert (sum(first.latency.values()), sum(first.first_content.values())) == (1, 1)
    assert collector.take() == {}


def test_a_percentile_is_within_a_tenth_of_the_truth():
    draw = random.Random(7)
    values = sorted(draw.lognormvariate(6, 1) for _ in range(5_000))
    buckets = counted(*values)[A].latency
    for share in (0.5, 0.95, 0.99):
        truth = values[int(share * len(values))]
        assert percentile(buckets, share) == pytest.approx(truth, rel=0.1)


def test_nothing_counted_has_no_percentile():
    assert percentile({}, 0.5) is None


def test_slices_add_up_and_survive_json():
    one, other = counted(10, 100, first=3), counted(100, 1_000, failed_over=True)
    again = from_json(json.loads(json.dumps(as_json(one))))
    assert again == one
    both = total([again[A], other[A]])
    assert (both.requests, both.failovers) == (4, 2)
    assert both.latency == total([other[A], one[A]]).latency


@pytest.mark.parametrize("latency", [0.0, -1.0, 0.3, 1.0])
def test_the_shortest_times_share_a_bucket(latency):
    assert counted(latency)[A].latency == {0: 1}


@pytest.mark.django_db
def test_numbers_of_all_workers_are_summed_over_the_window():
    now = NOW.timestamp()
    for worker, ago_s, series in (
        ("w1", 10, counted(100, 100)),
        ("w2", 10, counted(200, key=B)),
        ("w1", 0, counted(100)),
        ("w1", 310, counted(*[1] * 50)),
    ):
        TrafficSlice.objects.create(
            at=NOW - timedelta(seconds=ago_s), worker=worker, series=as_json(series), in_flight={"a": 2}
        )
    found = read_traffic(300, now=now)
    assert {key: counts.requests for key, counts in found.series.items()} == {A: 3, B: 1}
    assert len(found.history) == 30
    assert [sum(one.requests for one in slot.values()) for slot in found.history[-3:]] == [0, 3, 1]
    # Each worker's last word counts, not all of them.
    assert (found.known, found.in_flight) == (True, {"a": 4})


@pytest.mark.django_db
def test_without_slices_nothing_is_known_and_empty_ones_mean_none():
    assert read_traffic(now=NOW.timestamp()).known is False
    TrafficSlice.objects.create(at=NOW, worker="w")
    found = read_traffic(now=NOW.timestamp())
    assert (found.known, found.series) == (True, {})


@pytest.mark.django_db(transaction=True)
def test_old_slices_are_forgotten_once_a_minute():
    TrafficSlice.objects.create(at=NOW - timedelta(seconds=KEEP_S + 60), worker="dead")
    write_slice(NOW + timedelta(seconds=10), "w", [], {})
    assert TrafficSlice.objects.filter(worker="dead").count() == 1
    write_slice(NOW + timedelta(seconds=60), "w", [], {})
    assert TrafficSlice.objects.filter(worker="dead").count() == 0


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_the_flusher_writes_what_ended_and_its_last_slice_at_close():
    flusher = TrafficFlusher(lambda: {"a": 1}, clock=lambda: NOW.timestamp() + 3)
    await flusher.open()
    flusher.count(exchange(outcome="ok", status=200))
    flusher.count(exchange(outcome="cut", status=200))
    flusher.count(exchange(outcome="error", status=503))
    flusher.count(exchange(outcome="error", status=400))
    await flusher.close()
    row = await TrafficSlice.objects.aget()
    counts = from_json(row.series)[A]
    assert (row.at, row.in_flight, row.worker) == (NOW, {"a": 1}, flusher.worker)
    assert (counts.requests, counts.failed) == (4, 2)


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_a_database_that_is_away_costs_numbers_and_nothing_else(monkeypatch, caplog):
    from django.db import OperationalError

    def away(*_):
        raise OperationalError("away")

    monkeypatch.setattr("proxying.traffic_store.write_slice", away)
    flusher = TrafficFlusher(dict)
    flusher.count(exchange(outcome="ok", status=200))
    await flusher.flush()
    assert "Live numbers are missing, the database failed: OperationalError" in caplog.text


def exchange(*, outcome, status):
    candidate = SimpleNamespace(provider="a", model="m")
    return SimpleNamespace(
        decision=SimpleNamespace(canonical_model="chat"),
        served=candidate,
        attempts=[],
        outcome=outcome,
        status=status,
        failed_over=False,
        latency_ms=12.0,
        first_content_ms=None,
    )


def test_counts_begin_at_nothing():
    assert total([]) == Counts()
