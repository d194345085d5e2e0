"""One request becomes one ``Decision``: match, evaluate, order. Pure: time, pins and tickets are arguments.

``plan`` is all that can be known without the shared state; ``decide`` adds a pin and a ticket. What
``listed`` lists is what ``plan`` finds a candidate for: both ask ``_who_may_serve``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from math import inf
from typing import Final, NamedTuple

from routing.eligibility import MARKS, evaluate_at
from routing.matching import INVALID, NOT_FOUND, Match, match, match_name, unknown_model
from routing.provider_class import Moment, shown_models
from routing.strategies import STRATEGIES, Ranking, needs_ticket, with_first
from routing.types import (
    Affinity,
    Caller,
    Candidate,
    Decision,
    Evaluation,
    HealthView,
    ModelInfo,
    PoolPolicy,
    Reason,
    Refusal,
    RouteRequest,
    RoutingTable,
)

__all__ = [
    "ListedModel",
    "Listing",
    "Match",
    "Plan",
    "bind",
    "decide",
    "listed",
    "listing",
    "match",
    "plan",
]

_NO_POLICY: Final = PoolPolicy()
_NO_INFO: Final = ModelInfo()
_NO_AFFINITY: Final = Affinity.NONE
# A call that ends makes room; how soon is unknown.
_BUSY_RETRY_S: Final = 1.0


class Plan(NamedTuple):
    """All of a decision but the pin and the ticket; or the refusal.

    ``canonical_model`` is the pool's name, empty for exact and bare names. ``ranking`` orders the selectable
    candidates for any ticket.
    ``pin_key`` is set when the session has a key and the pool wants affinity, ``counter_key`` when the
    choice needs a ticket. ``candidate_ids`` are the selectors of the selectable candidates, in pool order.
    It holds for the same table and health view until ``valid_until``; ``bind`` gives it another session.
    """

    requested_model: str
    match: Match | None
    evaluation: Evaluation | None
    policy: PoolPolicy
    revision: int
    canonical_model: str = ""
    candidate_ids: tuple[str, ...] = ()
    ranking: Ranking = Ranking()
    counter_key: str | None = None
    refusal: Refusal | None = None
    valid_until: float = inf
    pin_key: str | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """How the name was matched, for people."""
        return self.match.steps if self.match is not None else ()


class ListedModel(NamedTuple):
    """One line of the models list. ``kind`` is ``pool``, ``alias`` or ``exact``; the rest is metadata."""

    id: str
    owned_by: str
    created: int
    kind: str
    provider: str
    upstream_model: str


def plan(
    table: RoutingTable,
    health: HealthView,
    request: RouteRequest,
    *,
    now: float,
    expose_exact: bool = True,
    any_endpoint: bool = False,
) -> Plan:
    """Match and evaluate a request at ``now``. ``any_endpoint`` asks whether it could be routed at all."""
    name = request.model.strip()
    found = match(table, request, now=now, expose_exact=expose_exact)
    if isinstance(found, Refusal):
        kept_until = _kept_until(table, name, now)
        return Plan(name, None, None, _NO_POLICY, table.revision, refusal=found, valid_until=kept_until)
    moment = Moment(table, health, now, None if any_endpoint else request.endpoint)
    evaluation = _who_may_serve(found, moment, request.caller)
    pool, chosen = found.pool, evaluation.selectable
    strategy = pool.policy.strategy
    candidate_ids = tuple([candidate.selector for candidate in chosen])
    counter_key = None
    if len(chosen) > 1 and needs_ticket(strategy):
        weights = tuple([candidate.weight for candidate in chosen])
        counter_key = _counter_key(pool.canonical_model, candidate_ids, weights)
    made = Plan(
        requested_model=name,
        match=found,
        evaluation=evaluation,
        policy=pool.policy,
        revision=table.revision,
        canonical_model="" if pool.synthetic else pool.canonical_model,
        candidate_ids=candidate_ids,
        ranking=STRATEGIES[strategy].rank(chosen),
        counter_key=counter_key,
        refusal=None if chosen else _refusal(found, evaluation, request, now),
        valid_until=min(evaluation.valid_until, found.valid_until),
    )
    return bind(made, request)


def _who_may_serve(found: Match, moment: Moment, caller: Caller | None) -> Evaluation:
    """T14: a name is routable, and so listed, when somebody is selectable here; nobody asks otherwise."""
    return evaluate_at(moment, found.pool, caller=caller, requested=found.requested)


def _kept_until(table: RoutingTable, name: str, now: float) -> float:
    """How long it holds that a name stands for nothing.

    Which provider has a bare id may change with a switch that expires: such a refusal is not kept.
    """
    return now if name in table.bare_models else inf


def bind(made: Plan, request: RouteRequest) -> Plan:
    """The same plan for another session: only the pin key depends on it."""
    key = _pin_key(made, request)
    # ``_replace`` takes twice as long, and every request of a session comes here.
    return made if key == made.pin_key else Plan(*made[:-1], key)


def decide(
    made: Plan,
    *,
    decision_id: str,
    pin: str | None = None,
    ticket: int | None = None,
    now: float | None = None,
) -> Decision:
    """Order the selectable candidates: an eligible pin first, then the strategy's order.

    ``pin`` is the selector stored for the session, eligible or not. With ``now`` the ``retry_after_s`` of a
    refusal is counted from that instant instead of the plan's.
    """
    found, evaluation = made.match, made.evaluation
    if found is None or evaluation is None or made.refusal is not None:
        return _refused(made, decision_id, now)
    pin_key, ranking = made.pin_key, made.ranking
    hit = pin is not None and pin_key is not None and pin in made.candidate_ids
    order = ranking.order(0 if hit or ticket is None else ticket)
    if hit:
        selectors: list[str | None] = [candidate.selector for candidate in order]
        order = with_first(order, selectors.index(pin))
    return Decision(
        decision_id,
        made.requested_model,
        made.canonical_model,
        found.matched_by,
        order,
        made.policy,
        made.revision,
        _affinity(pin_key, pin, hit=hit),
        pin_key,
        evaluation,
        None if hit or ticket is None else ranking.slot(ticket),
    )


def _refused(made: Plan, decision_id: str, now: float | None) -> Decision:
    refusal, evaluation = made.refusal, made.evaluation
    recovers = evaluation is not None and evaluation.recovers_at is not None
    if now is not None and refusal is not None and recovers and evaluation:
        refusal = replace(refusal, retry_after_s=_wait(evaluation, now))
    return Decision(
        decision_id=decision_id,
        requested_model=made.requested_model,
        canonical_model=made.canonical_model,
        matched_by=made.match.matched_by if made.match is not None else "none",
        order=(),
        policy=made.policy,
        revision=made.revision,
        evaluation=evaluation,
        refusal=refusal,
    )


def _affinity(pin_key: str | None, pin: str | None, *, hit: bool) -> Affinity:
    if pin_key is None:
        return _NO_AFFINITY
    if hit:
        return Affinity.HIT
    return Affinity.MISS if pin is None else Affinity.REPIN


def _pin_key(made: Plan, request: RouteRequest) -> str | None:
    """A hash of caller, pool and session; each length-prefixed, so that no two triples look alike."""
    if not request.session_key or not made.canonical_model or not made.policy.session_affinity:
        return None
    caller_id = request.caller.id if request.caller is not None else ""
    pool, session = made.canonical_model, request.session_key
    return _hash(f"{len(caller_id)}:{caller_id}{len(pool)}:{pool}{len(session)}:{session}", size=16)


# The same candidates come back after most changes of health and of the table, and their key with them.
@lru_cache(maxsize=1024)
def _counter_key(pool: str, selectors: tuple[str, ...], weights: tuple[int, ...]) -> str:
    """A hash of the pool and its selectable candidates with their weights, in whatever order they stand."""
    parts = sorted([f"{weight} {selector}" for selector, weight in zip(selectors, weights, strict=True)])
    return _hash("".join([f"{len(part)}:{part}" for part in (pool, *parts)]), size=12)


def _hash(text: str, *, size: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def _refusal(found: Match, evaluation: Evaluation, request: RouteRequest, now: float) -> Refusal:
    """Why nobody serves: the caller's rights first, then switches, then the endpoint, then the moment."""
    name = request.model.strip()
    blocks = [{note.code for note in state.reasons} - MARKS for state in evaluation.states]
    if not _any_allowed(found, request.caller, blocks):
        message = f"The key may not use the model {name!r}."
        return Refusal(403, "permission_error", "model_not_allowed", message, "model")
    if not evaluation.enabled:
        return Refusal(404, NOT_FOUND, "model_disabled", f"The model {name!r} is switched off.", "model")
    if found.pool.synthetic:
        provider = found.pool.candidates[0].provider
        if Reason.PROVIDER_DISABLED in blocks[0]:
            message = f"The provider {provider!r} is switched off."
            return Refusal(403, "permission_error", "provider_disabled", message, "model")
        if Reason.MISSING_MODEL in blocks[0]:
            return unknown_model(name)
    allowed = [codes for codes in blocks if Reason.CALLER_NOT_ALLOWED not in codes]
    if allowed and all(Reason.UNSUPPORTED_ENDPOINT in codes for codes in allowed):
        message = f"The model {name!r} cannot be used with this endpoint."
        return Refusal(400, INVALID, "unsupported_endpoint", message, "model")
    return _unavailable(name, evaluation, allowed, now)


