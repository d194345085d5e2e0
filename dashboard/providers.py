"""Providers as the pages show them: health with its evidence, circuits, models, and who uses them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dashboard import words
from dashboard.board import SwitchView, provider_switch
from dashboard.words import Mark
from routing import shapes
from routing.kinds import KINDS
from routing.provider_class import provider_class, shown_models
from routing.resolver import Survey
from routing.types import DiscoveryState, Provider

_TONES = {"bad": 0, "warn": 1, "off": 2, "ok": 3}
_CIRCUIT_WORDS = {
    "open": Mark("bad", "Open", "bad"),
    "trial_in_flight": Mark("warn", "On trial", "warn"),
    "half_open": Mark("warn", "Half-open", "warn"),
    "cooling_down": Mark("warn", "Cooling down", "warn"),
}


@dataclass(frozen=True, slots=True)
class CircuitRow:
    """A circuit that is not simply closed; ``model`` is empty for the provider's credential."""

    model: str
    mark: Mark
    until_at: float | None
    failures: int
    cause: str
    since_at: float | None


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """One provider. ``checked_at`` is its last model discovery; ``since_at`` the first failure in a row."""

    provider: Provider
    mark: Mark
    evidence: str
    kind: str
    switch: SwitchView
    circuits: tuple[CircuitRow, ...]
    pools: tuple[tuple[str, int], ...]
    listed: int
    used: int
    missing: tuple[str, ...]
    in_flight: int
    checked_at: float | None
    since_at: float | None

    @property
    def name(self) -> str:
        """Its name."""
        return self.provider.name

    @property
    def key(self) -> str:
        """What tells its row from all others."""
        return self.switch.key


def provider_rows(survey: Survey) -> tuple[ProviderRow, ...]:
    """Every provider, the sick ones first, then by name."""
    rows = (_row(provider, survey) for provider in survey.table.providers.values())
    return tuple(sorted(rows, key=lambda row: (_TONES[row.mark.tone], row.name)))


def _row(provider: Provider, survey: Survey) -> ProviderRow:
    table, health, now = survey.table, survey.health, survey.now
    runtime, evidence = provider_class(provider, health, table.inventory_mode, now)
    used: dict[str, set[str]] = {}
    for name, pool in table.pools.items():
        models = {one.model for one in pool.candidates if one.provider == provider.name}
        if models:
            used[name] = models
    candidates = set().union(*used.values())
    known = provider.discovery.models | provider.configured_models
    switch = provider_switch(provider, now)
    circuits = _circuits(provider, survey)
    mark = words.PROVIDERS[runtime] if switch.on else words.PROVIDER_OFF
    if mark.tone == "ok" and circuits:
        mark = words.PROVIDERS[type(runtime).DEGRADED]
    kind = KINDS.get(provider.kind)
    return ProviderRow(
        provider=provider,
        mark=mark,
        evidence=evidence or _evidence(provider),
        kind=kind.label if kind is not None else provider.kind,
        switch=switch,
        circuits=circuits,
        pools=tuple((name, len(models)) for name, models in sorted(used.items())),
        listed=len(shown_models(provider, table.inventory_mode)),
        used=len(candidates),
        missing=tuple(sorted(candidates - known)) if known else (),
        in_flight=survey.in_flight.get(provider.name, 0),
        checked_at=provider.discovery.checked_at,
        since_at=provider.discovery.first_failed_at,
    )


def _evidence(provider: Provider) -> str:
    if provider.discovery.state is DiscoveryState.OK:
        count = len(provider.discovery.models)
        return f"The last probe listed {count} model{'' if count == 1 else 's'}."
    return ""


def _circuits(provider: Provider, survey: Survey) -> tuple[CircuitRow, ...]:
    now, found = survey.now, []
    credential = survey.health.credentials.get(provider.name)
    circuits: list[tuple[str, Any]] = [("", credential)] if credential is not None else []
    circuits += sorted(
        (model, one) for (name, model), one in survey.health.circuits.items() if name == provider.name
    )
    for model, one in circuits:
        shape = shapes.circuit(one, now)
        mark = _CIRCUIT_WORDS.get(shape["state"])
        if mark is None:
            continue
        until = {
            "open": one.open_until,
            "trial_in_flight": one.trial_until,
            "cooling_down": one.cooldown_until,
        }
        found.append(
            CircuitRow(model, mark, until.get(shape["state"]), one.failures, one.cause, one.since_at or None)
        )
    return tuple(found)
