"""Pools as the pages show them: one word per row, every reason, since when, and what can be switched. Pure.

Made from one ``Survey``; nothing here decides who may serve.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dashboard import words
from dashboard.words import Mark
from routing.document import object_key
from routing.resolver import Survey
from routing.shapes import shares
from routing.types import (
    Candidate,
    CandidateState,
    CandidateStatus,
    Decision,
    Evaluation,
    HealthView,
    Pool,
    PoolStatus,
    Provider,
    Reason,
    RoutingTable,
    Strategy,
    Switch,
)

# Problems first; within a tone those that failed over, then by name.
_URGENCY = {"bad": 0, "warn": 1, "off": 2, "ok": 3}


@dataclass(frozen=True, slots=True)
class SwitchView:
    """A switch as a control shows it: its value now, who set it, why, since and until when (Unix seconds)."""

    key: str
    name: str
    on: bool
    by: str
    reason: str
    since_at: float | None
    until_at: float | None


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """One candidate of a pool. ``order`` is its place in the next decision; None: it is left out."""

    candidate: Candidate
    kind: str
    mark: Mark
    reasons: tuple[tuple[str, str], ...]
    order: int | None
    selectable: bool
    is_effective: bool
    is_primary: bool
    wanted_share: float | None
    recovers_at: float | None
    since_at: float | None
    switch: SwitchView
    provider_switch: SwitchView

    @property
    def key(self) -> str:
        """What tells its row from all others."""
        return self.switch.key

    @property
    def series(self) -> str:
        """Its name among the live numbers."""
        return "\n".join((self.candidate.pool, self.candidate.provider, self.candidate.model))


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One pool. ``since_at`` is when it stopped serving as configured, where that is known."""

    pool: Pool
    mark: Mark
    status_reason: str
    since_at: float | None
    candidates: tuple[CandidateRow, ...]
    selectable: int
    effective: Candidate | None
    primary: Candidate | None
    switch: SwitchView
    recovers_at: float | None
    listed: bool
    aliases: tuple[str, ...]

    @property
    def name(self) -> str:
        """The canonical model."""
        return self.pool.canonical_model

    @property
    def key(self) -> str:
        """What tells its row from all others."""
        return self.switch.key

    @property
    def is_weighted(self) -> bool:
        """Whether requests are shared by weight."""
        return self.pool.policy.strategy is Strategy.WEIGHTED_ROUND_ROBIN

    @property
    def is_problem(self) -> bool:
        """Whether it does not serve as configured."""
        return self.mark.tone in {"bad", "warn"}


def pool_rows(survey: Survey) -> tuple[PoolRow, ...]:
    """Every pool, problems first, then by name."""
    aliases: dict[str, list[str]] = {}
    for alias, target in survey.table.aliases.items():
        aliases.setdefault(target, []).append(alias)
    rows = (
        _pool_row(decision, evaluation, survey, tuple(sorted(aliases.get(decision.canonical_model, ()))))
        for decision in survey.decisions
        if (evaluation := decision.evaluation) is not None
    )
    return tuple(
        sorted(rows, key=lambda row: (_URGENCY[row.mark.tone], row.mark != words.FAILED_OVER, row.name))
    )


def only(rows: Iterable[PoolRow], *, text: str = "", state: str = "", provider: str = "") -> list[PoolRow]:
    """The rows that match all filters; ``state`` is a mark's word or ``problem``, any case."""
    wanted, needle = state.lower(), text.strip().lower()
    return [
        row
        for row in rows
        if (not needle or needle in _searchable(row))
        and (not wanted or row.mark.word.lower() == wanted or (wanted == "problem" and row.is_problem))
        and (not provider or any(one.candidate.provider == provider for one in row.candidates))
    ]


@dataclass(frozen=True, slots=True)
class Problems:
    """How many pools do not serve as configured or not with all they have, and in which words."""

    count: int
    words: tuple[tuple[str, int], ...]


def problems(rows: Iterable[PoolRow]) -> Problems:
    """Count them; the kinds in the order of the rows."""
    kinds = Counter(row.mark.word.lower() for row in rows if row.is_problem)
    return Problems(kinds.total(), tuple(kinds.items()))


def sentence(row: PoolRow) -> str:
    """What the pool does now and why, for people."""
    if row.mark.tone == "off":
        return "Switched off. Clients that ask for it get 404 model_disabled."
    if row.effective is None:
        return "No candidate can be used. Clients get 503 no_eligible_candidates."
    blocked = [one for one in row.candidates if not one.selectable and one.reasons]
    if row.is_weighted:
        return _weighted_sentence(row, blocked)
    if row.effective == row.primary:
        rest = f" Left out: {_because(blocked)}" if blocked else ""
        return f"Serving from {row.effective.selector}, its configured primary.{rest}"
    ahead = [one for one in blocked if one.is_primary] or blocked
    why = f" because {_because(ahead)}" if ahead else "."
    return f"Serving from {row.effective.selector}{why}"


def provider_switch(provider: Provider, now: float) -> SwitchView:
    """The switch of a provider."""
    key = object_key("provider", provider.name)
    return _switch(key, f"provider {provider.name}", provider.switch, now)


def trouble_since(state: CandidateState, table: RoutingTable, health: HealthView, pool: Pool) -> float | None:
    """Since when the candidate's first reason holds, where anything remembers."""
    if not state.reasons:
        return None
    one, provider = state.candidate, table.providers.get(state.candidate.provider)
    code = state.reasons[0].code
    switches = {
        Reason.CANDIDATE_DISABLED: one.switch,
        Reason.CANONICAL_MODEL_DISABLED: pool.switch,
        Reason.PROVIDER_DISABLED: provider.switch if provider is not None else one.switch,
    }
    if code in switches:
        return switches[code].updated_at
    if code in {Reason.PROVIDER_UNHEALTHY, Reason.PROVIDER_DEGRADED} and provider is not None:
        return provider.discovery.first_failed_at
    circuit = health.circuits.get((one.provider, one.model)) or health.credentials.get(one.provider)
    return (circuit.since_at or None) if circuit is not None else None


