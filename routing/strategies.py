"""The ordering functions: ``STRATEGIES`` maps a name to ``(candidates, ticket) -> order``. Pure.

Each returns every candidate once, the choice first and the failover order after it, and remembers nothing.
What does not depend on the ticket is its ``rank``, which a caller may keep for the same candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from types import MappingProxyType
from typing import Final, NamedTuple

from routing.types import Candidate, Strategy

MAX_SLOTS: Final = 1000


class Ranking(NamedTuple):
    """Candidates in failover order, and a cycle of the places in it that tickets choose.

    ``slots`` is empty where the ticket does not matter: the first is the choice.
    """

    candidates: tuple[Candidate, ...] = ()
    slots: tuple[int, ...] = ()

    def order(self, ticket: int) -> tuple[Candidate, ...]:
        """The ticket's choice first, then the others in failover order."""
        slots, ranked = self.slots, self.candidates
        if not slots:
            return ranked
        return with_first(ranked, slots[ticket % len(slots)])

    def slot(self, ticket: int) -> int | None:
        """The slot that a ticket falls on, for people; None where the ticket does not matter."""
        return ticket % len(self.slots) if self.slots else None


def with_first(candidates: tuple[Candidate, ...], place: int) -> tuple[Candidate, ...]:
    """The same candidates, the one at ``place`` before the others."""
    if place == 0:
        return candidates
    return (candidates[place], *candidates[:place], *candidates[place + 1 :])


@dataclass(frozen=True, slots=True)
class Ordering:
    """A strategy: ``(candidates, ticket) -> order``."""

    rank: Callable[[Sequence[Candidate]], Ranking]

    def __call__(self, candidates: Sequence[Candidate], ticket: int) -> tuple[Candidate, ...]:
        """Every candidate once, the choice first."""
        return self.rank(candidates).order(ticket)


def by_priority(candidate: Candidate) -> tuple[int, str]:
    """Sort key: priority ascending, then the qualified name."""
    return candidate.priority, candidate.selector


def by_weight(candidate: Candidate) -> tuple[int, int, str]:
    """Sort key: weight descending, then priority, then the qualified name."""
    return -candidate.weight, candidate.priority, candidate.selector


@Ordering
def priority_failover(candidates: Sequence[Candidate]) -> Ranking:
    """The lowest priority first; the ticket does not matter."""
    return Ranking(tuple(sorted(candidates, key=by_priority)))


@Ordering
def weighted_round_robin(candidates: Sequence[Candidate]) -> Ranking:
    """The ticket's slot in a smooth weighted sequence first, then by weight.

    Over any ``len(slots)`` consecutive tickets every candidate is chosen exactly as often as it has slots.
    Ticket 0 chooses the heaviest.
    """
    if len(candidates) < 2:
        return Ranking(tuple(candidates))
    ranked = tuple(sorted(candidates, key=by_weight))
    return Ranking(ranked, smooth_slots(tuple([candidate.weight for candidate in ranked])))


STRATEGIES: Final[Mapping[Strategy, Ordering]] = MappingProxyType(
    {
        Strategy.PRIORITY_FAILOVER: priority_failover,
        Strategy.WEIGHTED_ROUND_ROBIN: weighted_round_robin,
    }
)

_COUNTED: Final = frozenset({Strategy.WEIGHTED_ROUND_ROBIN})


def needs_ticket(strategy: Strategy) -> bool:
    """Whether the strategy's choice depends on the ticket."""
    return strategy in _COUNTED


def slot_of(strategy: Strategy, candidates: Sequence[Candidate], ticket: int) -> int | None:
    """The slot that a ticket falls on, for people; None where the strategy does not count."""
    return STRATEGIES[strategy].rank(candidates).slot(ticket)


@lru_cache(maxsize=1024)
def slot_counts(weights: tuple[int, ...]) -> tuple[int, ...]:
    """How many slots of one cycle each weight gets.

    Weights are reduced by their greatest common divisor. Where that leaves more than ``MAX_SLOTS`` in all,
    they are scaled down to ``MAX_SLOTS`` by largest remainder, each keeping at least one.
    """
    reduced = [max(weight, 1) for weight in weights]
    divisor = gcd(*reduced)
    reduced = [weight // divisor for weight in reduced]
    total = sum(reduced)
    if total <= MAX_SLOTS or len(reduced) >= MAX_SLOTS:
        return tuple(reduced) if total <= MAX_SLOTS else (1,) * len(reduced)
    counts = [max(weight * MAX_SLOTS // total, 1) for weight in reduced]
    missing = MAX_SLOTS - sum(counts)
    if missing > 0:
        by_remainder = sorted(range(len(reduced)), key=lambda i: (-(reduced[i] * MAX_SLOTS % total), i))
        for i in by_remainder[:missing]:
            counts[i] += 1
    for _ in range(-missing):
        # Floors raised to one overdrew the cycle: the candidate furthest above its share gives one back.
        i = max(range(len(counts)), key=lambda j: (counts[j] > 1, counts[j] * total - reduced[j] * MAX_SLOTS))
        counts[i] -= 1
    return tuple(counts)


@lru_cache(maxsize=512)
def smooth_slots(weights: tuple[int, ...]) -> tuple[int, ...]:
    """One cycle of the smooth weighted sequence, as indexes into ``weights``.

    Each step adds to every index its share; the highest is chosen (the first of equals) and pays the total.
    The sequence returns to its start after one cycle, so it is a pure function of the weights.
    """
    counts = slot_counts(weights)
    total = sum(counts)
    current = [0] * len(counts)
    slots = []
    for _ in range(total):
        current = [value + count for value, count in zip(current, counts, strict=True)]
        chosen = current.index(max(current))
        current[chosen] -= total
        slots.append(chosen)
    return tuple(slots)
