"""Changes of circuits, as the API, the metrics and the log tell them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from routing.types import Circuit

# A circuit's name: provider and model, or provider and None for its credential.
Key: TypeAlias = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of a circuit: when, of what, to what, why, until when (None: open end), and who saw it."""

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