def _pool_row(
    decision: Decision, evaluation: Evaluation, survey: Survey, aliases: tuple[str, ...]
) -> PoolRow:
    pool, effective = evaluation.pool, decision.effective_candidate
    place = {one: position for position, one in enumerate(decision.order, 1)}
    wanted = shares(pool, evaluation.selectable)
    candidates = tuple(
        _candidate_row(state, evaluation, survey, place.get(state.candidate), wanted.get(state.candidate))
        for state in evaluation.states
    )
    mark = _pool_mark(evaluation, effective)
    return PoolRow(
        pool=pool,
        mark=mark,
        status_reason=evaluation.status_reason,
        since_at=_since(candidates, pool, mark),
        candidates=candidates,
        selectable=len(evaluation.selectable),
        effective=effective,
        primary=evaluation.config_primary,
        switch=_switch(
            object_key("canonical_model", pool.canonical_model),
            f"pool {pool.canonical_model}",
            pool.switch,
            survey.now,
        ),
        recovers_at=evaluation.recovers_at,
        listed=effective is not None,
        aliases=aliases,
    )


def _candidate_row(
    state: CandidateState, evaluation: Evaluation, survey: Survey, order: int | None, wanted: float | None
) -> CandidateRow:
    one, table, now = state.candidate, survey.table, survey.now
    pool, provider = evaluation.pool, survey.table.providers.get(state.candidate.provider)
    weighted = pool.policy.strategy is Strategy.WEIGHTED_ROUND_ROBIN
    return CandidateRow(
        candidate=one,
        kind=state.provider_type,
        mark=_candidate_mark(state, order, weighted=weighted),
        reasons=tuple((note.code.value, note.message) for note in state.reasons),
        order=order,
        selectable=state.selectable,
        is_effective=order == 1 and not weighted,
        is_primary=not weighted and one == evaluation.config_primary,
        wanted_share=wanted,
        recovers_at=state.recovers_at if not state.selectable else None,
        since_at=trouble_since(state, table, survey.health, pool),
        switch=_switch(
            object_key("pool_candidate", one.pool, one.provider, one.model),
            f"candidate {one.selector} of {one.pool}",
            one.switch,
            now,
        ),
        provider_switch=provider_switch(provider or Provider(one.provider, "", ""), now),
    )


def _candidate_mark(state: CandidateState, order: int | None, *, weighted: bool) -> Mark:
    mark = words.CANDIDATES[state.status]
    if state.status is CandidateStatus.UNHEALTHY_RUNTIME:
        codes = [note.code for note in state.reasons if note.code not in _SWITCHES]
        word = words.RUNTIME_REASONS.get(codes[0], mark.word) if codes else mark.word
        return Mark(mark.icon, word, mark.tone)
    if state.status is CandidateStatus.ENABLED and order is not None:
        if weighted:
            return words.IN_ROTATION
        return words.EFFECTIVE if order == 1 else words.STANDBY
    return mark


_SWITCHES = frozenset({Reason.CANDIDATE_DISABLED, Reason.PROVIDER_DISABLED, Reason.CANONICAL_MODEL_DISABLED})


def _pool_mark(evaluation: Evaluation, effective: Candidate | None) -> Mark:
    pool, mark = evaluation.pool, words.POOLS[evaluation.status]
    if evaluation.status in {PoolStatus.DISABLED_MANUAL, PoolStatus.UNAVAILABLE} or effective is None:
        return mark
    weighted = pool.policy.strategy is Strategy.WEIGHTED_ROUND_ROBIN
    return words.FAILED_OVER if not weighted and effective != evaluation.config_primary else mark


def _since(candidates: Sequence[CandidateRow], pool: Pool, mark: Mark) -> float | None:
    """Since when the pool is not as configured: from the primary's trouble, else from the oldest one."""
    if mark.tone == "ok":
        return None
    if mark.tone == "off":
        return pool.switch.updated_at
    known = [one.since_at for one in candidates if one.since_at is not None and one.reasons]
    if mark == words.FAILED_OVER:
        return next((one.since_at for one in candidates if one.is_primary), None)
    return max(known, default=None) if mark.tone == "bad" else min(known, default=None)


def _switch(key: str, name: str, found: Switch, now: float) -> SwitchView:
    expired = found.expires_at is not None and now >= found.expires_at
    return SwitchView(
        key=key,
        name=name,
        on=found.value_at(now),
        by="" if expired else found.updated_by,
        reason="" if expired else found.reason,
        since_at=None if expired else found.updated_at,
        until_at=None if expired else found.expires_at,
    )


def _weighted_sentence(row: PoolRow, blocked: Sequence[CandidateRow]) -> str:
    count = len(row.candidates)
    if not blocked:
        return f"Sharing requests among {count} candidates by weight."
    return f"Sharing requests among {row.selectable} of {count} candidates. Left out: {_because(blocked)}"


def _because(rows: Sequence[CandidateRow]) -> str:
    return " ".join(f"{row.candidate.selector}: {_ended(row.reasons[0][1])}" for row in rows)


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _searchable(row: PoolRow) -> str:
    names = [row.name, *row.aliases, *(one.candidate.selector for one in row.candidates)]
    return " ".join(names).lower()
