"""The plain values that routing works on: frozen, typed, without Django, HTTP, clock or randomness.

Instants are Unix seconds (``float``) whose names end in ``_at`` or ``_until``; durations end in ``_s`` or
``_ms``. A ``RoutingTable`` is what one worker knows of the configuration at one revision; a ``HealthView``
is what it knows of live outcomes; a ``Decision`` is what became of one request.

What is configured is dataclasses; what each request or each line of the models list makes anew is named
tuples, which cost a quarter to make and are as frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple


def nothing() -> Mapping[Any, Any]:
    """An empty mapping that nobody can fill."""
    return _NOTHING


_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


class Endpoint(StrEnum):
    """What a client may ask for; a candidate's kind may be unable to serve one."""

    CHAT = "chat_completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RESPONSES = "responses"
    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"
    TRANSCRIPTIONS = "audio_transcriptions"
    TRANSLATIONS = "audio_translations"
    SPEECH = "audio_speech"
    IMAGES = "images"
    IMAGE_EDITS = "image_edits"
    IMAGE_VARIATIONS = "image_variations"
    MODERATIONS = "moderations"
    RERANK = "rerank"


class Strategy(StrEnum):
    """Names of the ordering functions in ``routing.strategies``."""

    PRIORITY_FAILOVER = "priority_failover"
    WEIGHTED_ROUND_ROBIN = "weighted_round_robin"


class WhenAllBlocked(StrEnum):
    """How far runtime health may go when it would leave a pool without a candidate."""

    KEEP_LAST = "keep_last"
    FAIL = "fail"
    LAST_RESORT = "last_resort"


class InventoryMode(StrEnum):
    """How configured models relate to discovered ones."""

    FALLBACK = "fallback"
    ALLOWLIST = "allowlist"


class RuntimeClass(StrEnum):
    """What model discovery and live outcomes say of a provider."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class DiscoveryState(StrEnum):
    """How the last model discovery of a provider ended."""

    UNPROBED = "unprobed"
    OK = "ok"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"


class Reason(StrEnum):
    """Why a candidate is blocked or marked; the members stand in the order in which they are reported."""

    CANDIDATE_DISABLED = "candidate_disabled"
    PROVIDER_DISABLED = "provider_disabled"
    CANONICAL_MODEL_DISABLED = "canonical_model_disabled"
    CALLER_NOT_ALLOWED = "caller_not_allowed"
    UNSUPPORTED_ENDPOINT = "unsupported_endpoint"
    MISSING_MODEL = "missing_model"
    PROVIDER_UNHEALTHY = "provider_unhealthy"
    CIRCUIT_OPEN = "circuit_open"
    COOLING_DOWN = "cooling_down"
    TRIAL_IN_FLIGHT = "trial_in_flight"
    PROVIDER_BUSY = "provider_busy"
    # Marks: the candidate stays selectable.
    PROVIDER_DEGRADED = "provider_degraded"
    CIRCUIT_HALF_OPEN = "circuit_half_open"
    LAST_CANDIDATE_KEPT = "last_candidate_kept"


class CandidateStatus(StrEnum):
    """One word for a candidate; the first that applies, in this order."""

    DISABLED_MANUAL = "disabled_manual"
    DISABLED_EFFECTIVE = "disabled_effective"
    MISSING_MODEL = "missing_model"
    UNHEALTHY_RUNTIME = "unhealthy_runtime"
    INELIGIBLE = "ineligible"
    DEGRADED_RUNTIME = "degraded_runtime"
    ENABLED = "enabled"


class PoolStatus(StrEnum):
    """One word for a pool."""

    DISABLED_MANUAL = "disabled_manual"
    UNAVAILABLE = "unavailable"
    DEGRADED = "degraded"
    ENABLED = "enabled"


class Affinity(StrEnum):
    """What became of the session's pin: no key; hit; no pin yet; ineligible or moved by a failover."""

    NONE = "none"
    HIT = "hit"
    MISS = "miss"
    REPIN = "repin"


