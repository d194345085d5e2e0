"""How every provider does, as the API, the dashboard and the commands show it. Pure.

Optional keys are absent when there is nothing to say; instants are ISO 8601 in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from routing import shapes
from routing.health import Phase, phase
from routing.kinds import KINDS
from routing.provider_class import provider_class, shown_models
from routing.shapes import Shape, instant
from routing.transitions import Transition
from routing.types import (
    Circuit,
    HealthView,
    InventoryMode,
    Provider,
    RoutingTable,
    RuntimeClass,
    Switch,
    nothing,
)

DISABLED: Final = "disabled"


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What one process knew at ``now``. ``in_flight`` are its own calls under way, per provider."""

    table: RoutingTable
    health: HealthView
    now: float
    in_flight: Mapping[str, int] = field(default_factory=nothing)
    transitions: Sequence[Transition] = ()


def providers_status(report: HealthReport) -> Shape:
    """``GET /admin/providers/status``: every provider by name, and how many stand where.

    ``events`` are the last changes of health, the newest first.
    """
    users = pools_by_provider(report.table)
    rows = [
        provider_status(provider, report, users.get(name, ()))
        for name, provider in sorted(report.table.providers.items())
    ]
    return {
        "summary": summary([row["status"] for row in rows]),
        "providers": rows,
        "skipped": [
            {"object": row.object, "problem": row.problem}
            for row in report.table.skipped
            if row.object.startswith("provider/")
        ],
        "events": events(report.transitions),
    }


def summary(statuses: Sequence[str]) -> Shape:
    """Counts by status, and one word for all.

    ``overall_status``: ``healthy`` when all that are switched on are, ``unhealthy`` when none of them can
    serve, else ``degraded``; ``disabled`` when all are switched off, ``unknown`` without any provider.
    """
    words = [*RuntimeClass, DISABLED]
    counts = {str(word): sum(status == word for status in statuses) for word in words}
    return {"total": len(statuses), **counts, "overall_status": _overall(statuses)}


def _overall(statuses: Sequence[str]) -> str:
    if not statuses:
        return "unknown"
    on = {status for status in statuses if status != DISABLED}
    if not on:
        return DISABLED
    return on.pop() if len(on) == 1 else str(RuntimeClass.DEGRADED)


def provider_status(provider: Provider, report: HealthReport, pools: Sequence[str] = ()) -> Shape:
    """One provider: its switch, its runtime class (T29: the one that routing uses) and the evidence."""
    table, health, now = report.table, report.health, report.now
    found, message = provider_class(provider, health, table.inventory_mode, now)
    enabled = provider.switch.value_at(now)
    kind = KINDS.get(provider.kind)
    shape: Shape = {
        "name": provider.name,
        "type": provider.kind,
        "type_label": kind.label if kind is not None else provider.kind,
        "enabled": enabled,
        "status": found.value if enabled else DISABLED,
        "runtime_status": found.value,
        "credential": credential(provider, health, now),
        "inventory": inventory(provider, table.inventory_mode),
        "circuits": circuits(provider.name, health, now),
        "in_flight": report.in_flight.get(provider.name, 0),
        "busy": provider.name in health.busy,
        "pools": list(pools),
    }
    reason = message if enabled else provider.switch.reason or "Switched off."
    if reason:
        shape["status_reason"] = reason
    error = provider.discovery.error or provider.credential_error
    if error:
        shape["last_error"] = error
    if provider.switch != Switch():
        shape["switch"] = shapes.switch(provider.switch)
    if provider.max_in_flight is not None:
        shape["max_in_flight"] = provider.max_in_flight
    if provider.name in health.last_success_at:
        shape["last_success_at"] = instant(health.last_success_at[provider.name])
    return shape


def credential(provider: Provider, health: HealthView, now: float) -> Shape:
    """Whether the gateway has a key and the provider takes it: ``set none missing refused on_trial``."""
    if provider.credential_error:
        return {"state": "missing", "cause": provider.credential_error}
    shape: Shape = {"state": "set" if provider.api_key else "none"}
    refused = health.credentials.get(provider.name)
    where = Phase.CLOSED if refused is None else phase(refused, now)
    if refused is not None and where is not Phase.CLOSED:
        shape["state"] = "refused" if where is Phase.OPEN else "on_trial"
        if refused.cause:
            shape["cause"] = refused.cause
        if where is Phase.OPEN:
            shape["until"] = instant(refused.open_until)
    return shape


def inventory(provider: Provider, mode: InventoryMode) -> Shape:
    """What model discovery found, and how many models are configured, discovered and shown."""
    discovery = provider.discovery
    kind = KINDS.get(provider.kind)
    shape: Shape = {
        "mode": mode.value,
        "state": discovery.state.value,
        "listable": kind is None or kind.lists_models,
        "configured": len(provider.configured_models),
        "discovered": len(discovery.models),
        "shown": len(shown_models(provider, mode)),
        "failures": discovery.failures,
    }
    for name, at in (("checked_at", discovery.checked_at), ("failing_since", discovery.first_failed_at)):
        if at is not None:
            shape[name] = instant(at)
    if discovery.error:
        shape["error"] = discovery.error
    return shape


def circuits(provider: str, health: HealthView, now: float) -> list[Shape]:
    """The circuits and cooldowns of the provider's models that are not over, by model."""
    return [
        {"model": model, **shapes.circuit(found, now)}
        for (name, model), found in sorted(health.circuits.items())
        if name == provider and _says_something(found, now)
    ]


def events(transitions: Sequence[Transition]) -> list[Shape]:
    """Changes of health, the newest first."""
    return [event(one) for one in sorted(transitions, key=lambda one: one.at, reverse=True)]


def event(transition: Transition) -> Shape:
    """One change: what happened to whom, when, why and until when."""
    shape: Shape = {
        "at": instant(transition.at),
        "provider_name": transition.provider,
        "event": transition.what,
    }
    for name, value in (
        ("model", transition.model),
        ("cause", transition.cause),
        ("until", instant(transition.until)),
    ):
        if value:
            shape[name] = value
    return shape


def _says_something(found: Circuit, now: float) -> bool:
    return phase(found, now) is not Phase.CLOSED or now < found.cooldown_until


def pools_by_provider(table: RoutingTable) -> dict[str, list[str]]:
    """The pools that have a candidate of each provider, sorted."""
    found: dict[str, list[str]] = {}
    for name in sorted(table.pools):
        for provider in sorted({one.provider for one in table.pools[name].candidates}):
            found.setdefault(provider, []).append(name)
    return found
