"""What is known of a provider as a whole: which models it shows, and how it does. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Final

from routing.health import Phase, next_instant, phase
from routing.kinds import KINDS
from routing.types import (
    CandidateStatus,
    Circuit,
    Discovery,
    DiscoveryState,
    Endpoint,
    HealthView,
    InventoryMode,
    Provider,
    Reason,
    ReasonNote,
    RoutingTable,
    RuntimeClass,
)

PROBES_UNTIL_UNHEALTHY: Final = 3
_HEALTHY: Final = (RuntimeClass.HEALTHY, "")
_AS_GIVEN: Final = (RuntimeClass.HEALTHY, "The configured models are taken as given.")
_NO_LIST: Final = (RuntimeClass.HEALTHY, "The provider has no models list.")
_LISTS_NONE: Final = (RuntimeClass.DEGRADED, "The provider lists no models.")
_UNPROBED: Final = (RuntimeClass.DEGRADED, "The provider has not been probed yet.")
# On Python 3.11 a member costs ten times as much through its class as by a name of its own.
_ALLOWLIST: Final = InventoryMode.ALLOWLIST
_OK: Final = DiscoveryState.OK
_FAILED: Final = DiscoveryState.FAILED
_UNSUPPORTED: Final = DiscoveryState.UNSUPPORTED
_DEGRADED: Final = RuntimeClass.DEGRADED
_UNHEALTHY: Final = RuntimeClass.UNHEALTHY
_CANDIDATE_DEGRADED: Final = CandidateStatus.DEGRADED_RUNTIME
_CANDIDATE_ENABLED: Final = CandidateStatus.ENABLED


@dataclass(slots=True)
class Standing:
    """What a provider says of each of its candidates at one moment; nobody changes it.

    ``discovered`` is what discovery alone says, with its ``message``; ``runtime`` the class in the end.
    ``is_plain``: nothing of the provider blocks a candidate; ``marks`` and ``status`` are all that one gets
    of which there is no more to say. It holds until ``valid_until``.
    """

    provider: Provider
    enabled: bool
    serves: bool
    busy: bool
    discovered: RuntimeClass
    message: str
    runtime: RuntimeClass
    credential: Circuit | None
    is_plain: bool
    marks: tuple[ReasonNote, ...]
    status: CandidateStatus
    valid_until: float


class Moment:
    """One table and one health view at ``now``, for one endpoint (None: any).

    What is found of a provider is found once, however many candidates are looked at.
    """

    __slots__ = ("_standings", "circuits", "endpoint", "health", "now", "table")

    def __init__(
        self, table: RoutingTable, health: HealthView, now: float, endpoint: Endpoint | None = None
    ) -> None:
        self.table = table
        self.health = health
        self.circuits = health.circuits
        self.now = now
        self.endpoint = endpoint
        self._standings: dict[str, Standing | None] = {}

    def standing(self, name: str) -> Standing | None:
        """How the provider of this name stands; None when there is none."""
        try:
            return self._standings[name]
        except KeyError:
            provider = self.table.providers.get(name)
            found = self._standings[name] = None if provider is None else self._find(provider)
            return found

    def _find(self, provider: Provider) -> Standing:
        health, now, endpoint, mode = self.health, self.now, self.endpoint, self.table.inventory_mode
        name, switch = provider.name, provider.switch
        discovered, message = discovery_class(provider, health, mode)
        credential = health.credentials.get(name)
        runtime = discovered if credential is None else provider_class(provider, health, mode, now)[0]
        enabled = switch.value_at(now)
        serves = bool(provider.endpoints) if endpoint is None else endpoint in provider.endpoints
        busy = name in health.busy
        degraded = discovered is _DEGRADED
        valid_until = inf if credential is None else next_instant(credential, now)
        if switch.expires_at is not None and now < switch.expires_at < valid_until:
            valid_until = switch.expires_at
        return Standing(
            provider,
            enabled,
            serves,
            busy,
            discovered,
            message,
            runtime,
            credential,
            enabled and serves and not busy and credential is None and discovered is not _UNHEALTHY,
            _degraded_for(message) if degraded else (),
            _CANDIDATE_DEGRADED if degraded else _CANDIDATE_ENABLED,
            valid_until,
        )


@lru_cache(maxsize=256)
def _degraded_for(message: str) -> tuple[ReasonNote, ...]:
    return (ReasonNote(Reason.PROVIDER_DEGRADED, message),)


def shown_models(provider: Provider, mode: InventoryMode) -> frozenset[str]:
    """The models that exact names and the models list offer.

    ``allowlist``: the configured ones. ``fallback``: the discovered ones, or the configured ones while
    discovery has none; the last good list outlives a failed probe.
    """
    if mode is _ALLOWLIST:
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
        return _UNHEALTHY, f"No usable credential: {provider.credential_error}"
    if mode is _ALLOWLIST:
        return _AS_GIVEN
    state = provider.discovery.state
    if state is _OK:
        return _HEALTHY if provider.discovery.models or provider.configured_models else _LISTS_NONE
    if state is _FAILED:
        return _after_failed_probe(provider, health)
    kind = KINDS.get(provider.kind)
    if state is _UNSUPPORTED or (kind is not None and not kind.lists_models):
        return _NO_LIST
    return _UNPROBED


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