@dataclass(frozen=True, slots=True)
class Switch:
    """An operator's switch: the value set, and the value that counts again from ``expires_at`` on."""

    enabled: bool = True
    reason: str = ""
    expires_at: float | None = None
    base: bool = True
    updated_by: str = ""
    updated_at: float | None = None

    def value_at(self, now: float) -> bool:
        """Whether the switch is on at ``now``: an expired one counts as the value before it."""
        if self.expires_at is not None and now >= self.expires_at:
            return self.base
        return self.enabled


SWITCHED_ON: Final = Switch()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that one attempt may take: to connect, to the first content, between chunks, in all."""

    connect_s: float = 5.0
    first_byte_s: float = 300.0
    idle_s: float = 120.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Discovery:
    """The last model discovery of a provider. ``failures`` counts failed probes in a row."""

    state: DiscoveryState = DiscoveryState.UNPROBED
    models: frozenset[str] = frozenset()
    checked_at: float | None = None
    failures: int = 0
    first_failed_at: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the models list says of one upstream model, from discovery."""

    created: int = 0
    owned_by: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """One configured upstream account. ``api_key`` is the resolved secret and never leaves the process."""

    name: str
    kind: str
    base_url: str
    switch: Switch = SWITCHED_ON
    api_key: str | None = field(default=None, repr=False)
    credential_error: str = ""
    configured_models: frozenset[str] = frozenset()
    discovery: Discovery = Discovery()
    model_info: Mapping[str, ModelInfo] = field(default_factory=nothing, repr=False)
    timeouts: Timeouts = Timeouts()
    max_in_flight: int | None = None
    options: Mapping[str, str] = field(default_factory=nothing)
    endpoints: frozenset[Endpoint] = frozenset(Endpoint)
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class FailoverPolicy:
    """When the attempt loop may go on to the next candidate. ``max_attempts`` counts the first call too."""

    enabled: bool = True
    max_attempts: int = 3
    retry_on_statuses: frozenset[int] = frozenset({429, 500, 502, 503, 504})
    retry_on_model_errors: bool = True


