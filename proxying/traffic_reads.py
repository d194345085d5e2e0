"""Reads live numbers: the last minutes of everything, and one pool over a longer time. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from django.db.models import Case, Q, QuerySet, TextField, Value, When
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast

from proxying.models import TrafficMinute, TrafficSlice
from proxying.traffic import SLICE_S, Counts, History, Key, Sum, Window, pool_key
from proxying.traffic_window import MovingSum, SliceKey

ALIVE_S: Final = 3 * SLICE_S
_TEXT: Final = Cast("pools", TextField())

# Series, requests by ten seconds, and each slice's calls under way, oldest first.
_Read: TypeAlias = tuple[
    Mapping[Key, Counts], Mapping[int, Mapping[Key, int]], dict[SliceKey, Mapping[str, int]]
]


@dataclass(slots=True)
class _Remembered:
    """What this process summed the last time. Replaced whole, so threads need no lock."""

    sum: MovingSum = field(default_factory=MovingSum)


_remembered = _Remembered()


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
    """All workers' numbers of the last ``window_s`` seconds, of every pool or of one; one query.

    Of every pool only what came since the last time is read and summed.
    """
    now = time.time() if now is None else now
    first = int(now // SLICE_S) * SLICE_S - window_s + SLICE_S
    slices = _current(
        TrafficSlice.objects.filter(at__gte=_instant(first), at__lte=_instant(now + ALIVE_S))
    ).order_by("at", "pk")
    series, slots, in_flight = _of_all(slices) if pool is None else _of_pool(slices, pool)
    return Traffic(
        window_s,
        known=bool(in_flight),
        series=series,
        history=tuple(slots.get(slot_s, {}) for slot_s in range(first, first + window_s, SLICE_S)),
        in_flight=_last_words(in_flight, now),
    )


def forget() -> None:
    """Read everything the next time; for a database that is not the one before."""
    _remembered.sum = MovingSum()


def _of_all(slices: QuerySet[TrafficSlice]) -> _Read:
    # What is known already is not read again; the answer is of one moment, whatever is rolled up meanwhile.
    known = _remembered.sum
    news = Case(
        When(pk__in=[key.pk for key in known.slices], then=Value(None)),
        default=_TEXT,
        output_field=TextField(),
    )
    texts: dict[SliceKey, str | None] = {}
    in_flight: dict[SliceKey, Mapping[str, int]] = {}
    for pk, at, worker, counted, text in slices.values_list("pk", "at", "worker", "in_flight", news):
        key = SliceKey(pk, int(at.timestamp()), worker)
        texts[key], in_flight[key] = text, counted
        if text is None and key not in known.slices:
            # Its number was another slice's: this is not the database of before, or it was restored.
            forget()
            return _of_all(slices)
    found = known.moved(texts)
    _remembered.sum = MovingSum() if found.is_large else found
    return found.series, found.slots, in_flight


def _of_pool(slices: QuerySet[TrafficSlice], pool: str) -> _Read:
    merged = Sum()
    slots: dict[int, dict[Key, int]] = {}
    in_flight: dict[SliceKey, Mapping[str, int]] = {}
    for pk, at, worker, counted, rows in slices.values_list(
        "pk", "at", "worker", "in_flight", _rows_of(pool)
    ):
        key = SliceKey(pk, int(at.timestamp()), worker)
        in_flight[key] = counted
        merged.add(pool, rows or [], requests=slots.setdefault(key.slot_s, {}))
    return merged.series(), slots, in_flight


def _last_words(in_flight: Mapping[SliceKey, Mapping[str, int]], now: float) -> dict[str, int]:
    """Calls under way by provider, of the workers that are alive."""
    latest = {key.worker: one for key, one in in_flight.items() if key.worker and key.at_s >= now - ALIVE_S}
    flying: dict[str, int] = {}
    for counted in latest.values():
        for provider, count in counted.items():
            flying[provider] = flying.get(provider, 0) + count
    return flying


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
