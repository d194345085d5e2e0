"""Who may serve: one function evaluates a pool, and everybody who shows or uses the result calls it. Pure.

``evaluate`` reads one table and one health view and finds, for every candidate, its status and *all* its
reasons in the order of ``Reason``. The resolver, the models list, the admin API, the dashboard and
``explain`` share it; nobody computes eligibility a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from typing import Final, NamedTuple

from routing.health import Phase, next_instant, phase
from routing.provider_class import Moment, Standing, with_cause
from routing.strategies import by_priority, by_weight
from routing.types import (
    Caller,
    Candidate,
    CandidateState,
    CandidateStatus,
    Circuit,
    Endpoint,
    Evaluation,
    HealthView,
    Pool,
    PoolStatus,
    Provider,
    Reason,
    ReasonNote,
    RoutingTable,
    RuntimeClass,
    Strategy,
    Switch,
    WhenAllBlocked,
)

MARKS: Final = frozenset({Reason.PROVIDER_DEGRADED, Reason.CIRCUIT_HALF_OPEN, Reason.LAST_CANDIDATE_KEPT})
RUNTIME: Final = frozenset(
    {
        Reason.PROVIDER_UNHEALTHY,
        Reason.CIRCUIT_OPEN,
        Reason.COOLING_DOWN,
        Reason.TRIAL_IN_FLIGHT,
        Reason.PROVIDER_BUSY,
    }
)
_MANUAL: Final = frozenset({Reason.CANDIDATE_DISABLED, Reason.PROVIDER_DISABLED})
_CALLER_SIDE: Final = frozenset({Reason.CALLER_NOT_ALLOWED, Reason.UNSUPPORTED_ENDPOINT})
_ORDER: Final = {reason: position for position, reason in enumerate(Reason)}
_NO_CIRCUIT: Final = Circuit()
# On Python 3.11 a member costs ten times as much through its class as by a name of its own.
_CANONICAL_MODEL_DISABLED: Final = Reason.CANONICAL_MODEL_DISABLED
_CANDIDATE_DEGRADED: Final = CandidateStatus.DEGRADED_RUNTIME
_CANDIDATE_ENABLED: Final = CandidateStatus.ENABLED
_UNHEALTHY: Final = RuntimeClass.UNHEALTHY
_WEIGHTED: Final = Strategy.WEIGHTED_ROUND_ROBIN
_NOT_ALLOWED: Final = ReasonNote(Reason.CALLER_NOT_ALLOWED, "The client key does not allow this model.")
_HALF_OPEN: Final = ReasonNote(
    Reason.CIRCUIT_HALF_OPEN, "The circuit is half-open: the next request is the trial."
)
_IN_FULL: Final = (PoolStatus.ENABLED, "")


@dataclass(slots=True)
class _Finding:
    """What is being found of one candidate. ``blocks`` pairs each block with its known end (or None).

    ``soft`` is false once something blocks that ``keep_last`` may not overrule.
    """

    notes: list[ReasonNote] = field(default_factory=list)
    ends: list[float | None] = field(default_factory=list)
    soft: bool = True

    def block(self, code: Reason, message: str, until: float | None = None) -> None:
        self.add(ReasonNote(code, message), until)

    def add(self, note: ReasonNote, until: float | None = None, *, soft: bool = False) -> None:
        self.notes.append(note)
        self.ends.append(until)
        self.soft = self.soft and soft

    @property
    def recovers_at(self) -> float | None:
        """When every block will be gone, where that is known of all."""
        known = [end for end in self.ends if end is not None]
        return max(known) if known and len(known) == len(self.ends) else None


class _Scene(NamedTuple):
    """What all candidates of one evaluation have in common."""

    moment: Moment
    pool: Pool
    pool_on: bool
    caller: Caller | None
    caller_ok: bool


def evaluate(  # noqa: PLR0913 - each argument is one thing that a candidate's eligibility depends on
    pool: Pool,
    table: RoutingTable,
    health: HealthView,
    *,
    now: float,
    endpoint: Endpoint | None = None,
    caller: Caller | None = None,
    requested: str = "",
) -> Evaluation:
    """Evaluate a pool for one caller and endpoint (None: any) at ``now``.

    ``requested`` is the name that the client sent: a caller's patterns are on it and on qualified names.
    The result holds for the same table and health view until its ``valid_until``.
    """
    return evaluate_at(Moment(table, health, now, endpoint), pool, caller=caller, requested=requested)


def evaluate_at(
    moment: Moment, pool: Pool, *, caller: Caller | None = None, requested: str = ""
) -> Evaluation:
    """``evaluate`` for one pool of many at the same moment."""
    pool_on = pool.switch.value_at(moment.now)
    caller_ok = caller is None or caller.may_use(requested or pool.canonical_model)
    scene = _Scene(moment, pool, pool_on, caller, caller_ok)
    states, soft = [], []
    for candidate in pool.candidates:
        state = _plain_state(candidate, moment) if pool_on and caller_ok else None
        if state is None:
            state, is_soft = _inspect(candidate, scene)
            if is_soft:
                soft.append(state)
        states.append(state)
    selectable = [state.candidate for state in states if state.selectable]
    if pool_on and states and not selectable:
        states = _spare(pool, states, soft)
        selectable = [state.candidate for state in states if state.selectable]
    status, reason = _pool_status(pool_on, pool, states, len(selectable))
    recoveries = [s.recovers_at for s in states if s.recovers_at is not None and not s.selectable]
    return Evaluation(
        pool,
        pool_on,
        status,
        reason,
        tuple(states),
        tuple(selectable),
        config_primary(pool),
        min(recoveries) if recoveries else None,
        _valid_until(pool, moment),
    )


def config_primary(pool: Pool) -> Candidate | None:
    """The candidate that configuration alone prefers, by the strategy's own comparator.

    For ``weighted_round_robin`` that is the heaviest: the first slot over all candidates.
    """
    weighted = pool.policy.strategy is _WEIGHTED
    return min(pool.candidates, key=by_weight if weighted else by_priority, default=None)


def _plain_state(candidate: Candidate, moment: Moment) -> CandidateState | None:
    """The state of a candidate of which nothing is to be said but its provider's marks; else None.

    ``_inspect`` finds the same for pool and caller without objections, and takes four times as long.
    """
    standing, switch = moment.standing(candidate.provider), candidate.switch
    if standing is None or not standing.is_plain or not switch.enabled or switch.expires_at is not None:
        return None
    provider, model, circuits = standing.provider, candidate.model, moment.circuits
    if circuits and (candidate.provider, model) in circuits:
        return None
    if not _may_have(provider, model):
        return None
    return CandidateState(
        candidate, provider.kind, True, True, True, standing.runtime, True, standing.status, standing.marks
    )


def _inspect(candidate: Candidate, scene: _Scene) -> tuple[CandidateState, bool]:
    """The state of one candidate, and whether only what ``keep_last`` may overrule blocks it."""
    finding = _Finding()
    now, standing = scene.moment.now, scene.moment.standing(candidate.provider)
    candidate_on = candidate.switch.value_at(now)
    if not candidate_on:
        _switched_off(finding, Reason.CANDIDATE_DISABLED, "The candidate is switched off", candidate.switch)
    if standing is None:
        finding.block(Reason.PROVIDER_DISABLED, f"There is no provider {candidate.provider!r}.")
        return _state(candidate, None, candidate_on, finding), False
    provider = standing.provider
    if not standing.enabled:
        _switched_off(
            finding,
            Reason.PROVIDER_DISABLED,
            f"The provider {provider.name} is switched off",
            provider.switch,
        )
    if not scene.pool_on:
        _switched_off(
            finding, Reason.CANONICAL_MODEL_DISABLED, "The canonical model is switched off", scene.pool.switch
        )
    _check_caller(finding, candidate, standing, scene)
    if not _may_have(provider, candidate.model):
        finding.block(Reason.MISSING_MODEL, f"{provider.name} has no model {candidate.model!r}.")
    _check_runtime(finding, candidate, standing, scene.moment)
    if len(finding.notes) > 1:
        finding.notes.sort(key=lambda note: _ORDER[note.code])
    return _state(candidate, standing, candidate_on, finding), finding.soft


def _switched_off(finding: _Finding, code: Reason, text: str, switch: Switch) -> None:
    expires = switch.expires_at
    until = expires if switch.base and expires is not None else None
    finding.block(code, f"{text}: {switch.reason}" if switch.reason else f"{text}.", until)


def _check_caller(finding: _Finding, candidate: Candidate, standing: Standing, scene: _Scene) -> None:
    caller, endpoint = scene.caller, scene.moment.endpoint
    if not scene.caller_ok and caller is not None and not caller.may_use(candidate.selector):
        finding.add(_NOT_ALLOWED)
    if not standing.serves:
        what = "any endpoint" if endpoint is None else endpoint.value
        finding.block(Reason.UNSUPPORTED_ENDPOINT, f"{standing.provider.name} cannot serve {what}.")


def _may_have(provider: Provider, model: str) -> bool:
    """Whether a model stands in either list; a provider with neither list may have any."""
    discovered, configured = provider.discovery.models, provider.configured_models
    return model in discovered or model in configured or not (discovered or configured)


def _check_runtime(finding: _Finding, candidate: Candidate, standing: Standing, moment: Moment) -> None:
    if standing.discovered is _UNHEALTHY:
        finding.block(Reason.PROVIDER_UNHEALTHY, standing.message)
    else:
        finding.notes += standing.marks
    name, credential = candidate.provider, standing.credential
    circuit = moment.circuits.get((name, candidate.model))
    if circuit is not None or credential is not None:
        blocks, marks = _say_circuits(circuit or _NO_CIRCUIT, credential or _NO_CIRCUIT, moment.now)
        for note, until, soft in blocks:
            finding.add(note, until, soft=soft)
        finding.notes += marks
    if standing.busy:
        finding.block(Reason.PROVIDER_BUSY, f"{name} is at its limit of requests in flight.")


# A refused credential says the same of all candidates of its provider, at one moment.
@lru_cache(maxsize=256)
def _say_circuits(
    circuit: Circuit, credential: Circuit, now: float
) -> tuple[tuple[tuple[ReasonNote, float, bool], ...], tuple[ReasonNote, ...]]:
    """What the circuit of the model and the one of the provider's credential say: one reason each.

    First the blocks, each with its end and whether ``keep_last`` may overrule it, then the marks.
    """
    both = (
        (phase(circuit, now), circuit, "The circuit"),
        (phase(credential, now), credential, "The circuit of the provider's credential"),
    )
    blocks = []
    opened = [
        (c.open_until, with_cause(f"{text} is open", c)) for where, c, text in both if where is Phase.OPEN
    ]
    if opened:
        until = max(opened)[0]
        note = ReasonNote(Reason.CIRCUIT_OPEN, f"{opened[0][1]} Until {_clock(until)}.")
        blocks.append((note, until, True))
    if now < circuit.cooldown_until:
        stated = now < circuit.stated_until
        by = "as the provider asked" if stated else "after a 429"
        until = circuit.cooldown_until
        note = ReasonNote(Reason.COOLING_DOWN, f"Cooling down {by} until {_clock(until)}.")
        blocks.append((note, until, not stated))
    trials = [c.trial_until for where, c, _ in both if where is Phase.TRIAL]
    if trials:
        message = "One trial request is under way; its outcome decides."
        blocks.append((ReasonNote(Reason.TRIAL_IN_FLIGHT, message), max(trials), True))
    half_open = any(where is Phase.HALF_OPEN for where, _, _ in both)
    return tuple(blocks), (_HALF_OPEN,) if half_open else ()


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def _state(
    candidate: Candidate, standing: Standing | None, candidate_on: bool, finding: _Finding
) -> CandidateState:
    codes = tuple([note.code for note in finding.notes])
    provider_on = standing is not None and standing.enabled
    return CandidateState(
        candidate,
        standing.provider.kind if standing is not None else "",
        provider_on,
        candidate_on,
        provider_on and candidate_on and _CANONICAL_MODEL_DISABLED not in codes,
        standing.runtime if standing is not None else _UNHEALTHY,
        not finding.ends,
        _status(codes) if codes else _CANDIDATE_ENABLED,
        tuple(finding.notes),
        finding.recovers_at if finding.ends else None,
    )


@lru_cache(maxsize=1024)
def _status(codes: tuple[Reason, ...]) -> CandidateStatus:
    """The first status that applies."""
    present = frozenset(codes)
    for status, group in (
        (CandidateStatus.DISABLED_MANUAL, _MANUAL),
        (CandidateStatus.DISABLED_EFFECTIVE, {Reason.CANONICAL_MODEL_DISABLED}),
        (CandidateStatus.MISSING_MODEL, {Reason.MISSING_MODEL}),
        (CandidateStatus.UNHEALTHY_RUNTIME, RUNTIME),
        (CandidateStatus.INELIGIBLE, _CALLER_SIDE),
    ):
        if present & group:
            return status
    return CandidateStatus.DEGRADED_RUNTIME


def _spare(pool: Pool, states: list[CandidateState], soft: Sequence[CandidateState]) -> list[CandidateState]:
    """Nothing is selectable: let ``when_all_blocked`` say how far runtime health may go.

    ``soft`` are the states that ``keep_last`` may overrule.
    """
    rule = pool.policy.when_all_blocked
    if rule is WhenAllBlocked.KEEP_LAST:
        kept = min(soft, key=lambda s: (s.recovers_at or 0.0, by_priority(s.candidate)), default=None)
        message = "Kept although blocked: the pool has no other candidate left."
        return [_kept(state, message) if state is kept else state for state in states]
    if rule is WhenAllBlocked.LAST_RESORT:
        message = "Tried as a last resort: every candidate is blocked by its runtime health."
        return [_kept(state, message) if _only_runtime(state) else state for state in states]
    return states


def _only_runtime(state: CandidateState) -> bool:
    """Whether nothing but health blocks; the limit of requests in flight is the operator's and stands."""
    blocks = {note.code for note in state.reasons} - MARKS
    return blocks <= RUNTIME - {Reason.PROVIDER_BUSY}


