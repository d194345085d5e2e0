"""Shares, orders and tie-breaks of the strategies."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.strategies import (
    MAX_SLOTS,
    STRATEGIES,
    needs_ticket,
    slot_counts,
    slot_of,
    smooth_slots,
    weighted_round_robin,
)
from routing.types import Candidate, Strategy

weights_lists = st.lists(st.integers(min_value=1, max_value=5000), min_size=1, max_size=8)


def make(*rows):
    return [Candidate("m", provider, "x", priority, weight) for provider, priority, weight in rows]


def providers(order):
    return [candidate.provider for candidate in order]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.PRIORITY_FAILOVER, ["b", "c", "a", "d"]),
        (Strategy.WEIGHTED_ROUND_ROBIN, ["d", "c", "a", "b"]),
    ],
)
def test_strategy_orders_by_its_comparator(strategy, expected):
    candidates = make(("a", 2, 5), ("b", 1, 1), ("c", 1, 5), ("d", 3, 9))
    assert providers(STRATEGIES[strategy](candidates, 0)) == expected


def test_every_strategy_has_its_function():
    assert set(STRATEGIES) == set(Strategy)
    assert [strategy for strategy in Strategy if needs_ticket(strategy)] == [Strategy.WEIGHTED_ROUND_ROBIN]


@pytest.mark.parametrize(
    ("weights", "slots"),
    [
        ((1,), (0,)),
        ((5, 1, 1), (0, 0, 1, 0, 2, 0, 0)),
        ((10, 6), (0, 1, 0, 0, 1, 0, 1, 0)),
        ((7, 7), (0, 1)),
        ((2, 2, 2), (0, 1, 2)),
    ],
)
def test_smooth_slots_is_the_smooth_sequence(weights, slots):
    assert smooth_slots(weights) == slots


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        ((1_000_000, 1), (999, 1)),
        ((2000, 1000), (2, 1)),
        ((3001, 1000, 1), (750, 249, 1)),
        ((1, 1, 998_000), (1, 1, 998)),
    ],
)
def test_slot_counts_scales_and_keeps_one_slot_each(weights, counts):
    assert slot_counts(weights) == counts


def test_weighted_shares_hold_for_ever():
    """T4: 10:1 stays 10:1 over any number of picks."""
    candidates = make(("a", 1, 10), ("b", 1, 1))
    picks = Counter(weighted_round_robin(candidates, ticket)[0].provider for ticket in range(1100))
    assert picks == {"a": 1000, "b": 100}


def test_weighted_candidate_that_returns_gets_no_burst():
    """T5: after a spell with one candidate, the share of the returning one is its own at once."""
    candidates = make(("a", 1, 3), ("b", 1, 1))
    for ticket in range(1000):
        assert weighted_round_robin(candidates[:1], ticket)[0].provider == "a"
    for start in (0, 1, 17, 1001):
        picks = Counter(weighted_round_robin(candidates, start + i)[0].provider for i in range(8))
        assert picks == {"a": 6, "b": 2}


def test_weighted_failover_order_is_weight_priority_name():
    """T6: the rest keep the strategy's order whichever slot was chosen."""
    candidates = make(("a", 1, 1), ("b", 2, 4), ("c", 1, 4), ("d", 1, 4))
    orders = {
        order[0]: providers(order[1:]) for order in (weighted_round_robin(candidates, t) for t in range(13))
    }
    assert {first.provider: rest for first, rest in orders.items()} == {
        "a": ["c", "d", "b"],
        "b": ["c", "d", "a"],
        "c": ["d", "b", "a"],
        "d": ["c", "b", "a"],
    }


def test_slot_of_tells_the_slot_of_counting_strategies_only():
    candidates = make(("a", 1, 3), ("b", 1, 1))
    assert slot_of(Strategy.WEIGHTED_ROUND_ROBIN, candidates, 6) == 2
    assert slot_of(Strategy.PRIORITY_FAILOVER, candidates, 6) is None
    assert slot_of(Strategy.WEIGHTED_ROUND_ROBIN, candidates[:1], 6) is None


@given(weights_lists, st.integers(min_value=0, max_value=10**12))
def test_weighted_shares_are_exact_over_every_full_cycle(weights, start):
    candidates = [Candidate("m", f"p{i}", "x", 1, weight) for i, weight in enumerate(weights)]
    ranked = sorted(weights, reverse=True)
    cycle = len(smooth_slots(tuple(ranked)))
    counts = slot_counts(tuple(ranked))
    picks = Counter(weighted_round_robin(candidates, start + i)[0].selector for i in range(cycle))
    assert sorted(picks.values()) == sorted(counts)
    assert cycle <= MAX_SLOTS
    if sum(weights) <= MAX_SLOTS:
        assert all(picks[c.selector] * sum(weights) == c.weight * cycle for c in candidates)


@given(weights_lists, st.lists(st.integers(min_value=0, max_value=10**9), min_size=1))
def test_a_ranking_serves_any_ticket(weights, tickets):
    """One ranking may be kept for many tickets: each gets its slot's candidate, then the others by weight."""
    candidates = [Candidate("m", f"p{i}", "x", i % 3, weight) for i, weight in enumerate(weights)]
    kept = weighted_round_robin.rank(candidates)
    slots = smooth_slots(tuple(sorted(weights, reverse=True)))
    for ticket in tickets:
        others = sorted(candidates, key=lambda c: (-c.weight, c.priority, c.selector))
        choice = others.pop(slots[ticket % len(slots)])
        assert kept.order(ticket) == (choice, *others)
        assert kept.slot(ticket) == (ticket % len(slots) if others else None)


@given(weights_lists)
def test_slot_counts_stay_within_one_slot_of_the_share(weights):
    counts = slot_counts(tuple(weights))
    assert min(counts) >= 1
    total, slots = sum(weights), sum(counts)
    raised = sum(weight * slots < total for weight in weights)
    for weight, count in zip(weights, counts, strict=True):
        assert abs(count - weight * slots / total) <= 1 + raised


@given(weights_lists, st.sampled_from(list(Strategy)), st.integers(min_value=0, max_value=10**9))
def test_strategy_returns_every_candidate_once(weights, strategy, ticket):
    candidates = [Candidate("m", f"p{i}", "x", i % 3, weight) for i, weight in enumerate(weights)]
    order = STRATEGIES[strategy](candidates, ticket)
    assert sorted(order, key=lambda c: c.selector) == sorted(candidates, key=lambda c: c.selector)
