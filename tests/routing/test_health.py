"""The circuit breaker as a state machine, and its merge between workers."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.health import (
    CLOSED,
    Phase,
    Rules,
    after_credential_refusal,
    after_failure,
    after_rate_limit,
    after_success,
    claim_trial,
    is_forgettable,
    merge,
    next_instant,
    phase,
    release_trial,
    shared,
)
from routing.types import Circuit

RULES = Rules(failures=3, open_s=30, max_open_s=300, trial_lease_s=60)


def opened(now=100.0):
    circuit = CLOSED
    for _ in range(3):
        circuit = after_failure(circuit, now, rules=RULES, cause="503")
    return circuit


def test_circuit_opens_after_enough_failures_in_a_row():
    """T28: live failures count, whatever discovery says."""
    circuit = after_failure(after_failure(CLOSED, 100.0, rules=RULES), 100.0, rules=RULES)
    assert (phase(circuit, 100.0), circuit.failures) == (Phase.CLOSED, 2)
    circuit = after_failure(circuit, 100.0, rules=RULES, cause="503")
    assert (phase(circuit, 129.9), circuit.open_until, circuit.cause) == (Phase.OPEN, 130.0, "503")
    assert phase(circuit, 130.0) is Phase.HALF_OPEN


def test_next_instant_is_the_soonest_that_is_still_to_come():
    circuit = Circuit(
        openings=1, open_until=130.0, trial_until=90.0, cooldown_until=110.0, stated_until=110.0
    )
    assert [next_instant(circuit, now) for now in (80.0, 90.0, 110.0, 130.0)] == [90.0, 110.0, 130.0, inf]


def test_success_in_between_starts_the_count_again():
    circuit = after_failure(after_failure(CLOSED, 100.0, rules=RULES), 100.0, rules=RULES)
    circuit = after_success(circuit, 100.0)
    assert circuit == CLOSED
    assert after_success(circuit, 101.0) is circuit


def test_circuit_stays_open_twice_as_long_each_time_up_to_the_maximum():
    circuit, now, lengths = opened(), 100.0, []
    for _ in range(6):
        lengths.append(circuit.open_until - now)
        now = circuit.open_until
        circuit = after_failure(claim_trial(circuit, now, rules=RULES), now, rules=RULES)
    assert lengths == [30, 60, 120, 240, 300, 300]


def test_failure_while_open_changes_no_time():
    assert replace(after_failure(opened(), 110.0, rules=RULES), failures=3) == opened()


def test_trial_is_for_one_and_its_verdict_decides():
    circuit = claim_trial(opened(), 130.0, rules=RULES)
    assert phase(circuit, 131.0) is Phase.TRIAL
    assert claim_trial(circuit, 131.0, rules=RULES) is circuit
    assert phase(circuit, 190.0) is Phase.HALF_OPEN
    assert phase(after_success(circuit, 131.0), 131.0) is Phase.CLOSED
    failed = after_failure(circuit, 131.0, rules=RULES)
    assert (phase(failed, 131.0), failed.open_until) == (Phase.OPEN, 191.0)


def test_neutral_outcome_releases_the_trial():
    circuit = release_trial(claim_trial(opened(), 130.0, rules=RULES))
    assert phase(circuit, 131.0) is Phase.HALF_OPEN
    assert release_trial(circuit) is circuit
    assert phase(claim_trial(circuit, 131.0, rules=RULES), 132.0) is Phase.TRIAL


def test_claim_is_refused_unless_half_open():
    assert claim_trial(CLOSED, 100.0) is CLOSED
    circuit = opened()
    assert claim_trial(circuit, 101.0) is circuit


@pytest.mark.parametrize(
    ("retry_after_s", "cooldown", "stated"), [(None, 110.0, 0.0), (3, 103.0, 103.0), (9999, 400.0, 400.0)]
)
def test_rate_limit_cools_down_and_opens_nothing(retry_after_s, cooldown, stated):
    circuit = after_rate_limit(CLOSED, 100.0, retry_after_s)
    assert (circuit.cooldown_until, circuit.stated_until) == (cooldown, stated)
    assert (phase(circuit, 100.0), circuit.failures) == (Phase.CLOSED, 0)


def test_success_leaves_a_cooldown_running():
    circuit = after_success(after_rate_limit(opened(), 100.0, 60), 101.0)
    assert (circuit.cooldown_until, circuit.stated_until) == (160.0, 160.0)
    assert phase(circuit, 101.0) is Phase.CLOSED


def test_rate_limited_trial_has_no_verdict():
    circuit = after_rate_limit(claim_trial(opened(), 130.0), 131.0)
    assert phase(circuit, 131.0) is Phase.HALF_OPEN


def test_credential_circuit_opens_at_the_first_refusal():
    circuit = after_credential_refusal(CLOSED, 100.0, cause="401")
    assert (phase(circuit, 100.0), circuit.open_until) == (Phase.OPEN, 130.0)


def test_closing_beats_an_opening_that_came_before_it():
    closed = after_success(opened(), 120.0)
    assert merge(opened(), closed) == closed
    assert merge(closed, opened()) == closed


def test_later_until_wins():
    assert merge(opened(100.0), opened(105.0)).open_until == 135.0


def test_shared_keeps_failures_short_of_an_opening_at_home():
    assert shared(after_failure(CLOSED, 1.0, rules=RULES, cause="500")) == CLOSED
    assert shared(opened()) == opened()


def test_circuit_is_forgettable_once_nothing_hangs_on_it():
    assert is_forgettable(CLOSED, 1000.0) is True
    assert is_forgettable(opened(), 10_000.0) is False
    closed = after_success(opened(), 120.0)
    assert is_forgettable(closed, 121.0) is False
    assert is_forgettable(closed, 420.0) is True


steps = st.lists(
    st.tuples(
        st.sampled_from(["failure", "limit", "stated", "claim", "release", "success"]),
        st.floats(min_value=0, max_value=50),
        st.floats(min_value=0, max_value=400),
    ),
    max_size=25,
)


def play(moves):
    circuit, now, seen = CLOSED, 0.0, []
    for move, wait, retry_after_s in moves:
        now += wait
        before = circuit
        if move == "failure":
            circuit = after_failure(circuit, now, rules=RULES, cause=f"f{now:.0f}")
        elif move == "limit":
            circuit = after_rate_limit(circuit, now)
        elif move == "stated":
            circuit = after_rate_limit(circuit, now, retry_after_s)
        elif move == "claim":
            circuit = claim_trial(circuit, now, rules=RULES)
        elif move == "release":
            circuit = release_trial(circuit)
        else:
            circuit = after_success(circuit, now)
        seen.append((move, before, circuit))
    return circuit, seen


circuits = steps.map(lambda moves: play(moves)[0])
loose_circuits = st.builds(
    Circuit,
    failures=st.integers(0, 3),
    openings=st.integers(0, 3),
    open_until=st.sampled_from([0.0, 1.0, 2.0]),
    trial_until=st.sampled_from([0.0, 1.0, 2.0]),
    trial_seq=st.integers(0, 2),
    cooldown_until=st.sampled_from([0.0, 1.0, 2.0]),
    stated_until=st.sampled_from([0.0, 1.0, 2.0]),
    since_at=st.sampled_from([0.0, 1.0]),
    closed_at=st.sampled_from([0.0, 1.0]),
    cause=st.sampled_from(["", "a"]),
)
any_circuits = circuits | loose_circuits


@given(steps)
def test_nothing_but_a_success_ever_shortens(moves):
    for move, before, after in play(moves)[1]:
        assert after.cooldown_until >= before.cooldown_until
        assert after.stated_until >= before.stated_until
        if move != "success":
            assert after.open_until >= before.open_until


@given(any_circuits, any_circuits)
def test_merge_is_commutative_and_never_shorter(a, b):
    merged = merge(a, b)
    assert merged == merge(b, a)
    assert merged.cooldown_until == max(a.cooldown_until, b.cooldown_until)
    if a.closed_at == b.closed_at:
        assert merged.open_until == max(a.open_until, b.open_until)


@given(any_circuits)
def test_merge_is_idempotent(a):
    assert merge(a, a) == a


@given(any_circuits, any_circuits, any_circuits)
def test_merge_is_associative(a, b, c):
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