def _any_allowed(found: Match, caller: Caller | None, blocks: list[set[Reason]]) -> bool:
    if not blocks:
        return caller is None or caller.may_use(found.requested)
    return any(Reason.CALLER_NOT_ALLOWED not in codes for codes in blocks)


def _unavailable(name: str, evaluation: Evaluation, allowed: list[set[Reason]], now: float) -> Refusal:
    """Everything that is left passes by itself, or by an operator's hand."""
    permanent = {
        Reason.CANDIDATE_DISABLED,
        Reason.PROVIDER_DISABLED,
        Reason.UNSUPPORTED_ENDPOINT,
        Reason.MISSING_MODEL,
    }
    passing = [codes for codes in allowed if not codes & permanent]
    if passing and all(codes == {Reason.PROVIDER_BUSY} for codes in passing):
        message = f"Every provider of the model {name!r} is at its limit of requests in flight."
        return Refusal(
            429, "rate_limit_error", "provider_busy", message, "model", retry_after_s=_BUSY_RETRY_S
        )
    why = ", ".join(f"{state.candidate.selector}: {state.status.value}" for state in evaluation.states)
    message = f"No candidate of the model {name!r} can be used now ({why or 'it has none'})."
    return Refusal(
        503,
        "overloaded_error",
        "no_eligible_candidates",
        message,
        retry_after_s=_wait(evaluation, now),
    )


