"""The JSON that people and scripts see of pools, candidates and decisions. Pure.

The admin API, ``explain``, the records and the dashboard use these functions; optional keys are absent when
there is nothing to say. Instants are ISO 8601 in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from routing.health import Phase, phase
from routing.router import Plan
from routing.strategies import slot_counts
from routing.types import (
    Candidate,
    CandidateState,
    Circuit,
    Decision,
    Evaluation,
    HealthView,
    Pool,
    PoolPolicy,
    Provider,
    RoutingTable,
    Strategy,
    Switch,
)

Shape = dict[str, Any]


def instant(at: float | None) -> str | None:
    """Unix seconds as ISO 8601 in UTC."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def blocked(state: CandidateState) -> Shape:
    """One candidate that was left out: ``reason`` is the first message, ``reasons`` has all the codes."""
    return {
        "selector": state.candidate.selector,
        "status": state.status.value,
        "reason": state.reasons[0].message if state.reasons else "",
        "reasons": [note.code.value for note in state.reasons],
    }


def circuit(found: Circuit, now: float) -> Shape:
    """A circuit or a cooldown: its state, until when, how many failures in a row, and why."""
    where = phase(found, now)
    cooling = now < found.cooldown_until
    state = "cooling_down" if cooling and where is Phase.CLOSED else where.value
    until = {
        Phase.OPEN: found.open_until,
        Phase.TRIAL: found.trial_until,
    }.get(where, found.cooldown_until if cooling else None)
    shape: Shape = {"state": state, "failures": found.failures}
    if until is not None:
        shape["until"] = instant(until)
    if found.cause:
        shape["cause"] = found.cause
    return shape


def shares(pool: Pool, selectable: tuple[Candidate, ...]) -> dict[Candidate, float]:
    """The share of requests that each selectable candidate of a weighted pool gets, 0 to 1."""
    if pool.policy.strategy is not Strategy.WEIGHTED_ROUND_ROBIN or not selectable:
        return {}
    counts = slot_counts(tuple([one.weight for one in selectable]))
    return {one: count / sum(counts) for one, count in zip(selectable, counts, strict=True)}


def slots(selectable: tuple[Candidate, ...]) -> int:
    """How many slots the weighted sequence over these candidates has before it repeats."""
    return sum(slot_counts(tuple([one.weight for one in selectable])))


def failover(policy: PoolPolicy) -> Shape:
    """The failover policy, as in the configuration file."""
    return {
        "enabled": policy.failover.enabled,
        "max_attempts": policy.failover.max_attempts,
        "retry_on_statuses": sorted(policy.failover.retry_on_statuses),
        "retry_on_model_errors": policy.failover.retry_on_model_errors,
    }


def switch(found: Switch) -> Shape:
    """An operator's switch, where somebody has set one."""
    shape: Shape = {"enabled": found.enabled}
    if found.reason:
        shape["reason"] = found.reason
    if found.expires_at is not None:
        shape["expires_at"] = instant(found.expires_at)
    if found.updated_by:
        shape["updated_by"] = found.updated_by
        shape["updated_at"] = instant(found.updated_at)
    return shape


def candidate(
    state: CandidateState, provider: Provider | None, health: HealthView, now: float, share: float | None
) -> Shape:
    """One candidate of a pool with its status and all its reasons."""
    one = state.candidate
    shape: Shape = {
        "selector": one.selector,
        "provider_name": one.provider,
        "provider_type": state.provider_type,
        "model": one.model,
        "priority": one.priority,
        "weight": one.weight,
        "provider_enabled": state.provider_enabled,
        "candidate_enabled": state.candidate_enabled,
        "effective_enabled": state.effective_enabled,
        "selectable": state.selectable,
        "status": state.status.value,
        "reasons": [{"code": note.code.value, "message": note.message} for note in state.reasons],
    }
    if share is not None:
        shape["share"] = round(share, 6)
    if state.reasons:
        shape["status_reason"] = state.reasons[0].message
    if provider is not None:
        shape["provider_runtime_status"] = state.runtime.value
        if provider.discovery.error or provider.credential_error:
            shape["provider_last_error"] = provider.discovery.error or provider.credential_error
    live = health.circuits.get((one.provider, one.model)) or health.credentials.get(one.provider)
    if live is not None:
        shape["circuit"] = circuit(live, now)
    if state.recovers_at is not None and not state.selectable:
        shape["recovers_at"] = instant(state.recovers_at)
    return shape


def candidates(
    evaluation: Evaluation, table: RoutingTable, health: HealthView, now: float, effective: Candidate | None
) -> list[Shape]:
    """All candidates of an evaluated pool, the config primary and the effective one marked."""
    share = shares(evaluation.pool, evaluation.selectable)
    return [
        {
            **candidate(
                state,
                table.providers.get(state.candidate.provider),
                health,
                now,
                share.get(state.candidate),
            ),
            "is_config_primary": state.candidate == evaluation.config_primary,
            "is_effective_candidate": state.candidate == effective,
        }
        for state in evaluation.states
    ]


def pool(
    evaluation: Evaluation, table: RoutingTable, health: HealthView, now: float, effective: Candidate | None
) -> Shape:
    """One pool as ``GET /admin/routing/model-pools`` shows it; ``effective`` comes from a peek."""
    found = evaluation.pool
    shape: Shape = {
        "canonical_model": found.canonical_model,
        "enabled": evaluation.enabled,
        "strategy": found.policy.strategy.value,
        "status": evaluation.status.value,
    }
    if evaluation.status_reason:
        shape["status_reason"] = evaluation.status_reason
    for name, one in (("effective", effective), ("config_primary", evaluation.config_primary)):
        if one is not None:
            shape[f"{name}_candidate"] = one.selector
            shape[f"{name}_provider_name"] = one.provider
    return {
        **shape,
        "blocked_candidates": [blocked(state) for state in evaluation.states if not state.selectable],
        "session_affinity": found.policy.session_affinity,
        "session_affinity_ttl_s": found.policy.session_affinity_ttl_s,
        "failover": failover(found.policy),
        "when_all_blocked": found.policy.when_all_blocked.value,
        "revision": table.revision,
        "candidates": candidates(evaluation, table, health, now, effective),
    }


def decision(made: Decision) -> Shape:
    """What a decision leaves behind before any attempt was made."""
    primary = made.evaluation.config_primary if made.evaluation is not None else None
    effective = made.effective_candidate
    shape: Shape = {
        "decision_id": made.decision_id,
        "requested_model": made.requested_model,
        "canonical_model": made.canonical_model,
        "matched_by": made.matched_by,
        "strategy": made.policy.strategy.value,
        "config_primary": primary.selector if primary is not None else None,
        "effective_candidate": effective.selector if effective is not None else None,
        "selected_provider_name": effective.provider if effective is not None else None,
        "selected_exact_model": effective.model if effective is not None else None,
        "order": [one.selector for one in made.order],
        "blocked_candidates": [blocked(state) for state in made.blocked],
        "affinity": made.affinity.value,
        "revision": made.revision,
    }
    if made.slot is not None:
        shape["slot"] = made.slot
    return shape


def plan(made: Plan) -> Shape:
    """How a name was matched, step by step, and what the choice depends on."""
    return {
        "requested_model": made.requested_model,
        "steps": list(made.steps),
        "counted": made.counter_key is not None,
        "pinned": made.pin_key is not None,
    }