@dataclass(frozen=True, slots=True)
class PoolPolicy:
    """How a pool routes, after its own values were laid over the defaults."""

    strategy: Strategy = Strategy.PRIORITY_FAILOVER
    session_affinity: bool = True
    session_affinity_ttl_s: int = 1800
    failover: FailoverPolicy = FailoverPolicy()
    when_all_blocked: WhenAllBlocked = WhenAllBlocked.KEEP_LAST


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ``(pool, provider, model)``; ``model`` is the exact upstream id.

    ``selector`` is the qualified name, ``provider/model``.
    """

    pool: str
    provider: str
    model: str
    priority: int = 1
    weight: int = 1
    switch: Switch = SWITCHED_ON
    selector: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Every order and every decision reads it: made once, it costs a tenth.
        object.__setattr__(self, "selector", f"{self.provider}/{self.model}")


@dataclass(frozen=True, slots=True)
class Pool:
    """A canonical model and its candidates, in ``(priority, selector)`` order.

    ``overrides`` names the policy values that the pool sets itself, e.g. ``failover.max_attempts``; the
    others come from the defaults.
    """

    canonical_model: str
    candidates: tuple[Candidate, ...] = ()
    policy: PoolPolicy = PoolPolicy()
    switch: Switch = SWITCHED_ON
    overrides: frozenset[str] = frozenset()
    created_at: float = 0.0
    synthetic: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a client key. ``models`` are patterns (a trailing ``*`` allowed); empty allows all."""

    id: str
    name: str
    digest: bytes = field(default=b"", repr=False)
    user_path: str = ""
    models: tuple[str, ...] = ()
    enabled: bool = True
    expires_at: float | None = None

    def is_valid_at(self, now: float) -> bool:
        """Whether the key may be used at ``now``."""
        return self.enabled and (self.expires_at is None or now < self.expires_at)

    def may_use(self, name: str) -> bool:
        """Whether a requested or qualified name matches one of the key's patterns."""
        if not self.models:
            return True
        return any(
            name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
            for pattern in self.models
        )


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that could not be used: it is left out of the table, logged and shown."""

    object: str
    problem: str


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Everything configured, at one revision. Mappings are never changed after construction.

    ``bare_models`` maps a model id to the names of the providers whose shown inventory has it, sorted.
    """

    revision: int = 0
    providers: Mapping[str, Provider] = field(default_factory=nothing)
    pools: Mapping[str, Pool] = field(default_factory=nothing)
    aliases: Mapping[str, str] = field(default_factory=nothing)
    defaults: PoolPolicy = PoolPolicy()
    inventory_mode: InventoryMode = InventoryMode.FALLBACK
    callers: Mapping[bytes, Caller] = field(default_factory=nothing, repr=False)
    bare_models: Mapping[str, tuple[str, ...]] = field(default_factory=nothing, repr=False)
    skipped: tuple[SkippedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Circuit:
    """Live failures of one (provider, model), or of one provider's credential; see ``routing.health``.

    Open until ``open_until``; from then on half-open until a trial has its verdict, with
    ``trial_until`` the end of the lease of the trial in flight (``trial_seq`` counts claims and releases).
    ``openings`` counts how often it opened in a row (0: closed), ``closed_at`` is when a success last closed
    it. A cooldown comes from a 429; ``stated_until`` is how much of it the provider named itself.
    """

    failures: int = 0
    openings: int = 0
    open_until: float = 0.0
    trial_until: float = 0.0
    trial_seq: int = 0
    cooldown_until: float = 0.0
    stated_until: float = 0.0
    since_at: float = 0.0
    closed_at: float = 0.0
    cause: str = ""


@dataclass(frozen=True, slots=True)
class HealthView:
    """What live outcomes say at one moment; a new object whenever something changed (``version``).

    ``credentials`` holds the circuit of a provider whose credential was refused; ``busy`` the providers
    at their in-flight limit; ``last_success_at`` the last live success of a provider.
    """

    version: int = 0
    circuits: Mapping[tuple[str, str], Circuit] = field(default_factory=nothing)
    credentials: Mapping[str, Circuit] = field(default_factory=nothing)
    busy: frozenset[str] = frozenset()
    last_success_at: Mapping[str, float] = field(default_factory=nothing)


NO_HEALTH: Final = HealthView()


class ReasonNote(NamedTuple):
    """One reason with its sentence for people."""

    code: Reason
    message: str


class CandidateState(NamedTuple):
    """What evaluation found of one candidate. ``reasons`` holds all of them, in the order of ``Reason``."""

    candidate: Candidate
    provider_type: str
    provider_enabled: bool
    candidate_enabled: bool
    effective_enabled: bool
    runtime: RuntimeClass
    selectable: bool
    status: CandidateStatus
    reasons: tuple[ReasonNote, ...] = ()
    recovers_at: float | None = None


class Evaluation(NamedTuple):
    """A pool at one moment. ``valid_until`` is when the passing of time alone may change it."""

    pool: Pool
    enabled: bool
    status: PoolStatus
    status_reason: str
    states: tuple[CandidateState, ...]
    selectable: tuple[Candidate, ...]
    config_primary: Candidate | None
    recovers_at: float | None
    valid_until: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no candidate: what the client is told."""

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What routing needs to know of a request. ``provider`` is the body field that bypasses pools."""

    model: str
    endpoint: Endpoint = Endpoint.CHAT
    caller: Caller | None = None
    provider: str | None = None
    session_key: str | None = None


class Decision(NamedTuple):
    """The one result of routing one request. ``order`` is frozen; empty when ``refusal`` says why.

    ``canonical_model`` is empty for exact and bare names. ``pin_key`` is set when the session has a key:
    the outcome is stored under it. ``matched_by`` is ``pool``, ``alias``, ``exact``, ``bare`` or ``none``.
    """

    decision_id: str
    requested_model: str
    canonical_model: str
    matched_by: str
    order: tuple[Candidate, ...]
    policy: PoolPolicy
    revision: int
    affinity: Affinity = Affinity.NONE
    pin_key: str | None = None
    evaluation: Evaluation | None = None
    slot: int | None = None
    refusal: Refusal | None = None

    @property
    def effective_candidate(self) -> Candidate | None:
        """The candidate that is tried first."""
        return self.order[0] if self.order else None

    @property
    def blocked(self) -> tuple[CandidateState, ...]:
        """The candidates that were left out, with their reasons."""
        if self.evaluation is None:
            return ()
        return tuple(state for state in self.evaluation.states if not state.selectable)
