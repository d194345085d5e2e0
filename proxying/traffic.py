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
# Pools are names in JSON, and a database takes the name "7" for a position in a list.
_POOL: Final = "/"

# Statuses below 500 that tell of the provider or of the gateway's account there, not of the request.
_PROVIDERS_FAULT: Final = frozenset({401, 402, 403, 404, 408})
# The first word of an attempt's error, when the provider did not answer with a status of its own.
_CLASSES: Final = {
    "upstream_timeout": "timeout",
    "upstream_unreachable": "unreachable",
    "upstream_protocol_error": "broken answer",
    "internal_error": "internal",
}

Key = tuple[str, str, str]
Buckets = dict[int, int]


@dataclass(slots=True)
class Counts:
    """What happened in one series. Failed: 5xx, 429, or a stream that was cut.

    Attributes:
        earlier: Attempts after which another candidate was tried; each request's last one is not in it.
        failures: Attempts that failed, those included, by class: ``5xx``, ``timeout`` …
    """

    requests: int = 0
    failed: int = 0
    failovers: int = 0
    earlier: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    latency: Buckets = field(default_factory=dict)
    first_content: Buckets = field(default_factory=dict)

    @property
    def attempts(self) -> int:
        """Upstream calls. Of a series with a provider: a request without a call belongs to none."""
        return self.requests + self.earlier

    @property
    def attempts_failed(self) -> int:
        """Upstream calls that failed."""
        return sum(self.failures.values())

    def add(self, other: Counts) -> None:
        """Add what another slice counted."""
        self.requests += other.requests
        self.failed += other.failed
        self.failovers += other.failovers
        self.earlier += other.earlier
        _merge(self.failures, other.failures)
        _merge(self.latency, other.latency)
        _merge(self.first_content, other.first_content)

    def copy(self) -> Counts:
        """The same counts, to be added to."""
        return Counts(
            self.requests,
            self.failed,
            self.failovers,
            self.earlier,
            self.failures.copy(),
            self.latency.copy(),
            self.first_content.copy(),
        )

    def take_away(self, other: Counts) -> None:
        """Undo an ``add``."""
        self.requests -= other.requests
        self.failed -= other.failed
        self.failovers -= other.failovers
        self.earlier -= other.earlier
        _unmerge(self.failures, other.failures)
        _unmerge(self.latency, other.latency)
        _unmerge(self.first_content, other.first_content)


@dataclass(frozen=True, slots=True)
class Window:
    """How far back a pool's history goes, and in what steps."""

    name: str
    length_s: int
    step_s: int


# The first is made from slices, the others from minutes.
WINDOWS: Final = {
    one.name: one for one in (Window("15m", 900, 30), Window("1h", 3_600, 60), Window("24h", 86_400, 900))
}


@dataclass(frozen=True, slots=True)
class History:
    """One pool over time. ``steps`` begin at ``start_s`` (Unix seconds); None: no worker reported then."""

    window: Window
    start_s: int
    now_s: float
    steps: tuple[Mapping[Key, Counts] | None, ...]


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
        if failed_over:
            counts.failovers += 1
        if failed:
            counts.failed += 1
        else:
            _count(counts.latency, latency_ms)
        if first_content_ms is not None:
            _count(counts.first_content, first_content_ms)

    def count_failure(self, key: Key, kind: str, *, is_last: bool) -> None:
        """One of a request's attempts has failed; its last one is among the requests already."""
        counts = self._series.get(key)
        if counts is None:
            counts = self._series[key] = Counts()
        if not is_last:
            counts.earlier += 1
        counts.failures[kind] = counts.failures.get(kind, 0) + 1

    def take(self) -> dict[Key, Counts]:
        """What was counted since the last time."""
        taken, self._series = self._series, {}
        return taken


