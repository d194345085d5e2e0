"""What is told later is what counting at once would have said."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from proxying.tallies import Distribution, Tally

BOUNDS = (0.1, 0.5, 1.0)


def page(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#") and "_created" not in line]


@pytest.mark.parametrize("rounds", [[[]], [[0.05, 0.1, 0.3]], [[0.1, 2.0], [], [0.5, 0.50001, 1.0, 7.5]]])
def test_distribution_says_what_single_observations_say(rounds: list[list[float]]) -> None:
    later, at_once = CollectorRegistry(), CollectorRegistry()
    told = Distribution(Histogram("size", "Sizes.", registry=later, buckets=BOUNDS), BOUNDS)
    observed = Histogram("size", "Sizes.", registry=at_once, buckets=BOUNDS)
    for values in rounds:
        for value in values:
            told.observe(value)
            observed.observe(value)
        told.tell()
        told.tell()
        assert page(later) == page(at_once)


def test_tally_tells_each_count_once() -> None:
    registry = CollectorRegistry()
    tally = Tally(Counter("seen", "Seen.", registry=registry))
    for more in (3, 0, 2):
        tally.inc(more)
        tally.tell()
        tally.tell()
    assert page(registry) == ["seen_total 5.0"]
