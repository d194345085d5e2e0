"""The JSON that people and scripts see of providers' state. Pure; see ``routing.shapes``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from routing.eligibility import provider_class, shown_models
from routing.kinds import KINDS
from routing.shapes import Shape, circuit, instant
from routing.types import HealthView, Provider, RoutingTable, RuntimeClass

DISABLED: Final = "disabled"


def status(
    provider: Provider, table: RoutingTable, health: HealthView, now: float, *, in_flight: int = 0
) -> Shape:
    """One provider: its class by the one classifier (T29), and what that rests on.

    ``status`` is ``disabled`` for one that is switched off (T23), else its ``runtime_status``.
    """
    runtime, reason = provider_class(provider, health, table.inventory_mode, now)
    enabled = provider.switch.value_at(now)
    used = [
        (pool.canonical_model, candidate.model)
        for pool in table.pools.values()
        for candidate in pool.candidates
        if candidate.provider == provider.name
    ]
    kind = KINDS.get(provider.kind)
    shape: Shape = {
        "name": provider.name,
        "type": provider.kind,
        "base_url": provider.base_url or (kind.default_base_url if kind else ""),
        "enabled": enabled,
        "status": runtime.value if enabled else DISABLED,
        "runtime_status": runtime.value,
        "discovery": _discovery(provider),
        "circuits": list(_circuits(provider.name, health, now)),
        "pools": sorted({pool for pool, _ in used}),
        "models_listed": len(shown_models(provider, table.inventory_mode)),
        "models_used": len({model for _, model in used}),
        "in_flight": in_flight,
        "max_in_flight": provider.max_in_flight,
    }
    if not enabled:
        shape["status_reason"] = provider.switch.reason or "The provider is switched off."
    elif reason:
        shape["status_reason"] = reason
    if provider.discovery.error or provider.credential_error:
        shape["last_error"] = provider.credential_error or provider.discovery.error
    served_at = health.last_success_at.get(provider.name)
    if served_at is not None:
        shape["last_success_at"] = instant(served_at)
    return shape


def summary(shapes: Iterable[Shape]) -> Shape:
    """How many providers are how, and one word for all of them.

    ``unhealthy`` when no provider can be used, ``healthy`` when every enabled one is, else ``degraded``.
    """
    counts = Counter(shape["status"] for shape in shapes)
    enabled = counts.total() - counts[DISABLED]
    if counts[RuntimeClass.UNHEALTHY.value] == enabled:
        overall = RuntimeClass.UNHEALTHY
    elif counts[RuntimeClass.HEALTHY.value] == enabled:
        overall = RuntimeClass.HEALTHY
    else:
        overall = RuntimeClass.DEGRADED
    return {
        "total": counts.total(),
        **{word.value: counts[word.value] for word in RuntimeClass},
        DISABLED: counts[DISABLED],
        "overall_status": overall.value,
    }


def all_statuses(
    table: RoutingTable, health: HealthView, now: float, in_flight: Mapping[str, int]
) -> list[Shape]:
    """Every provider, by name."""
    return [
        status(table.providers[name], table, health, now, in_flight=in_flight.get(name, 0))
        for name in sorted(table.providers)
    ]


def _discovery(provider: Provider) -> Shape:
    found = provider.discovery
    shape: Shape = {
        "state": found.state.value,
        "models": len(found.models),
        "checked_at": instant(found.checked_at),
        "failures": found.failures,
    }
    if found.error:
        shape["error"] = found.error
    return shape


def _circuits(name: str, health: HealthView, now: float) -> Iterable[Shape]:
    """What live outcomes say: the credential's circuit first, then those of the models."""
    credential = health.credentials.get(name)
    if credential is not None:
        yield circuit(credential, now)
    for (provider, model), one in sorted(health.circuits.items()):
        if provider == name:
            yield {"model": model, **circuit(one, now)}
