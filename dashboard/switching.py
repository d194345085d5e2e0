"""The operator's switches from the pages: rehearse, say what would follow, then do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.forms import SwitchForm, TargetForm
from routing import services
from routing.resolver import Survey
from routing.services import Actor, SwitchKind, SwitchResult
from routing.types import HealthView


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a switch would do. ``emptied`` are the pools that would have no candidate that can be used.

    ``used_by`` counts the pools that a provider is used by; 0 for other switches.
    """

    name: str
    impact: Mapping[str, Any]
    emptied: tuple[str, ...]
    idle_pools: tuple[str, ...]
    used_by: int
    needs_dialog: bool

    @property
    def phrase(self) -> str:
        """What has to be typed before anything is switched; empty: nothing."""
        if not self.emptied:
            return ""
        return self.emptied[0] if len(self.emptied) == 1 else f"empty {len(self.emptied)} pools"


def rehearse(form: TargetForm, survey: Survey) -> Rehearsal:
    """Let the service do it and take it back.

    Raises:
        ServiceError: it would be refused.
    """
    result = services.set_switch(
        target=form.target,
        enabled=form.enabled,
        actor=services.SYSTEM,
        source="dashboard",
        health=survey.health,
        dry_run=True,
    )
    # The worst first: pools that nobody would serve, then those that somebody else would.
    pools = sorted(
        result.impact["pools"],
        key=lambda row: (
            row["selectable_after"] > 0,
            row["effective_before"] == row["effective_after"],
            row["canonical_model"],
        ),
    )
    target = form.target
    emptied = tuple(
        row["canonical_model"]
        for row in pools
        if row["selectable_after"] == 0 and row["selectable_before"] > 0
    )
    using = _pools_using(form, survey)
    changed = {row["canonical_model"] for row in pools}
    return Rehearsal(
        name=_name(form),
        impact={**result.impact, "pools": pools},
        emptied=() if form.enabled else emptied,
        used_by=len(using) if target.kind == SwitchKind.PROVIDER else 0,
        idle_pools=tuple(name for name in using if name not in changed),
        needs_dialog=bool(emptied) or target.kind == SwitchKind.CANONICAL_MODEL or len(using) > 1,
    )


def perform(form: SwitchForm, rehearsal: Rehearsal, actor: Actor, health: HealthView) -> SwitchResult:
    """Switch, guarded by the revision that the operator saw and the pools that they confirmed.

    Raises:
        ServiceError: refused; a conflict has what was changed meanwhile.
    """
    return services.set_switch(
        target=form.target,
        enabled=form.enabled,
        expires_in_s=None if form.enabled else form.expires_in_s,
        actor=actor,
        source="dashboard",
        reason=form.cleaned_data["reason"].strip(),
        expected_revision=form.cleaned_data["seen"],
        confirm=rehearsal.emptied,
        health=health,
    )


def _pools_using(form: TargetForm, survey: Survey) -> list[str]:
    target = form.target
    if target.kind != SwitchKind.PROVIDER:
        return [target.canonical_model]
    return sorted(
        name
        for name, pool in survey.table.pools.items()
        if any(one.provider == target.provider_name for one in pool.candidates)
    )


def _name(form: TargetForm) -> str:
    target = form.target
    if target.kind == SwitchKind.PROVIDER:
        return f"provider {target.provider_name}"
    if target.kind == SwitchKind.CANONICAL_MODEL:
        return f"pool {target.canonical_model}"
    return f"candidate {target.provider_name}/{target.model} of {target.canonical_model}"
