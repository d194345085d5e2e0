"""How things stand now, for the admin's pages: asked of the worker that answers the page.

When its event loop does not answer in time, configuration and discovery speak alone, and the page says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from routing import live, shapes, snapshot
from routing.document import object_key
from routing.provider_status import HealthReport, events, pools_by_provider, provider_status
from routing.resolver import Resolver, Survey
from routing.router import decide, plan
from routing.shapes import Shape
from routing.types import NO_HEALTH, RouteRequest, RoutingTable

STALE = "The worker did not say how things stand: this is from configuration and model discovery only."

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Shapes as in the admin API, by name; a row that is skipped has a ``problem`` alone. ``now``: Unix s.

    ``events`` are the last changes of health, the newest first.
    """

    found: dict[str, Shape]
    now: float
    is_live: bool = True
    events: tuple[Shape, ...] = ()

    def of(self, name: str) -> Shape:
        """What is known of one of them."""
        return self.found.get(name, {})


def pools(names: Collection[str]) -> Standing:
    """The pools of these names, each with the decision it would make next."""
    survey, is_live = _survey(names)
    found = {
        decision.canonical_model: shapes.pool(
            decision.evaluation, survey.table, survey.health, survey.now, decision.effective_candidate
        )
        for decision in survey.decisions
        if decision.evaluation is not None
    }
    found |= _problems("pool", names, survey.table)
    return Standing(found, survey.now, is_live)


def providers(names: Collection[str]) -> Standing:
    """The providers of these names, with their evidence and the pools that use them."""
    report, is_live = _report()
    users = pools_by_provider(report.table)
    found = {
        name: provider_status(report.table.providers[name], report, users.get(name, ()))
        for name in names
        if name in report.table.providers
    }
    found |= _problems("provider", names, report.table)
    told = tuple(one for one in events(report.transitions) if one["provider_name"] in names)
    return Standing(found, report.now, is_live, told)


def _problems(kind: str, names: Collection[str], table: RoutingTable) -> dict[str, Shape]:
    by_key = {object_key(kind, name): name for name in names}
    return {by_key[row.object]: {"problem": row.problem} for row in table.skipped if row.object in by_key}


def _survey(names: Collection[str]) -> tuple[Survey, bool]:
    async def question(resolver: Resolver) -> Survey:
        return await resolver.survey(names)

    try:
        return live.ask(question), True
    except TimeoutError:
        logger.warning("The worker's event loop did not answer a survey for the admin.")
    table, now = snapshot.load(), time.time()
    made = [
        plan(table, NO_HEALTH, RouteRequest(name), now=now, any_endpoint=True)
        for name in table.pools
        if name in names
    ]
    return Survey(table, NO_HEALTH, now, tuple(decide(one, decision_id="", ticket=0) for one in made)), False


def _report() -> tuple[HealthReport, bool]:
    try:
        return live.ask(Resolver.health_report), True
    except TimeoutError:
        logger.warning("The worker's event loop did not answer a health report for the admin.")
    return HealthReport(snapshot.load(), NO_HEALTH, time.time()), False


def tell_if_stale(request: HttpRequest, standing: Standing) -> None:
    """Say on the page that live health is not in it."""
    if not standing.is_live and request.method == "GET":
        messages.warning(request, STALE)


class StandingList(ChangeList):
    """A list whose rows know how they stand: one question for the whole page."""

    def get_results(self, request: HttpRequest) -> None:
        """Ask for the rows of this page."""
        super().get_results(request)
        page: Any = self.model_admin
        rows = list(self.result_list)
        standing = page.stand([str(row) for row in rows])
        tell_if_stale(request, standing)
        for row in rows:
            row.standing = standing
        self.result_list = rows