def failure_class(error: str, *, is_last: bool) -> str:
    """In one word why an attempt failed, from the error in its record; empty: the candidate did not.

    A client that left is none, nor is a 4xx that was the request's own fault: nobody else was tried after it.
    """
    word = error.partition(" ")[0].rstrip(":")
    if not word.isdigit():
        return _CLASSES.get(word, "" if word == "client_gone" else "broken answer")
    status = int(word)
    if status == 429:
        return "429"
    if status >= 500:
        return "5xx"
    return "4xx" if not is_last or status in _PROVIDERS_FAULT or status < 400 else ""


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


def merge(into: dict[Key, Counts], series: Mapping[Key, Counts]) -> None:
    """Add one slice to another, series by series."""
    for key, counts in series.items():
        found = into.get(key)
        if found is None:
            found = into[key] = Counts()
        found.add(counts)


def take_away(from_: dict[Key, Counts], series: Mapping[Key, Counts]) -> None:
    """Undo a ``merge``; a series without any attempt left is gone."""
    for key, counts in series.items():
        left = from_[key]
        left.take_away(counts)
        if not left.attempts:
            del from_[key]


def pool_key(pool: str) -> str:
    """The name under which a stored slice has a pool."""
    return _POOL + pool


def pool_name(key: str) -> str:
    """The pool of such a name."""
    return key[len(_POOL) :]


def as_json(series: Mapping[Key, Counts]) -> dict[str, list[list[Any]]]:
    """A slice as it is stored: by pool, a list per candidate."""
    pools: dict[str, list[list[Any]]] = {}
    for (pool, provider, model), one in series.items():
        pools.setdefault(pool_key(pool), []).append(
            [
                provider,
                model,
                one.requests,
                one.failed,
                one.failovers,
                one.earlier,
                one.failures,
                one.latency,
                one.first_content,
            ]
        )
    return pools


def from_json(pools: Mapping[str, Iterable[Any]]) -> dict[Key, Counts]:
    """A slice read back."""
    found = Sum()
    for pool, rows in pools.items():
        found.add(pool_name(pool), rows)
    return found.series()


class Sum:
    """Adds up what is stored; tens of thousands of rows make a page.

    JSON made text of the buckets' numbers: they become numbers again once, in the end.
    """

    def __init__(self) -> None:
        self._series: dict[Key, Counts] = {}

    def add(self, pool: str, rows: Iterable[Any], *, requests: dict[Key, int] | None = None) -> None:
        """Add what is stored of one pool, and to ``requests`` those alone."""
        for provider, model, count, failed, failovers, earlier, failures, latency, first in rows:
            key = (pool, provider, model)
            if requests is not None:
                requests[key] = requests.get(key, 0) + count
            one = self._series.get(key)
            if one is None:
                self._series[key] = Counts(
                    count, failed, failovers, earlier, dict(failures), dict(latency), dict(first)
                )
                continue
            one.requests += count
            one.failed += failed
            one.failovers += failovers
            one.earlier += earlier
            if failures:
                _merge(one.failures, failures)
            _merge(one.latency, latency)
            _merge(one.first_content, first)

    def series(self) -> dict[Key, Counts]:
        """All that was added; nothing can be added after it."""
        for one in self._series.values():
            one.latency = {int(bucket): count for bucket, count in one.latency.items()}
            one.first_content = {int(bucket): count for bucket, count in one.first_content.items()}
        return self._series


def _merge(mine: dict[Any, int], theirs: Mapping[Any, int]) -> None:
    for name, count in theirs.items():
        if name in mine:
            mine[name] += count
        else:
            mine[name] = count


def _unmerge(mine: dict[Any, int], theirs: Mapping[Any, int]) -> None:
    for name, count in theirs.items():
        if mine[name] == count:
            del mine[name]
        else:
            mine[name] -= count


def _count(buckets: Buckets, value_ms: float) -> None:
    bucket = int(log(value_ms) / _GROWTH) if value_ms > 1 else 0
    buckets[bucket] = buckets.get(bucket, 0) + 1
