"""The circuit breaker as a state machine over ``types.Circuit``. Pure: the clock is an argument.

A circuit is closed, open, half-open, or half-open with its trial in flight; a 429 cools it down beside
that. Workers count failures on their own and share transitions: ``merge`` may see them in any order and
any number of times and always ends at the same circuit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import Final

from routing.policies import cooldown_s
from routing.types import Circuit


class Phase(StrEnum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    TRIAL = "trial_in_flight"


@dataclass(frozen=True, slots=True)
class Rules:
    """How many consecutive failures open a circuit, and for how long.

    Attributes:
        failures: Consecutive failures that open it.
        open_s: How long it stays open the first time; twice as long each further time in a row.
        max_open_s: The longest it stays open.
        cooldown_s: How long a 429 that names no time cools down.
        max_cooldown_s: The longest that a named time is believed.
        trial_lease_s: After this long without a verdict another trial may start.
    """

    failures: int = 5
    open_s: float = 30.0
    max_open_s: float = 300.0
    cooldown_s: float = 10.0
    max_cooldown_s: float = 300.0
    trial_lease_s: float = 60.0


RULES: Final = Rules()
CLOSED: Final = Circuit()


def phase(circuit: Circuit, now: float) -> Phase:
    """Where the circuit stands at ``now``; a cooldown is not part of it."""
    if circuit.openings == 0:
        return Phase.CLOSED
    if now < circuit.open_until:
        return Phase.OPEN
    if now < circuit.trial_until:
        return Phase.TRIAL
    return Phase.HALF_OPEN


def next_instant(circuit: Circuit, now: float) -> float:
    """The next instant after ``now`` at which time alone may change what the circuit says."""
    instants = (circuit.open_until, circuit.trial_until, circuit.cooldown_until, circuit.stated_until)
    return min([at for at in instants if at > now], default=inf)


def after_failure(circuit: Circuit, now: float, *, rules: Rules = RULES, cause: str = "") -> Circuit:
    """Count a failure: enough of them open a closed circuit, one reopens a half-open one.

    A failure while it is open (an old request, or the last candidate that was kept) changes no time.
    """
    failures = circuit.failures + 1
    where = phase(circuit, now)
    if where is Phase.OPEN or (where is Phase.CLOSED and failures < rules.failures):
        return replace(circuit, failures=failures, cause=cause or circuit.cause)
    open_s = min(rules.open_s * 2.0 ** min(circuit.openings, 32), rules.max_open_s)
    return replace(
        circuit,
        failures=failures,
        openings=circuit.openings + 1,
        open_until=max(circuit.open_until, now + open_s),
        trial_until=0.0,
        trial_seq=circuit.trial_seq + (where is Phase.TRIAL),
        since_at=now,
        cause=cause or circuit.cause,
    )


def after_credential_refusal(
    circuit: Circuit, now: float, *, rules: Rules = RULES, cause: str = ""
) -> Circuit:
    """A provider refused the gateway's credential: one refusal opens the provider's own circuit."""
    return after_failure(circuit, now, rules=replace(rules, failures=1), cause=cause)


def after_success(circuit: Circuit, now: float) -> Circuit:
    """A success closes the circuit and forgets its failures; a cooldown runs on.

    Answers the same object when there is nothing to change.
    """
    if circuit.openings == 0:
        return circuit if circuit.failures == 0 else replace(circuit, failures=0, cause="")
    return Circuit(
        cooldown_until=circuit.cooldown_until,
        stated_until=circuit.stated_until,
        since_at=now,
        closed_at=max(now, circuit.closed_at),
    )


def after_rate_limit(
    circuit: Circuit, now: float, retry_after_s: float | None = None, *, rules: Rules = RULES
) -> Circuit:
    """Cool down for as long as the provider said, or the default; never shorter than before.

    A trial that met a 429 has no verdict, so its lease is given back.
    """
    until = now + cooldown_s(retry_after_s, default_s=rules.cooldown_s, max_s=rules.max_cooldown_s)
    stated = until if retry_after_s is not None else 0.0
    return replace(
        release_trial(circuit),
        cooldown_until=max(circuit.cooldown_until, until),
        stated_until=max(circuit.stated_until, stated),
    )


def claim_trial(circuit: Circuit, now: float, *, rules: Rules = RULES) -> Circuit:
    """Take the lease for the one trial of a half-open circuit; the same object when there is none to take."""
    if phase(circuit, now) is not Phase.HALF_OPEN:
        return circuit
    return replace(circuit, trial_until=now + rules.trial_lease_s, trial_seq=circuit.trial_seq + 1)


def release_trial(circuit: Circuit) -> Circuit:
    """Give the lease back without a verdict: a neutral answer, or the client left."""
    if circuit.trial_until == 0.0:
        return circuit
    return replace(circuit, trial_until=0.0, trial_seq=circuit.trial_seq + 1)


def merge(a: Circuit, b: Circuit) -> Circuit:
    """What two workers know together: the later ``until`` wins, and a closing ends what came before it.

    Commutative, associative and idempotent, so that the order of arrival does not matter.
    """
    cooldown_until = max(a.cooldown_until, b.cooldown_until)
    stated_until = max(a.stated_until, b.stated_until)
    if a.closed_at != b.closed_at:
        later = a if a.closed_at > b.closed_at else b
        return replace(later, cooldown_until=cooldown_until, stated_until=stated_until)
    open_until, since_at, cause = max(
        (a.open_until, a.since_at, a.cause), (b.open_until, b.since_at, b.cause)
    )
    trial_seq, trial_until = max((a.trial_seq, a.trial_until), (b.trial_seq, b.trial_until))
    return Circuit(
        failures=max(a.failures, b.failures),
        openings=max(a.openings, b.openings),
        open_until=open_until,
        trial_until=trial_until,
        trial_seq=trial_seq,
        cooldown_until=cooldown_until,
        stated_until=stated_until,
        since_at=since_at,
        closed_at=a.closed_at,
        cause=cause,
    )


def shared(circuit: Circuit) -> Circuit:
    """What other workers need of a circuit: failures short of an opening are counted per worker."""
    if circuit.openings == 0 and (circuit.failures or circuit.cause):
        return replace(circuit, failures=0, cause="")
    return circuit


def is_forgettable(circuit: Circuit, now: float, *, rules: Rules = RULES) -> bool:
    """Whether dropping the circuit loses nothing that anybody could still need."""
    return (
        circuit.openings == 0
        and circuit.failures == 0
        and circuit.cooldown_until <= now
        and circuit.closed_at + rules.max_open_s <= now
    )
