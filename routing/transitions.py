"""Changes of health, as the API, the metrics and the log tell them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from routing.provider_class import provider_class
from routing.types import Circuit, HealthView, RoutingTable, RuntimeClass, nothing

# A circuit's name: provider and model, or provider and None for its credential.
Key: TypeAlias = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Transition:
    """One change: when, of what, to what, why, until when (None: open end), and whether others saw it.

    ``what`` is a word of ``describe``, or ``provider_`` with the runtime class that discovery gives.
    """

    at: float
    provider: str
    model: str | None
    what: str
    cause: str
    until: float | None
    remote: bool


def standing(circuit: Circuit) -> Circuit:
    """The circuit without its count of failures, which alone is no transition."""
    return replace(circuit, failures=0, cause="")


def describe(key: Key, old: Circuit, new: Circuit) -> tuple[str, float | None]:
    """What the change is called, and until when it lasts."""
    if old.openings and not new.openings:
        return ("circuit_closed" if key[1] is not None else "credential_accepted"), None
    if new.open_until > old.open_until:
        return ("circuit_open" if key[1] is not None else "credential_refused"), new.open_until
    if new.cooldown_until > old.cooldown_until:
        return "cooling_down", new.cooldown_until
    if new.trial_until > old.trial_until:
        return "trial_in_flight", new.trial_until
    return "trial_released", None


class DiscoveryWatch:
    """Notices when model discovery moves a provider to another runtime class, by comparing tables."""

    def __init__(self) -> None:
        self._table: RoutingTable | None = None
        self._classes: dict[str, RuntimeClass] = {}

    def changes(self, table: RoutingTable, health: HealthView, now: float) -> list[Transition]:
        """What changed since the last call. A provider that is new has not changed."""
        if table is self._table:
            return []
        self._table = table
        # Refused credentials are told by their own circuits.
        blind = replace(health, credentials=nothing())
        before, self._classes = self._classes, {}
        found = []
        for provider in table.providers.values():
            runtime, cause = provider_class(provider, blind, table.inventory_mode, now)
            self._classes[provider.name] = runtime
            if before.get(provider.name, runtime) is not runtime:
                at = provider.discovery.checked_at or now
                what = f"provider_{runtime.value}"
                found.append(Transition(at, provider.name, None, what, cause, None, remote=True))
        return found
