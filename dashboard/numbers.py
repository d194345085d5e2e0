"""Live numbers as the pages show them: rates, failures, percentiles, shares, sparklines. Pure.

Every number carries its window and its sample size; where nobody wrote any, all are unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from proxying.traffic import Key, percentile, total

_HEIGHT = 16


@dataclass(frozen=True, slots=True)
class Numbers:
    """What happened in a window. ``spark`` is the points of a line, ten seconds each, oldest first.

    Attributes:
        failed: Share of requests that clients saw fail.
        attempts: Upstream calls; ``attempts_failed`` is the share of them that failed, whoever answered in
            the end, and ``failures`` their number by class, the most frequent first.
    """

    window_s: int
    known: bool
    requests: int = 0
    rate: float | None = None
    failed: float | None = None
    failovers: int | None = None
    attempts: int = 0
    attempts_failed: float | None = None
    failures: tuple[tuple[str, int], ...] = ()
    p50_ms: float | None = None
    p95_ms: float | None = None
    first_content_ms: float | None = None
    share: float | None = None
    in_flight: int | None = None
    spark: str = ""

    @property
    def rate_text(self) -> str:
        """Requests per second, with a decimal where that says something; unknown is ``–``."""
        if self.rate is None:
            return "–"
        if not self.requests:
            return "0"
        return (
            "<0.01"
            if self.rate < 0.005
            else f"{self.rate:.{0 if self.rate >= 10 else 1 if self.rate >= 1 else 2}f}"
        )

    @property
    def sample(self) -> str:
        """Where the numbers come from."""
        if not self.known:
            return "no worker has reported numbers yet"
        return f"last {self.window_s // 60} min, {_counted(self.requests, 'request')}"

    @property
    def attempts_text(self) -> str:
        """What became of the upstream calls: how many failed of how many, by class, and since when."""
        if not self.known:
            return self.sample
        failed = sum(count for _, count in self.failures)
        classes = ", ".join(f"{name}: {count}" for name, count in self.failures)
        because = f" ({classes})" if classes else ""
        window = f"last {self.window_s // 60} min"
        return f"{window}: {failed} of {_counted(self.attempts, 'attempt')} failed{because}"


class ByKey(dict[Any, Numbers]):
    """Numbers by name; what had no requests has none of them, and unknown ones where nobody wrote any."""

    def __init__(self, found: Any, values: Mapping[Any, Numbers]) -> None:
        super().__init__(values)
        rate = 0.0 if found.known else None
        self._none = Numbers(found.window_s, found.known, rate=rate)

    def __missing__(self, key: Any) -> Numbers:
        return self._none

    def get(self, key: Any, default: Any = None) -> Numbers:
        """The same for templates, which ask this way."""
        return self[key]


def of_pools(found: Any, names: Iterable[str]) -> Any:
    """The part of a ``Traffic`` that is about these pools."""
    wanted = set(names)
    return replace(found, series={key: counts for key, counts in found.series.items() if key[0] in wanted})


def overall(found: Any) -> Numbers:
    """Everything together; ``found`` is a ``Traffic``."""
    in_flight = sum(found.in_flight.values()) if found.known else None
    return _numbers(found, list(found.series), _over_time(found), in_flight=in_flight)


def by_pool(found: Any) -> ByKey:
    """Per canonical model."""
    return ByKey(found, _grouped(found, lambda key: key[0]))


def by_provider(found: Any) -> ByKey:
    """Per provider, over all pools."""
    return ByKey(found, _grouped(found, lambda key: key[1]))


def by_candidate(found: Any) -> ByKey:
    """Per switch key's names, ``pool provider model`` joined by line ends, with the share within the pool."""
    pools: dict[str, int] = {}
    for key, counts in found.series.items():
        pools[key[0]] = pools.get(key[0], 0) + counts.requests
    grouped = _grouped(found, "\n".join, pools)
    return ByKey(found, grouped)


def _grouped(
    found: Any, name: Callable[[Key], str], wholes: Mapping[str, int] | None = None
) -> dict[str, Numbers]:
    groups: dict[str, list[Key]] = {}
    for key in found.series:
        groups.setdefault(name(key), []).append(key)
    over_time = _over_time(found)
    return {
        group: _numbers(found, keys, over_time, whole=(wholes or {}).get(keys[0][0]))
        for group, keys in groups.items()
    }


def _over_time(found: Any) -> dict[Key, list[int]]:
    """Each series' requests per slice, oldest first."""
    columns = {key: [0] * len(found.history) for key in found.series}
    for place, slot in enumerate(found.history):
        for key, count in slot.items():
            if key in columns:
                columns[key][place] = count
    return columns


def _numbers(
    found: Any,
    keys: list[Key],
    over_time: Mapping[Key, list[int]],
    *,
    whole: int | None = None,
    in_flight: int | None = None,
) -> Numbers:
    if not found.known:
        return Numbers(found.window_s, known=False)
    counts = found.series[keys[0]] if len(keys) == 1 else total(found.series[key] for key in keys)
    attempts = sum(found.series[key].attempts for key in keys if key[1])
    return Numbers(
        window_s=found.window_s,
        known=True,
        requests=counts.requests,
        rate=counts.requests / found.window_s,
        failed=counts.failed / counts.requests if counts.requests else None,
        failovers=counts.failovers,
        attempts=attempts,
        attempts_failed=counts.attempts_failed / attempts if attempts else None,
        failures=tuple(sorted(counts.failures.items(), key=lambda one: (-one[1], one[0]))),
        p50_ms=percentile(counts.latency, 0.5),
        p95_ms=percentile(counts.latency, 0.95),
        first_content_ms=percentile(counts.first_content, 0.5),
        share=counts.requests / whole if whole else None,
        in_flight=in_flight,
        spark=_spark([sum(counted) for counted in zip(*(over_time[key] for key in keys), strict=True)]),
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _spark(values: list[int]) -> str:
    """The points of an SVG polyline: two units wide per slice, the highest at the top."""
    highest = max(values, default=0)
    if not highest:
        return ""
    places = {value: _HEIGHT - 1 - round(value / highest * (_HEIGHT - 2), 1) for value in set(values)}
    return " ".join([f"{position * 2},{places[value]}" for position, value in enumerate(values)])