def _wait(evaluation: Evaluation, now: float) -> float | None:
    """Seconds until the soonest recovery that is known."""
    return None if evaluation.recovers_at is None else max(evaluation.recovers_at - now, 0.0)


@dataclass(frozen=True, slots=True)
class Listing:
    """The models list of one caller. It holds for the same table and health view until ``valid_until``."""

    lines: tuple[ListedModel, ...]
    valid_until: float


def listing(
    table: RoutingTable,
    health: HealthView,
    *,
    now: float,
    caller: Caller | None = None,
    expose_exact: bool = True,
) -> Listing:
    """Every name that a request now would get a candidate for, sorted by id; bare ids are left out."""
    names = {*table.pools, *table.aliases}
    valid_until = inf
    if expose_exact:
        for provider in table.providers.values():
            expires_at = provider.switch.expires_at
            if expires_at is not None and expires_at > now:
                valid_until = min(valid_until, expires_at)
            if provider.switch.value_at(now):
                shown = shown_models(provider, table.inventory_mode)
                names.update([f"{provider.name}/{model}" for model in shown])
    moment = Moment(table, health, now)
    lines = []
    for name in sorted(names):
        if name != name.strip() or not name:
            continue  # a request's name is trimmed: it cannot ask for this one
        found = match_name(table, name, now=now, expose_exact=expose_exact)
        if isinstance(found, Refusal):
            valid_until = min(valid_until, _kept_until(table, name, now))
            continue
        evaluation = _who_may_serve(found, moment, caller)
        valid_until = min(valid_until, evaluation.valid_until, found.valid_until)
        if evaluation.selectable:
            lines.append(_line(name, found, evaluation.selectable[0], table))
    return Listing(tuple(lines), valid_until)


def listed(
    table: RoutingTable,
    health: HealthView,
    *,
    now: float,
    caller: Caller | None = None,
    expose_exact: bool = True,
) -> list[ListedModel]:
    """The lines of ``listing``."""
    return list(listing(table, health, now=now, caller=caller, expose_exact=expose_exact).lines)


def _line(name: str, found: Match, first: Candidate, table: RoutingTable) -> ListedModel:
    """Metadata come from the first selectable candidate in priority order: no counter is read."""
    provider = table.providers[first.provider]
    info = provider.model_info.get(first.model, _NO_INFO)
    return ListedModel(
        name,
        info.owned_by or provider.name,
        info.created or int(found.pool.created_at),
        found.matched_by,
        first.provider,
        first.model,
    )
