"""Shares each worker's live numbers: one small row per ten seconds, never from the request path."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import DatabaseError, InterfaceError, connections

from proxying.models import TrafficSlice
from proxying.outcome import Exchange
from proxying.traffic import SLICE_S, Collector, Counts, Key, as_json, from_json

KEEP_S: Final = 3_600
logger = logging.getLogger("sluice.traffic")


class TrafficFlusher:
    """Counts this worker's requests and writes a slice every ten seconds; an empty one says "alive"."""

    def __init__(
        self,
        in_flight: Callable[[], Mapping[str, int]],
        *,
        interval_s: float = SLICE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._in_flight = in_flight
        self._interval_s = interval_s
        self._clock = clock
        self._collector = Collector()
        self._task: asyncio.Task[None] | None = None
        self.worker = uuid.uuid4().hex

    def count(self, exchange: Exchange) -> None:
        """An exchange has ended; for the event loop's thread."""
        decision, candidate = exchange.decision, exchange.served
        if candidate is None and exchange.attempts:
            candidate = exchange.attempts[-1].candidate
        self._collector.count(
            (
                decision.canonical_model if decision is not None else "",
                candidate.provider if candidate is not None else "",
                candidate.model if candidate is not None else "",
            ),
            failed=exchange.outcome == "cut" or exchange.status >= 500 or exchange.status == 429,
            failed_over=exchange.failed_over,
            latency_ms=exchange.latency_ms,
            first_content_ms=exchange.first_content_ms,
        )

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

    async def flush(self) -> None:
        """Write what was counted since the last time; numbers that the database does not take are lost."""
        at = datetime.fromtimestamp(self._clock() // SLICE_S * SLICE_S, UTC)
        slices = as_json(self._collector.take())
        try:
            await asyncio.to_thread(write_slice, at, self.worker, slices, dict(self._in_flight()))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Live numbers are missing, the database failed: %s", type(error).__name__)

    async def _run(self) -> None:
        while True:
            now = self._clock()
            await asyncio.sleep(self._interval_s - now % self._interval_s)
            with contextlib.suppress(RuntimeError):  # the executor is closing
                await self.flush()


def write_slice(at: datetime, worker: str, series: list[list[object]], in_flight: dict[str, int]) -> None:
    """One row; once a minute also forget what is old, whoever wrote it."""
    try:
        TrafficSlice.objects.create(at=at, worker=worker, series=series, in_flight=in_flight)
        if at.second < SLICE_S:
            TrafficSlice.objects.filter(at__lt=at - timedelta(seconds=KEEP_S)).delete()
    finally:
        connections.close_all()


@dataclass(frozen=True, slots=True)
class Traffic:
    """The numbers of a window; ``history`` per slice, oldest first. Not ``known``: no worker wrote any."""

    window_s: int
    known: bool
    series: Mapping[Key, Counts] = field(default_factory=dict)
    history: tuple[Mapping[Key, Counts], ...] = ()
    in_flight: Mapping[str, int] = field(default_factory=dict)


def read_traffic(window_s: int = 300, *, now: float | None = None) -> Traffic:
    """All workers' numbers of the last ``window_s`` seconds; one query."""
    now = time.time() if now is None else now
    end = now // SLICE_S * SLICE_S
    since = datetime.fromtimestamp(end - window_s + SLICE_S, UTC)
    rows = list(
        TrafficSlice.objects.filter(at__gte=since)
        .order_by("at", "pk")
        .values_list("at", "worker", "series", "in_flight")
    )
    places = window_s // SLICE_S
    history: list[dict[Key, Counts]] = [{} for _ in range(places)]
    merged: dict[Key, Counts] = {}
    latest: dict[str, tuple[float, dict[str, int]]] = {}
    for at, worker, series, in_flight in rows:
        place = int((at.timestamp() - since.timestamp()) // SLICE_S)
        for key, counts in from_json(series).items():
            merged.setdefault(key, Counts()).add(counts)
            if 0 <= place < places:
                history[place].setdefault(key, Counts()).add(counts)
        latest[worker] = (at.timestamp(), in_flight)
    flying: dict[str, int] = {}
    for at_s, counted in latest.values():
        if at_s >= now - 3 * SLICE_S:
            for provider, count in counted.items():
                flying[provider] = flying.get(provider, 0) + count
    return Traffic(window_s, bool(rows), merged, tuple(history), flying)
