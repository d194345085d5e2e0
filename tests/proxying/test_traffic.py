"""Live numbers: counting, sharing, summing, rolling up."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from proxying import traffic_reads, traffic_rollup, traffic_window
from proxying.models import TrafficMinute, TrafficSlice
from proxying.traffic import (
    SLICE_S,
    WINDOWS,
    Collector,
    Counts,
    as_json,
    failure_class,
    from_json,
    merge,
    percentile,
    total,
)
from proxying.traffic_reads import forget, read_history, read_traffic
from proxying.traffic_rollup import SLICES_KEPT_S, prune, roll_up
from proxying.traffic_store import WAITING_LIMIT, Slice, TrafficFlusher, write_slices
from tests.factories import NOW

A, B, C = ("chat", "a", "m"), ("chat", "b", "m"), ("7", "c", "m")
AT = int(NOW.timestamp())


def counted(*latencies, key=A, failed=False, failed_over=False, first=None):
    collector = Collector()
    for value in latencies:
        collector.count(key, failed=failed, failed_over=failed_over, latency_ms=value, first_content_ms=first)
    return collector.take()


def stored(ago_s, *series, worker="w", in_flight=None):
    together: dict = {}
    for one in series:
        merge(together, one)
    return TrafficSlice.objects.create(
        at=NOW - timedelta(seconds=ago_s), worker=worker, pools=as_json(together), in_flight=in_flight or {}
    )


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
    one[A].failures["5xx"] = 1
    again = from_json(json.loads(json.dumps(as_json(one))))
    assert again == one
    both = total([again[A], other[A]])
    assert (both.requests, both.failovers, both.failures) == (4, 2, {"5xx": 1})
    assert both.latency == total([other[A], one[A]]).latency


@pytest.mark.parametrize("latency", [0.0, -1.0, 0.3, 1.0])
def test_the_shortest_times_share_a_bucket(latency):
    assert counted(latency)[A].latency == {0: 1}


@pytest.mark.parametrize(
    ("error", "when_last", "when_failed_over_from"),
    [
        ("503 overloaded_error: busy", "5xx", "5xx"),
        ("529 overloaded_error: busy", "5xx", "5xx"),
        ("429 rate_limit_exceeded: slow down", "429", "429"),
        ("401 invalid_api_key: no", "4xx", "4xx"),
        ("404 model_not_found: no", "4xx", "4xx"),
        ("400 invalid_request_error: temperature", "", "4xx"),
        ("upstream_timeout: late", "timeout", "timeout"),
        ("upstream_unreachable: refused", "unreachable", "unreachable"),
        ("upstream_protocol_error: cut", "broken answer", "broken answer"),
        ("internal_error", "internal", "internal"),
        ("client_gone", "", ""),
    ],
)
def test_a_failed_attempt_has_a_class_unless_the_request_was_at_fault(
    error, when_last, when_failed_over_from
):
    assert failure_class(error, is_last=True) == when_last
    assert failure_class(error, is_last=False) == when_failed_over_from


@pytest.mark.django_db
def test_numbers_of_all_workers_are_summed_over_the_window():
    now = NOW.timestamp()
    stored(10, counted(100, 100), worker="w1", in_flight={"a": 2})
    stored(10, counted(200, key=B), worker="w2", in_flight={"a": 2})
    stored(0, counted(100), worker="w1", in_flight={"a": 2})
    stored(310, counted(*[1] * 50), worker="w1", in_flight={"a": 2})
    found = read_traffic(300, now=now)
    assert {key: counts.requests for key, counts in found.series.items()} == {A: 3, B: 1}
    assert len(found.history) == 30
    assert [sum(slot.values()) for slot in found.history[-3:]] == [0, 3, 1]
    # Each worker's last word counts, not all of them.
    assert (found.known, found.in_flight) == (True, {"a": 4})


@pytest.mark.django_db
def test_without_slices_nothing_is_known_and_empty_ones_mean_none():
    assert read_traffic(now=NOW.timestamp()).known is False
    stored(0)
    found = read_traffic(now=NOW.timestamp())
    assert (found.known, found.series) == (True, {})


def many_slices():
    """Two workers over five minutes that began 300 s ago; what they counted, summed by hand."""
    draw, whole = random.Random(3), {}
    for ago_s in range(290, -1, -10):
        for worker in ("w1", "w2"):
            parts = [counted(*range(1, draw.randrange(1, 9)), key=key) for key in (A, B, C)]
            for part in parts:
                merge(whole, part)
            stored(ago_s, *parts, worker=worker, in_flight={"a": 1})
    return whole


@pytest.mark.django_db
def test_rolling_up_changes_no_number():
    whole = many_slices()
    before = read_traffic(300, now=AT + 3)
    hour = read_history("chat", WINDOWS["1h"], now=AT + 3)
    assert before.series == whole
    assert roll_up(AT + 95) == 60
    assert roll_up(AT + 95) == 0
    # Of the last half minute nothing is known to be in flight any more: those workers are silent.
    assert read_traffic(300, now=AT + 3) == type(before)(
        300, True, before.series, before.history, in_flight={}
    )
    assert read_history("chat", WINDOWS["1h"], now=AT + 3) == hour
    series = total(counts for step in hour.steps if step for counts in step.values())
    assert series == total([whole[A], whole[B]])


def anew(now):
    """What is read by who remembers nothing; what was remembered before stays."""
    remembered = traffic_reads._remembered.sum
    forget()
    found = read_traffic(now=now)
    traffic_reads._remembered.sum = remembered
    return found


@pytest.mark.django_db
def test_a_window_that_moves_on_sums_what_one_that_is_read_anew_does():
    draw = random.Random(11)
    for number in range(80):
        now = AT + number * SLICE_S
        for worker in ("w1", "w2", "w3"):
            # Some workers are late by up to three minutes, and candidates come and go.
            late = draw.choice([0, 0, 0, 1, 5, 18]) * SLICE_S
            keys = draw.sample([A, B, C], draw.randrange(4))
            series = [counted(*range(1, draw.randrange(2, 9)), key=key, failed_over=True) for key in keys]
            for one in series:
                for counts in one.values():
                    counts.earlier = counts.failures["5xx"] = draw.randrange(1, 3)
            stored(late - number * SLICE_S, *series, worker=worker + str(late), in_flight={"a": number})
        if number % 6 == 3:
            roll_up(now)
        if draw.random() < 0.8:
            assert read_traffic(now=now) == anew(now)
    assert read_traffic(now=AT + 3_600).series == {}
    assert traffic_reads._remembered.sum.slices == {}


@pytest.mark.django_db
def test_only_slices_that_came_since_are_read_and_what_was_answered_stays(monkeypatch):
    many_slices()
    first = read_traffic(now=AT)
    before = dict(first.series[A].latency)
    read: list[str] = []
    monkeypatch.setattr(traffic_window, "_packed", spied(traffic_window._packed, read))
    assert read_traffic(now=AT).series == first.series
    assert read == []
    stored(-10, counted(100), worker="w1")
    second = read_traffic(now=AT + 10)
    assert len(read) == 1
    # Of the 300 seconds the oldest ten, with both workers, have left.
    assert second.series[A].requests != first.series[A].requests
    assert first.series[A].latency == before
    read.clear()
    assert roll_up(AT + 95) == 61
    assert read_traffic(now=AT + 10) == second.__class__(300, True, second.series, second.history, {})
    assert all('"/chat"' in text for text in read)


@pytest.mark.django_db
def test_a_slice_with_the_number_of_another_is_not_taken_for_it():
    one = stored(0, counted(100, 100))
    assert read_traffic(now=AT).series[A].requests == 2
    one.delete()
    TrafficSlice.objects.create(pk=one.pk, at=NOW, worker="other", pools=as_json(counted(100)))
    assert read_traffic(now=AT).series[A].requests == 1


@pytest.mark.django_db
def test_more_than_may_be_remembered_is_summed_anew_each_time(monkeypatch):
    monkeypatch.setattr(traffic_window, "REMEMBERED_BYTES", 100)
    whole = many_slices()
    for _ in range(2):
        assert read_traffic(now=AT).series == whole
        assert traffic_reads._remembered.sum.slices == {}


def spied(function, calls):
    def spy(text, pools):
        calls.append(text)
        return function(text, pools)

    return spy


@pytest.mark.django_db
def test_the_newest_slices_are_left_and_say_who_is_alive():
    many_slices()
    now = AT + 65
    assert roll_up(now) == 60 - 2 * (AT % 60) // 10
    stored(-60, worker="w1", in_flight={"a": 3})
    roll_up(now)
    assert read_traffic(300, now=now).in_flight == {"a": 3}


@pytest.mark.django_db
def test_a_minute_is_summed_over_workers_and_a_late_slice_adds_to_it():
    stored(0, counted(100), worker="w1")
    stored(0, counted(100), worker="w2")
    roll_up(AT + 200)
    minutes = TrafficMinute.objects.order_by("pk")
    # Counted in the ten seconds before noon, say: that is the minute before.
    expected = (NOW - timedelta(seconds=10)).replace(second=0, microsecond=0)
    assert list(minutes.values_list("at", "pool")) == [(expected, ""), (expected, "chat")]
    assert minutes[1].series[0][2] == 2
    stored(0, counted(100), worker="w3")
    roll_up(AT + 200)
    found = read_history("chat", WINDOWS["24h"], now=AT)
    assert sum(step[A].requests for step in found.steps if step) == 3
    assert read_traffic(now=AT).series[A].requests == 3


@pytest.mark.django_db(transaction=True)
def test_a_roll_up_that_stops_halfway_has_done_nothing(monkeypatch):
    whole = many_slices()

    def stops(*_, **__):
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(TrafficMinute.objects, "bulk_create", stops)
        with pytest.raises(OperationalError):
            roll_up(AT + 95)
    assert read_traffic(300, now=AT + 3).series == whole
    monkeypatch.setattr(traffic_rollup, "SLICES_AT_ONCE", 7)
    assert roll_up(AT + 95) == 60
    assert read_traffic(300, now=AT + 3).series == whole


@pytest.mark.django_db(transaction=True)
def test_a_slice_that_is_written_again_counts_once_even_after_it_was_rolled_up():
    slices = [Slice(AT, counted(100)), Slice(AT + 10, counted(100))]
    write_slices(slices[:1], "w", {})
    roll_up(AT + 95)
    write_slices(slices, "w", {})
    assert read_traffic(now=AT + 10).series[A].requests == 2


@pytest.mark.django_db
def test_a_pools_history_has_steps_and_knows_what_nobody_reported():
    stored(0, counted(100), counted(5, key=("other", "a", "m")))
    stored(40, counted(100, 100, key=B))
    stored(70, counted(100, key=("other", "a", "m")))
    now = AT + 1
    found = read_history("chat", WINDOWS["15m"], now=now)
    assert (len(found.steps), found.start_s) == (30, (now // 30 + 1) * 30 - 900)
    known = {
        found.start_s + place * 30: {key: one.requests for key, one in step.items()}
        for place, step in enumerate(found.steps)
        if step is not None
    }
    assert known == {
        (AT - 10) // 30 * 30: {A: 1},
        (AT - 50) // 30 * 30: {B: 2},
        (AT - 80) // 30 * 30: {},
    }


@pytest.mark.django_db
def test_a_pool_whose_name_is_a_number_has_its_own_history():
    stored(0, counted(100, key=C))
    found = read_history("7", WINDOWS["15m"], now=AT)
    assert [step for step in found.steps if step] == [counted(100, key=C)]


@pytest.mark.django_db
def test_old_numbers_are_forgotten(settings, monkeypatch):
    monkeypatch.setattr(traffic_rollup, "ROWS_AT_ONCE", 2)
    settings.GATEWAY_TRAFFIC_KEEP_HOURS = 2
    for ago_s in range(0, 50, 10):
        stored(SLICES_KEPT_S + 10 + ago_s, worker="dead")
    kept = stored(SLICES_KEPT_S - 10)
    for hours in (1, 3):
        TrafficMinute.objects.create(at=NOW - timedelta(hours=hours), pool="chat")
    assert prune(AT) == 6
    assert list(TrafficSlice.objects.all()) == [kept]
    assert TrafficMinute.objects.get().at == NOW - timedelta(hours=1)


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_the_flusher_writes_what_ended_and_its_last_slice_at_close():
    flusher = TrafficFlusher(lambda: {"a": 1}, clock=lambda: NOW.timestamp() + 3)
    await flusher.open()
    flusher.count(exchange(outcome="ok", status=200))
    await flusher.flush()
    flusher.count(exchange(outcome="cut", status=200))
    flusher.count(exchange(outcome="error", status=503))
    flusher.count(exchange(outcome="error", status=400))
    await flusher.close()
    first, last = [row async for row in TrafficSlice.objects.order_by("at")]
    assert (first.at, first.in_flight, first.worker) == (NOW, {"a": 1}, flusher.worker)
    # In the same ten seconds, and yet a row of its own.
    assert last.at == NOW + timedelta(seconds=1)
    counts = total([from_json(first.pools)[A], from_json(last.pools)[A]])
    assert (counts.requests, counts.failed) == (4, 2)


def test_every_attempt_counts_for_the_candidate_that_was_called():
    flusher = TrafficFlusher(dict)
    flusher.count(exchange(attempts=[("b", "503 x: y"), ("b", "upstream_timeout: z"), ("a", "")]))
    flusher.count(exchange(attempts=[("a", "")]))
    flusher.count(exchange(outcome="cut", attempts=[("a", "upstream_protocol_error: cut")]))
    flusher.count(exchange(outcome="error", status=400, attempts=[("a", "400 invalid: no")]))
    found = flusher._collector.take()
    assert (found[A].requests, found[A].attempts, found[A].failures) == (4, 4, {"broken answer": 1})
    assert (found[B].requests, found[B].attempts, found[B].failures) == (0, 2, {"5xx": 1, "timeout": 1})
    assert found[A].failovers == 1


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_a_database_that_is_away_delays_numbers_and_loses_none(monkeypatch, caplog):
    times, failed = iter([AT + 1, AT + 11, AT + 21]), []
    flusher = TrafficFlusher(dict, clock=lambda: next(times), on_failed=lambda: failed.append(1))
    with monkeypatch.context() as patch:
        patch.setattr("proxying.traffic_store.write_slices", away)
        for _ in range(2):
            flusher.count(exchange())
            await flusher.flush()
    assert "Live numbers wait, the database failed: OperationalError" in caplog.text
    assert (len(failed), flusher.waiting) == (2, 2)
    flusher.count(exchange())
    await flusher.flush()
    rows = [row async for row in TrafficSlice.objects.order_by("at")]
    assert [(row.at, row.pools["/chat"][0][2]) for row in rows] == [
        (NOW + timedelta(seconds=ago_s), 1) for ago_s in (0, 10, 20)
    ]
    assert flusher.waiting == 0


@pytest.mark.anyio
async def test_what_waits_is_bounded_and_its_sum_exact(monkeypatch):
    monkeypatch.setattr("proxying.traffic_store.write_slices", away)
    times = iter(range(AT, AT + 10 * 2 * WAITING_LIMIT, 10))
    flusher = TrafficFlusher(dict, clock=lambda: next(times))
    for _ in range(WAITING_LIMIT + 5):
        flusher.count(exchange())
        await flusher.flush()
    assert (len(flusher._waiting), flusher.waiting) == (WAITING_LIMIT, WAITING_LIMIT + 5)


@pytest.mark.anyio
async def test_numbers_that_end_with_the_worker_are_told(monkeypatch, caplog):
    monkeypatch.setattr("proxying.traffic_store.write_slices", away)
    flusher = TrafficFlusher(dict)
    await flusher.open()
    flusher.count(exchange())
    await flusher.close()
    assert "Shutting down with the live numbers of 1 requests that could not be stored." in caplog.text


@pytest.mark.django_db(transaction=True)
def test_slices_are_written_in_one_statement():
    with CaptureQueriesContext(connection) as queries:
        write_slices([Slice(AT, counted(1)), Slice(AT + 10, counted(1))], "w", {"a": 1})
    assert [query["sql"][:6] for query in queries if "traffic" in query["sql"]] == ["INSERT"]
    assert list(TrafficSlice.objects.order_by("at").values_list("in_flight", flat=True)) == [{}, {"a": 1}]


def away(*_):
    raise OperationalError("away")


def exchange(*, outcome="ok", status=200, attempts=(("a", ""),)):
    made = [
        SimpleNamespace(candidate=SimpleNamespace(provider=provider, model="m"), error=error)
        for provider, error in attempts
    ]
    return SimpleNamespace(
        decision=SimpleNamespace(canonical_model="chat"),
        served=made[-1].candidate,
        attempts=made,
        outcome=outcome,
        status=status,
        latency_ms=12.0,
        first_content_ms=None,
    )


def test_counts_begin_at_nothing():
    assert total([]) == Counts()
