"""Numbers that the event loop counts with an addition, and that Prometheus is told of later.

prometheus-client takes a lock for each increment, and a histogram asks one bound after the other: ten of them
were a fifteenth of a request. The event loop's thread counts; whoever tells may be another thread. They stand
in for the counters and histograms of a process whose page only it writes: what several workers put together
has to be where the others find it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import Counter, Histogram


class Tally:
    """A count that only grows."""

    __slots__ = ("_child", "_count", "_told")

    def __init__(self, child: Counter) -> None:
        self._count = 0
        self._told = 0
        self._child = child

    def inc(self, amount: int = 1) -> None:
        """Count so many."""
        self._count += amount

    def tell(self) -> None:
        """Bring the counter up to date."""
        count = self._count
        if count != self._told:
            self._child.inc(count - self._told)
            self._told = count


class Distribution:
    """How often which sizes were seen."""

    __slots__ = ("_bounds", "_child", "_counts", "_sum", "_told", "_told_sum")

    def __init__(self, child: Histogram, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._told = self._counts.copy()
        self._told_sum = 0.0
        self._child = child

    def observe(self, value: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def tell(self) -> None:
        """Bring the histogram up to date.

        It has no public way to take many at once; a test compares what it then says with single observations.
        """
        if self._counts == self._told:
            return
        counts, total = self._counts.copy(), self._sum
        for bucket, now, told in zip(self._child._buckets, counts, self._told, strict=True):
            if now != told:
                bucket.inc(now - told)
        self._child._sum.inc(total - self._told_sum)
        self._told, self._told_sum = counts, total
