"""Live numbers as the pages show them: rates, failures, percentiles, shares, sparklines. Pure.

Every number carries its window and its sample size; where nobody wrote any, all are unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proxying.traffic import Counts, Key, percentile, total

_HEIGHT = 16


@dataclass(frozen=True, slots=True)
class Numbers:
    """What happened in a window. ``spark`` is the points of a line, ten seconds each, oldest first."""

    window_s: int
    known: bool
    requests: int = 0
    rate: float | None = None
    failed: float | None = None
    failovers: int | None = None
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
        return "0" if not self.requests else f"{self.rate:.0f}" if self.rate >= 10 else f"{self.rate:.2g}"

    @property
    def sample(self) -> str:
        """Where the numbers come from."""
        if not self.known:
            return "no worker has reported numbers yet"
        return f"last {self.window_s // 60} min, {self.requests} requests"


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


def overall(found: Any) -> Numbers:
    """Everything together; ``found`` is a ``Traffic``."""
    in_flight = sum(found.in_flight.values()) if found.known else None
    return _numbers(found, list(found.series), in_flight=in_flight)


def by_pool(found: Any) -> ByKey:
    """Per canonical model."""
    return ByKey(found, _grouped(found, lambda key: key[0]))


def by_candidate(found: Any) -> ByKey:
    """Per switch key's names, ``pool provider model`` joined by line ends, with the share within the pool."""
    pools = {name: numbers.requests for name, numbers in by_pool(found).items()}
    grouped = _grouped(found, "\n".join, pools)
    return ByKey(found, grouped)


def _grouped(
    found: Any, name: Callable[[Key], str], wholes: Mapping[str, int] | None = None
) -> dict[str, Numbers]:
    groups: dict[str, list[Key]] = {}
    for key in found.series:
        groups.setdefault(name(key), []).append(key)
    return {
        group: _numbers(found, keys, whole=(wholes or {}).get(keys[0][0])) for group, keys in groups.items()
    }


def _numbers(
    found: Any, keys: list[Key], *, whole: int | None = None, in_flight: int | None = None
) -> Numbers:
    if not found.known:
        return Numbers(found.window_s, known=False)
    counts = total(found.series[key] for key in keys)
    return Numbers(
        window_s=found.window_s,
        known=True,
        requests=counts.requests,
        rate=counts.requests / found.window_s,
        failed=counts.failed / counts.requests if counts.requests else None,
        failovers=counts.failovers,
        p50_ms=percentile(counts.latency, 0.5),
        p95_ms=percentile(counts.latency, 0.95),
        first_content_ms=percentile(counts.first_content, 0.5),
        share=counts.requests / whole if whole else None,
        in_flight=in_flight,
        spark=_spark([_requests(slot, keys) for slot in found.history]),
    )


def _requests(slot: Mapping[Key, Counts], keys: Iterable[Key]) -> int:
    return sum(slot[key].requests for key in keys if key in slot)


def _spark(values: list[int]) -> str:
    """The points of an SVG polyline: two units wide per slice, the highest at the top."""
    highest = max(values, default=0)
    if not highest:
        return ""
    return " ".join(
        f"{position * 2},{_HEIGHT - 1 - round(value / highest * (_HEIGHT - 2), 1)}"
        for position, value in enumerate(values)
    )
