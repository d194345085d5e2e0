"""The queue of records: whole, bounded, and patient with a database that is away."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from proxying.models import RequestRecord
from proxying.outcome import Attempt, Exchange
from proxying.record_store import write_rows
from proxying.records import Recorder, record_values
from routing.types import Candidate, Endpoint
from tests.proxying.gateway import caller, until

pytestmark = pytest.mark.anyio


def exchange(number: int = 1, **values) -> Exchange:
    made = Exchange(Endpoint.CHAT, {}, 0.0, f"r{number}", caller=caller(), **values)
    made.status = 200
    made.end()
    return made


class Store:
    """A database that fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.rows: list[str] = []
        self.batches: list[int] = []

    def __call__(self, rows) -> int:
        if self.failures:
            self.failures -= 1
            raise OperationalError("away")
        self.batches.append(len(rows))
        self.rows += [row["request_id"] for row in rows]
        return 0


def odd_below(bound: int):
    def values(made: Exchange) -> dict[str, object]:
        if int(made.request_id[1:]) < bound:
            raise ValueError("odd")
        return record_values(made)

    return values


async def test_records_are_written_in_batches_in_order() -> None:
    store = Store()
    recorder = Recorder(write=store, interval_s=0.01)
    await recorder.open()
    for number in range(1200):
        recorder.put(exchange(number))
    await until(lambda: recorder.depth == 0)
    await recorder.close()
    assert store.rows == [f"r{number}" for number in range(1200)]
    assert store.batches == [500, 500, 200]


async def test_thread_takes_a_batch_in_turns(monkeypatch) -> None:
    """Other work of the event loop comes between: it is not held up by a whole batch."""
    recorder = Recorder(write=Store(), interval_s=60)
    await recorder.open()
    turns = []
    rows_of = recorder._rows_of
    monkeypatch.setattr(recorder, "_rows_of", lambda batch: turns.append(len(batch)) or rows_of(batch))
    for number in range(60):
        recorder.put(exchange(number))
    await recorder.close()
    assert turns == [25, 25, 10]


async def test_turns_grow_with_what_waits(monkeypatch) -> None:
    """A loop that has no time for many turns hands over many records in each, or the queue would fill up."""
    recorder = Recorder(write=Store(), interval_s=60)
    await recorder.open()
    turns = []
    rows_of = recorder._rows_of
    monkeypatch.setattr(recorder, "_rows_of", lambda batch: turns.append(len(batch)) or rows_of(batch))
    for number in range(10_000):
        recorder.put(exchange(number))
    await recorder.flush()
    assert (turns, recorder.depth) == ([500], 9_500)
    for _ in range(17):
        await recorder.flush()
    turns.clear()
    await recorder.close()
    assert turns == [125, 109, 95, 83, 73, 15, 62, 54, 48, 42, 36, 32, 28, 25, 25, 25, 25, 25, 25, 25, 23]


async def test_records_wait_while_the_database_is_away() -> None:
    store = Store(failures=3)
    recorder = Recorder(write=store, interval_s=0.01)
    await recorder.open()
    recorder.put(exchange(1))
    await until(lambda: store.failures == 0)
    recorder.put(exchange(2))
    await until(lambda: recorder.depth == 0)
    await recorder.close()
    assert (store.rows, recorder.dropped) == (["r1", "r2"], 0)


async def test_full_queue_drops_the_newest_and_counts_them() -> None:
    dropped = []
    recorder = Recorder(write=Store(), limit=2, on_dropped=dropped.append)
    for number in range(5):
        recorder.put(exchange(number))
    assert (recorder.depth, recorder.dropped, dropped) == (2, 3, [1, 1, 1])


async def test_log_says_how_many_a_full_queue_dropped(caplog) -> None:
    def told() -> list[str]:
        return [line.getMessage() for line in caplog.records if line.name == "sluice.records"]

    recorder = Recorder(write=Store(), limit=2, interval_s=0.01)
    for number in range(5):
        recorder.put(exchange(number))
    await recorder.open()
    await until(lambda: bool(told()))
    for number in range(5):  # so soon after, these wait for the next line
        recorder.put(exchange(number))
    await until(lambda: recorder.depth == 0)
    await recorder.close()
    assert recorder.dropped == 6
    assert told() == ["3 request records were dropped: 2 wait already."]


