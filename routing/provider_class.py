"""What is known of a provider as a whole: which models it shows, and how it does. Pure."""

from __future__ import annotations

from typing import Final

from routing.health import Phase, phase
from routing.kinds import KINDS
from routing.types import (
    Circuit,
    Discovery,
    DiscoveryState,
    HealthView,
    InventoryMode,
    Provider,
    RuntimeClass,
)

PROBES_UNTIL_UNHEALTHY: Final = 3
_HEALTHY: Final = (RuntimeClass.HEALTHY, "")


def shown_models(provider: Provider, mode: InventoryMode) -> frozenset[str]:
    """The models that exact names and the models list offer.

    ``allowlist``: the configured ones. ``fallback``: the discovered ones, or the configured ones while
    discovery has none; the last good list outlives a failed probe.
    """
    if mode is InventoryMode.ALLOWLIST:
        return provider.configured_models
    return provider.discovery.models or provider.configured_models


def provider_class(
    provider: Provider, health: HealthView, mode: InventoryMode, now: float
) -> tuple[RuntimeClass, str]:
    """A provider's runtime class and its sentence: what discovery says, and whether its key is accepted."""
    found, message = discovery_class(provider, health, mode)
    circuit = health.credentials.get(provider.name)
    if circuit is None or found is RuntimeClass.UNHEALTHY:
        return found, message
    where = phase(circuit, now)
    if where is Phase.OPEN:
        return RuntimeClass.UNHEALTHY, with_cause("The provider refused the gateway's credential", circuit)
    if where is not Phase.CLOSED:
        return RuntimeClass.DEGRADED, "The credential was refused and is on trial."
    return found, message


def discovery_class(provider: Provider, health: HealthView, mode: InventoryMode) -> tuple[RuntimeClass, str]:
    """What discovery alone says of a provider, and its sentence."""
    if provider.credential_error:
        return RuntimeClass.UNHEALTHY, f"No usable credential: {provider.credential_error}"
    if mode is InventoryMode.ALLOWLIST:
        return RuntimeClass.HEALTHY, "The configured models are taken as given."
    kind = KINDS.get(provider.kind)
    state = provider.discovery.state
    if state is DiscoveryState.FAILED:
        return _after_failed_probe(provider, health)
    if state is DiscoveryState.OK:
        known = provider.discovery.models or provider.configured_models
        return _HEALTHY if known else (RuntimeClass.DEGRADED, "The provider lists no models.")
    if state is DiscoveryState.UNSUPPORTED or (kind is not None and not kind.lists_models):
        return RuntimeClass.HEALTHY, "The provider has no models list."
    return RuntimeClass.DEGRADED, "The provider has not been probed yet."


def _after_failed_probe(provider: Provider, health: HealthView) -> tuple[RuntimeClass, str]:
    """Unhealthy needs three failures in a row, no models known, and no live success since the first."""
    discovery = provider.discovery
    error = discovery.error or "no answer"
    known = bool(discovery.models or provider.configured_models)
    if known or discovery.failures < PROBES_UNTIL_UNHEALTHY or _served_since(provider, health, discovery):
        return RuntimeClass.DEGRADED, f"The last probe failed: {error}"
    return RuntimeClass.UNHEALTHY, f"{discovery.failures} probes in a row failed: {error}"


def _served_since(provider: Provider, health: HealthView, discovery: Discovery) -> bool:
    served_at = health.last_success_at.get(provider.name)
    if served_at is None:
        return False
    return discovery.first_failed_at is None or served_at >= discovery.first_failed_at


def with_cause(text: str, circuit: Circuit) -> str:
    """A sentence with the cause of a circuit, where one is known."""
    return f"{text}: {circuit.cause.rstrip('.')}." if circuit.cause else f"{text}."
