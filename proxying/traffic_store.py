"""Shares each worker's live numbers: one small row per ten seconds, never from the request path.

Nothing that was counted is lost to a database that is away: slices wait in memory, each with its own time,
and are written once, whether or not the database had taken one of them before the connection broke.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from django.db import DatabaseError, InterfaceError, connections

from proxying.models import TrafficSlice
from proxying.outcome import Attempt, Exchange
from proxying.traffic import SLICE_S, Collector, Counts, Key, as_json, failure_class, merge

# An hour of slices; beyond it the oldest two become one, so that memory is bounded and the sums stay exact.
WAITING_LIMIT: Final = 360
logger = logging.getLogger("sluice.traffic")


class Slice(NamedTuple):
    """What was counted in the ten seconds up to ``at`` (Unix seconds)."""

    at: int
    series: dict[Key, Counts]


class TrafficFlusher:
    """Counts this worker's requests and writes a slice every ten seconds; an empty one says "alive".

    ``on_failed`` is called for each write that the database did not take.
    """

    def __init__(
        self,
        in_flight: Callable[[], Mapping[str, int]],
        *,
        interval_s: float = SLICE_S,
        clock: Callable[[], float] = time.time,
        on_failed: Callable[[], object] = lambda: None,
    ) -> None:
        self._in_flight = in_flight
        self._interval_s = interval_s
        self._clock = clock
        self._on_failed = on_failed
        self._collector = Collector()
        self._waiting: list[Slice] = []
        self._last_at = 0
        self._task: asyncio.Task[None] | None = None
        self.worker = uuid.uuid4().hex

    @property
    def waiting(self) -> int:
        """Requests whose numbers were to be written and are not yet."""
        return sum(counts.requests for one in self._waiting for counts in one.series.values())

    def count(self, exchange: Exchange) -> None:
        """An exchange has ended; for the event loop's thread."""
        decision, candidate, attempts = exchange.decision, exchange.served, exchange.attempts
        if candidate is None and attempts:
            candidate = attempts[-1].candidate
        pool = decision.canonical_model if decision is not None else ""
        several = len(attempts) > 1
        self._collector.count(
            (
                pool,
                candidate.provider if candidate is not None else "",
                candidate.model if candidate is not None else "",
            ),
            failed=exchange.status >= 500 or exchange.status == 429 or exchange.outcome == "cut",
            failed_over=several,
            latency_ms=exchange.latency_ms,
            first_content_ms=exchange.first_content_ms,
        )
        if several or (attempts and attempts[0].error):
            self._count_failures(pool, attempts)

    def _count_failures(self, pool: str, attempts: Sequence[Attempt]) -> None:
        last = attempts[-1]
        for attempt in attempts:
            is_last = attempt is last
            kind = failure_class(attempt.error, is_last=is_last) if attempt.error or not is_last else ""
            if kind:
                key = (pool, attempt.candidate.provider, attempt.candidate.model)
                self._collector.count_failure(key, kind, is_last=is_last)

    async def open(self) -> None:
        """Start writing."""
        self._task = asyncio.create_task(self._run(), name="traffic")

    async def close(self) -> None:
        """Write the last slice and stop."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        await self.flush()
        if lost := self.waiting:
            logger.error("Shutting down with the live numbers of %s requests that could not be stored.", lost)

    async def flush(self) -> None:
        """Write what was counted since the last time, and what the database did not take before."""
        self._wait(self._collector.take())
        waiting = self._waiting.copy()
        try:
            await asyncio.to_thread(write_slices, waiting, self.worker, dict(self._in_flight()))
        except (DatabaseError, InterfaceError) as error:
            self._on_failed()
            logger.warning("Live numbers wait, the database failed: %s", type(error).__name__)
        else:
            del self._waiting[: len(waiting)]

    def _wait(self, series: dict[Key, Counts]) -> None:
        # A time of its own, also for the last slice, which ends early: it is no row that is there already.
        at = max(int(self._clock() // SLICE_S) * SLICE_S, self._last_at + 1)
        self._last_at = at
        self._waiting.append(Slice(at, series))
        if len(self._waiting) > WAITING_LIMIT:
            oldest = self._waiting.pop(0)
            merge(self._waiting[0].series, oldest.series)

    async def _run(self) -> None:
        while True:
            now = self._clock()
            await asyncio.sleep(self._interval_s - now % self._interval_s)
            with contextlib.suppress(RuntimeError):  # the executor is closing
                await self.flush()


def write_slices(slices: Sequence[Slice], worker: str, in_flight: dict[str, int]) -> None:
    """One statement, a row per slice; one that is there already is left alone."""
    rows = [
        TrafficSlice(at=datetime.fromtimestamp(one.at, UTC), worker=worker, pools=as_json(one.series))
        for one in slices
    ]
    rows[-1].in_flight = in_flight
    try:
        TrafficSlice.objects.bulk_create(rows, ignore_conflicts=True)
    finally:
        connections.close_all()
