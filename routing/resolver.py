"""The routing service: a request becomes one ``Decision``, from one table and one health view."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from routing.eligibility import MARKS, evaluate
from routing.identifiers import new_id
from routing.live_health import LiveHealth
from routing.provider_status import HealthReport
from routing.router import ListedModel, Listing, Plan, bind, decide, listing, plan
from routing.state import SharedState
from routing.types import (
    Caller,
    Candidate,
    CandidateState,
    Decision,
    Endpoint,
    Evaluation,
    HealthView,
    Pool,
    RouteRequest,
    RoutingTable,
    nothing,
)

_REMEMBERED_PLANS: Final = 5_000
_REMEMBERED_LISTINGS: Final = 100
# A name that is longer is looked up anew each time: names are the clients', and memory is not.
_LONGEST_REMEMBERED: Final = 512

# What a plan depends on besides the table, the health and the time: the name, the ``provider`` field, the
# endpoint, and the patterns of the caller's key.
PlanKey: TypeAlias = tuple[str, str | None, Endpoint, tuple[str, ...] | None]


@dataclass(frozen=True, slots=True)
class Survey:
    """What was true at ``now``: the table, the health, and for each pool the decision it would make next.

    ``in_flight`` counts this process's calls under way, by provider.
    """

    table: RoutingTable
    health: HealthView
    now: float
    decisions: tuple[Decision, ...]
    in_flight: Mapping[str, int] = field(default_factory=nothing)


class Resolver:
    """Makes decisions. Plans are kept per name while table, health view and time leave them valid."""

    def __init__(
        self,
        table: Callable[[], RoutingTable],
        state: SharedState,
        health: LiveHealth,
        *,
        expose_exact: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._state = state
        self._health = health
        self._expose_exact = expose_exact
        self._clock = clock
        self._plans: OrderedDict[PlanKey, Plan] = OrderedDict()
        self._evaluations: dict[tuple[str, bool], Evaluation] = {}
        self._listings: dict[tuple[str, ...] | None, Listing] = {}
        self._seen_table: RoutingTable | None = None
        self._seen_health: HealthView | None = None

    @property
    def health(self) -> LiveHealth:
        """The live health that decisions are made with."""
        return self._health

    @property
    def expose_exact(self) -> bool:
        """Whether clients may use ``provider/model`` and bare model ids."""
        return self._expose_exact

    def caller(self, caller_id: str) -> Caller | None:
        """The owner of a client key, by the key's id."""
        return next((one for one in self._table().callers.values() if one.id == caller_id), None)

    async def resolve(self, request: RouteRequest, *, decision_id: str | None = None) -> Decision:
        """The one decision of a request; it takes a ticket where one is needed. Call it once per request."""
        now = self._clock()
        made = self._plan(request, now)
        pin: str | None = None
        ticket: int | None = None
        if made.refusal is None and (made.pin_key is not None or made.counter_key is not None):
            pin, ticket = await self._state.acquire(made.pin_key, made.candidate_ids, made.counter_key)
        return decide(made, decision_id=decision_id or new_id(), pin=pin, ticket=ticket, now=now)

    async def peek(self, request: RouteRequest) -> Decision:
        """The decision that ``resolve`` would make next. T2: no ticket is taken and no pin written."""
        now = self._clock()
        return await self._peek(self._plan(request, now), now)

    async def survey(self, names: Collection[str] | None = None) -> Survey:
        """Every pool as it stands, or those named: each evaluated for any endpoint, with the next decision.

        For people. All of it reads one table and one health view.
        """
        table, view, now = self._table(), self._health.view(), self._clock()
        decisions = []
        for name in table.pools:
            if names is not None and name not in names:
                continue
            made = plan(table, view, RouteRequest(name), now=now, any_endpoint=True)
            decisions.append(await self._peek(made, now))
        return Survey(table, view, now, tuple(decisions), self._health.in_flight())

    async def ask(self, request: RouteRequest) -> tuple[Plan, Decision, Survey]:
        """A peek with all that it was made of; the survey holds the table, health and time, and no pools."""
        table, view, now = self._table(), self._health.view(), self._clock()
        made = plan(table, view, request, now=now, expose_exact=self._expose_exact)
        return made, await self._peek(made, now), Survey(table, view, now, ())

    @property
    def live_health(self) -> LiveHealth:
        """The health that decisions are made with."""
        return self._health

    async def health_report(self) -> HealthReport:
        """What this process knows of its providers, for people."""
        return HealthReport(
            self._table(),
            self._health.view(),
            self._clock(),
            self._health.in_flight(),
            tuple(self._health.transitions),
        )

    async def _peek(self, made: Plan, now: float) -> Decision:
        pin: str | None = None
        ticket: int | None = None
        if made.refusal is None and (made.pin_key is not None or made.counter_key is not None):
            pin, ticket = await self._state.peek(made.pin_key, made.counter_key)
            if pin in made.candidate_ids:
                ticket = None
        return decide(made, decision_id=new_id(), pin=pin, ticket=ticket, now=now)

    def size(self) -> int:
        """Plans that are remembered, at most 5,000."""
        return len(self._plans)

    def plan(self, request: RouteRequest) -> Plan:
        """Everything about the request's decision but its pin and ticket."""
        return self._plan(request, self._clock())

    def still_selectable(self, decision: Decision, candidate: Candidate) -> bool:
        """Whether a candidate of a decision may still be tried.

        It may not when something blocks it now that did not when the decision was made: a switch, a circuit.
        """
        if decision.evaluation is None:
            return True
        now = self._state_of(decision.evaluation.pool, candidate)
        if now is None or now.selectable:
            return now is not None
        then = {
            note.code
            for state in decision.evaluation.states
            for note in state.reasons
            if state.candidate.selector == candidate.selector
        }
        return {note.code for note in now.reasons} - MARKS <= then

    def _state_of(self, pool: Pool, candidate: Candidate) -> CandidateState | None:
        """The candidate in its pool as it is now, whoever asks; None when it is there no more."""
        now = self._clock()
        table, view = self._snapshot()
        current = pool if pool.synthetic else table.pools.get(pool.canonical_model)
        if current is None:
            return None
        key = (pool.canonical_model, pool.synthetic)
        if len(self._evaluations) > _REMEMBERED_PLANS:
            self._evaluations.clear()
        found = self._evaluations.get(key)
        if found is None or now >= found.valid_until:
            found = self._evaluations[key] = evaluate(current, table, view, now=now)
        wanted = candidate.selector
        return next((state for state in found.states if state.candidate.selector == wanted), None)

    def listed(self, caller: Caller | None = None) -> tuple[ListedModel, ...]:
        """The models list of a caller: every name that a request now would get a candidate for."""
        (table, view), now = self._snapshot(), self._clock()
        patterns = None if caller is None else caller.models
        made = self._listings.get(patterns)
        if made is None or now >= made.valid_until:
            made = listing(table, view, now=now, caller=caller, expose_exact=self._expose_exact)
            if len(self._listings) >= _REMEMBERED_LISTINGS:
                self._listings.clear()
            self._listings[patterns] = made
        return made.lines

    def _plan(self, request: RouteRequest, now: float) -> Plan:
        # T9: table and view are read once; the plan, and so the decision, is made of these two.
        table, view = self._snapshot()
        caller = request.caller
        key = (request.model, request.provider, request.endpoint, None if caller is None else caller.models)
        made = self._plans.get(key)
        if made is None or now >= made.valid_until:
            made = plan(table, view, request, now=now, expose_exact=self._expose_exact)
            if len(request.model) + len(request.provider or "") > _LONGEST_REMEMBERED:
                return bind(made, request)
            self._plans[key] = made
            if len(self._plans) > _REMEMBERED_PLANS:
                self._plans.popitem(last=False)
        return bind(made, request)

    def _snapshot(self) -> tuple[RoutingTable, HealthView]:
        """The table and the view of this moment; what was remembered of others is dropped."""
        table, view = self._table(), self._health.view()
        if table is not self._seen_table or view is not self._seen_health:
            self._plans.clear()
            self._evaluations.clear()
            self._listings.clear()
            self._seen_table, self._seen_health = table, view
        return table, view
