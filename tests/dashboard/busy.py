"""A busy hour of the pool ``chat``, as workers leave it behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone

from proxying.models import RequestRecord, TrafficMinute, TrafficSlice
from proxying.traffic import Counts, as_json


def hour(*, ends_at: datetime | None = None) -> datetime:
    """Minutes until five minutes ago, then slices; of the last ten minutes, four in which ``a`` failed."""
    now = ends_at or timezone.now()
    minute = now.replace(second=0, microsecond=0)
    for ago in range(59, 4, -1):
        at = minute - timedelta(minutes=ago)
        TrafficMinute.objects.create(at=at, pool="", series=[])
        if ago not in {40, 41, 42}:
            counts = as_json(served(30 + ago % 7, failing=6 <= ago < 10))["/chat"]
            TrafficMinute.objects.create(at=at, pool="chat", series=counts)
    first = int((minute - timedelta(minutes=15)).timestamp()) // 10 * 10
    for second in range(first, int(now.timestamp()), 10):
        ago = (int(minute.timestamp()) - second) // 60
        rolled = ago > 4
        TrafficSlice.objects.create(
            at=datetime.fromtimestamp(second, UTC),
            worker="" if rolled else "w",
            pools=as_json(served(5 + second // 10 % 3, failing=6 <= ago < 10)),
            rolled_up=rolled,
        )
    return now


def served(count: int, *, failing: bool) -> dict[tuple[str, str, str], Counts]:
    a, b = ("chat", "a", "m"), ("chat", "b", "m")
    if failing:
        return {
            a: Counts(earlier=count, failures={"5xx": count}),
            b: Counts(requests=count, failed=1, failovers=count, latency={30: count - 1}),
        }
    return {a: Counts(requests=count, latency={24: count}), b: Counts(requests=1, latency={30: 1})}


def records(count: int = 12) -> None:
    for number in range(count):
        over = number % 4 == 1
        attempts = [{"provider": "a", "model": "m", "status": 503, "error": "503 busy"}] * over
        attempts += [{"provider": "b" if over else "a", "model": "m", "status": 200, "error": None}]
        RequestRecord.objects.create(
            request_id=f"r{number}",
            decision_id=f"d{number}",
            started_at=timezone.now() - timedelta(seconds=7 * (count - number)),
            endpoint="chat",
            requested_model="chat",
            canonical_model="chat",
            selected_provider_name="b" if over else "a",
            selected_exact_model="m",
            attempts=attempts,
            attempt_count=len(attempts),
            failover_used=over,
            status=200,
            outcome="ok",
            latency_ms=812.0,
            caller_name="first",
        )
