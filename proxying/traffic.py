"""Live numbers: what a worker counted in ten seconds, and sums and percentiles of many such slices. Pure.

A series is one (pool, provider, model): who served, or who was called last. Times are kept as counts in
buckets that grow by a fifth, so that slices of many workers add up; a percentile is within a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any, Final

SLICE_S: Final = 10
_GROWTH: Final = log(1.2)

Key = tuple[str, str, str]
Buckets = dict[int, int]


@dataclass(slots=True)
class Counts:
    """What happened in one series. Failed: 5xx, 429, or a stream that was cut."""

    requests: int = 0
    failed: int = 0
    failovers: int = 0
    latency: Buckets = field(default_factory=dict)
    first_content: Buckets = field(default_factory=dict)

    def add(self, other: Counts) -> None:
        """Add what another slice counted."""
        self.requests += other.requests
        self.failed += other.failed
        self.failovers += other.failovers
        for mine, theirs in ((self.latency, other.latency), (self.first_content, other.first_content)):
            for bucket, count in theirs.items():
                mine[bucket] = mine.get(bucket, 0) + count


class Collector:
    """Counts the requests of one worker until ``take``; memory operations only."""

    def __init__(self) -> None:
        self._series: dict[Key, Counts] = {}

    def count(
        self, key: Key, *, failed: bool, failed_over: bool, latency_ms: float, first_content_ms: float | None
    ) -> None:
        """One request has ended."""
        counts = self._series.get(key)
        if counts is None:
            counts = self._series[key] = Counts()
        counts.requests += 1
        counts.failed += failed
        counts.failovers += failed_over
        if not failed:
            _count(counts.latency, latency_ms)
        if first_content_ms is not None:
            _count(counts.first_content, first_content_ms)

    def take(self) -> dict[Key, Counts]:
        """What was counted since the last time."""
        taken, self._series = self._series, {}
        return taken


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """Milliseconds below which ``share`` of the counted lie; None when nothing was counted."""
    total = sum(buckets.values())
    if not total:
        return None
    wanted, seen = share * total, 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= wanted:
            return float(1.2 ** (bucket + 0.5))
    return None


def total(series: Iterable[Counts]) -> Counts:
    """All of them together."""
    found = Counts()
    for counts in series:
        found.add(counts)
    return found


def as_json(series: Mapping[Key, Counts]) -> list[list[Any]]:
    """A slice as it is stored."""
    return [
        [*key, counts.requests, counts.failed, counts.failovers, counts.latency, counts.first_content]
        for key, counts in series.items()
    ]


def from_json(rows: Iterable[Any]) -> dict[Key, Counts]:
    """A slice read back; JSON made text of the buckets' numbers."""
    return {
        (pool, provider, model): Counts(requests, failed, failovers, _numbers(latency), _numbers(first))
        for pool, provider, model, requests, failed, failovers, latency, first in rows
    }


def _count(buckets: Buckets, value_ms: float) -> None:
    bucket = int(log(value_ms) / _GROWTH) if value_ms > 1 else 0
    buckets[bucket] = buckets.get(bucket, 0) + 1


def _numbers(buckets: Mapping[Any, int]) -> Buckets:
    return {int(bucket): count for bucket, count in buckets.items()}