def _kept(state: CandidateState, message: str) -> CandidateState:
    note = ReasonNote(Reason.LAST_CANDIDATE_KEPT, message)
    return state._replace(
        selectable=True, status=CandidateStatus.DEGRADED_RUNTIME, reasons=(*state.reasons, note)
    )


def _pool_status(
    pool_on: bool, pool: Pool, states: Sequence[CandidateState], usable: int
) -> tuple[PoolStatus, str]:
    if not pool_on:
        return PoolStatus.DISABLED_MANUAL, pool.switch.reason or "The canonical model is switched off."
    if not usable:
        return (
            PoolStatus.UNAVAILABLE,
            "No candidate can be used." if states else "The pool has no candidates.",
        )
    if usable < len(states):
        return PoolStatus.DEGRADED, f"{usable} of {len(states)} candidates can be used."
    degraded = [state.status for state in states].count(_CANDIDATE_DEGRADED)
    if degraded:
        return PoolStatus.DEGRADED, f"{degraded} of {len(states)} candidates are degraded."
    return _IN_FULL


def _valid_until(pool: Pool, moment: Moment) -> float:
    """The next instant at which the passing of time alone may change the evaluation."""
    now, circuits = moment.now, moment.circuits
    instants = [inf]
    expiries = [pool.switch.expires_at]
    for candidate in pool.candidates:
        expiries.append(candidate.switch.expires_at)
        standing = moment.standing(candidate.provider)
        if standing is None:
            continue
        instants.append(standing.valid_until)
        circuit = circuits.get((candidate.provider, candidate.model)) if circuits else None
        if circuit is not None:
            instants.append(next_instant(circuit, now))
    instants += [at for at in expiries if at is not None and at > now]
    return min(instants)
