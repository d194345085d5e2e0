"""Reads live numbers: the last minutes of everything, and one pool over a longer time. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from django.db.models import Q, TextField
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast

from proxying.models import TrafficMinute, TrafficSlice
from proxying.traffic import SLICE_S, Counts, History, Key, Sum, Window, pool_key, pool_name

ALIVE_S: Final = 3 * SLICE_S
_TEXT: Final = Cast("pools", TextField())


@dataclass(frozen=True, slots=True)
class Traffic:
    """The numbers of a window; ``history`` has requests per slice, oldest first.

    Not ``known``: no worker wrote any.
    """

    window_s: int
    known: bool
    series: Mapping[Key, Counts] = field(default_factory=dict)
    history: tuple[Mapping[Key, int], ...] = ()
    in_flight: Mapping[str, int] = field(default_factory=dict)


def read_traffic(window_s: int = 300, *, pool: str | None = None, now: float | None = None) -> Traffic:
    """All workers' numbers of the last ``window_s`` seconds, of every pool or of one; one query."""
    now = time.time() if now is None else now
    first = int(now // SLICE_S) * SLICE_S - window_s + SLICE_S
    rows = (
        _current(TrafficSlice.objects.filter(at__gte=_instant(first), at__lte=_instant(now + ALIVE_S)))
        .order_by("at", "pk")
        .values_list("at", "worker", _TEXT if pool is None else _rows_of(pool), "in_flight")
    )
    places = window_s // SLICE_S
    history: list[dict[Key, int]] = [{} for _ in range(places)]
    merged = Sum()
    latest: dict[str, dict[str, int]] = {}
    known = False
    for at, worker, pools, in_flight in rows:
        known = True
        place = int(at.timestamp() - first) // SLICE_S
        slot = history[place] if place < places else {}  # the clock of the worker is ahead
        # One slice is read after the other: all at once would be a million objects, and each is gone through.
        for name, series in orjson.loads(pools).items() if pool is None else [(pool_key(pool), pools or [])]:
            merged.add(pool_name(name), series, requests=slot)
        if worker and at.timestamp() >= now - ALIVE_S:
            latest[worker] = in_flight
    flying: dict[str, int] = {}
    for counted in latest.values():
        for provider, count in counted.items():
            flying[provider] = flying.get(provider, 0) + count
    return Traffic(window_s, known, merged.series(), tuple(history), flying)


def read_history(pool: str, window: Window, *, now: float | None = None) -> History:
    """A pool's numbers step by step, the last step still under way; at most two queries."""
    now = time.time() if now is None else now
    end = (int(now) // window.step_s + 1) * window.step_s
    start = end - window.length_s
    steps: list[Sum | None] = [None] * (window.length_s // window.step_s)
    for counted_at, rows in _pieces(pool, start, from_minutes=window.step_s >= 60):
        place = (counted_at - start) // window.step_s
        if 0 <= place < len(steps):
            step = steps[place]
            if step is None:
                step = steps[place] = Sum()
            step.add(pool, rows)
    return History(window, start, now, tuple(None if one is None else one.series() for one in steps))


def _pieces(pool: str, start: int, *, from_minutes: bool) -> Iterator[tuple[int, list[Any]]]:
    """When it was counted (Unix seconds), and what of the pool."""
    slices = TrafficSlice.objects.filter(at__gt=_instant(start))
    if from_minutes:
        minutes = TrafficMinute.objects.filter(at__gte=_instant(start), pool__in={pool, ""})
        for at, name, rows in minutes.values_list("at", "pool", "series"):
            yield int(at.timestamp()), rows if name == pool else []
        slices = slices.filter(rolled_up=False)
    found = _current(slices).values_list("at", _rows_of(pool))
    for at, rows in found:
        yield int(at.timestamp()) - SLICE_S, rows or []


def _rows_of(pool: str) -> KeyTransform:
    """What a slice has of one pool, taken out by the database."""
    return KeyTransform(pool_key(pool), "pools")


def _current(slices: Any) -> Any:
    """Without those that are part of a sum."""
    return slices.filter(Q(rolled_up=False) | Q(worker=""))


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