async def test_what_cannot_become_a_row_is_counted_and_holds_nothing_up() -> None:
    store = Store()
    recorder = Recorder(write=store, interval_s=0.01)
    for number in range(600):
        recorder.put(exchange(number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxying.records.logger.exception", lambda *_: None)
        patch.setattr("proxying.records.record_values", odd_below(550))
        await recorder.open()
        await until(lambda: recorder.depth == 0)
        await recorder.close()
    assert (recorder.dropped, len(store.rows)) == (550, 50)


async def test_close_writes_what_is_left() -> None:
    store = Store()
    recorder = Recorder(write=store, interval_s=60)
    await recorder.open()
    for number in range(3):
        recorder.put(exchange(number))
    await recorder.close()
    assert store.rows == ["r0", "r1", "r2"]


async def test_close_counts_what_cannot_be_written() -> None:
    recorder = Recorder(write=Store(failures=10_000), interval_s=60)
    await recorder.open()
    recorder.put(exchange())
    await recorder.close()
    assert (recorder.depth, recorder.dropped) == (0, 1)


def test_values_fit_their_columns() -> None:
    made = exchange(requested_model="m\x00" + "x" * 500)
    values = record_values(made)
    assert values["requested_model"] == ("m" + "x" * 500)[:300]
    assert (values["caller_name"], values["cost_microusd"], values["outcome"]) == ("tests", None, "ok")


@pytest.mark.django_db
def test_writing_twice_stores_once() -> None:
    rows = [record_values(exchange(number)) for number in range(3)]
    assert [write_rows(rows), write_rows(rows)] == [0, 0]
    assert RequestRecord.objects.count() == 3


@pytest.mark.django_db
def test_prune_deletes_only_what_is_older(capsys) -> None:
    rows = [record_values(exchange(number)) for number in range(3)]
    rows[0]["started_at"] = timezone.now() - timedelta(days=31)
    rows[1]["started_at"] = timezone.now() - timedelta(days=29)
    rows[2]["started_at"] = timezone.now()
    write_rows(rows)
    call_command("prune_records")
    assert capsys.readouterr().out.startswith("Deleted 1 request records from before ")
    assert set(RequestRecord.objects.values_list("request_id", flat=True)) == {"r1", "r2"}


def test_prune_refuses_what_is_no_duration() -> None:
    with pytest.raises(CommandError, match="--older-than: must be a duration"):
        call_command("prune_records", "--older-than", "soon")


@pytest.mark.django_db
def test_admin_shows_records_and_changes_none(admin_client, django_assert_max_num_queries) -> None:
    row = record_values(exchange(requested_model="pool"))
    row["attempts"] = [{"provider": "a", "model": "<m>", "status": 500, "latency_ms": 1.5, "error": "down"}]
    write_rows([row])
    with django_assert_max_num_queries(10):
        page = admin_client.get("/admin/proxying/requestrecord/?q=r1")
    stored = RequestRecord.objects.get()
    detail = admin_client.get(f"/admin/proxying/requestrecord/{stored.pk}/change/")
    assert (page.status_code, page.content.count(b"field-requested_model")) == (200, 1)
    assert b"<td>a/&lt;m&gt;</td><td>500</td><td>1.5</td><td>down</td>" in detail.content
    assert admin_client.post(f"/admin/proxying/requestrecord/{stored.pk}/delete/").status_code == 403
    assert admin_client.get("/admin/proxying/requestrecord/add/").status_code == 403


@pytest.mark.django_db
def test_written_values_read_back_as_they_were() -> None:
    values = record_values(exchange(requested_model="m"))
    values |= {"blocked_candidates": [{"selector": "a/é"}], "streamed": True, "first_content_ms": None}
    write_rows([values])
    stored = RequestRecord.objects.values(*values).get()
    assert stored == values


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 7, 9, 64, 65, 201])
def test_batch_of_any_size_is_stored_whole(count: int) -> None:
    write_rows([record_values(exchange(number)) for number in range(count)])
    stored = RequestRecord.objects.order_by("id").values_list("request_id", flat=True)
    assert list(stored) == [f"r{number}" for number in range(count)]


@pytest.mark.django_db
def test_times_of_other_zones_are_stored_as_the_same_instant() -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, tzinfo=ZoneInfo("Asia/Kolkata"))
    write_rows([record_values(exchange()) | {"started_at": at}])
    assert RequestRecord.objects.get(started_at=at).started_at == at


@pytest.mark.django_db
def test_words_that_no_database_takes_cost_no_record() -> None:
    """A provider's error may hold anything."""
    made = exchange(requested_model="m\x00\ud800")
    failed = Attempt(Candidate("pool", "a", "m"), "openai", 0.0, 0.0, 1.0, 500, "500 x: \x00 \udfff é")
    made.attempts.append(failed)
    assert write_rows([record_values(made)]) == 0
    stored = RequestRecord.objects.get()
    assert (stored.requested_model, stored.attempts[0]["error"]) == ("m?", "500 x:  ? é")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "value"), [("status", None), ("prompt_tokens", 2**70), ("attempts", [object()])]
)
def test_refused_row_is_counted_and_the_others_are_stored(name: str, value: object) -> None:
    """By the database or by its driver."""
    rows = [record_values(exchange(number)) for number in range(3)]
    rows[1][name] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxying.record_store.logger.error", lambda *_: None)
        lost = write_rows(rows)
    assert (lost, set(RequestRecord.objects.values_list("request_id", flat=True))) == (1, {"r0", "r2"})
