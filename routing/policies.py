"""What follows from an upstream's failure: failover, cooldown, deadlines, the retry budget. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isnan
from typing import Any, Final, Literal

from routing.types import FailoverPolicy, Pool, Timeouts

FailureKind = Literal["status", "connect", "timeout", "protocol"]

DEFAULT_COOLDOWN_S: Final = 10.0
MAX_COOLDOWN_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Failure:
    """The facts of one failed attempt. ``status`` is the normalised one, for ``kind`` ``status`` only.

    ``refused_credential`` is what the adapter recognised by code: a bad key or an unpaid account.
    """

    kind: FailureKind
    status: int | None = None
    code: str | None = None
    message: str = ""
    param: str | None = None
    refused_credential: bool = False


def should_fail_over(failure: Failure, policy: FailoverPolicy) -> bool:
    """Whether the next candidate may be tried after this failure; asked again for every attempt."""
    if not policy.enabled:
        return False
    if failure.kind != "status" or failure.status is None:
        return True
    if is_the_providers_fault(failure) or failure.status in policy.retry_on_statuses:
        return True
    return policy.retry_on_model_errors and is_model_error(failure)


def attempts_allowed(policy: FailoverPolicy) -> int:
    """How many upstream calls one request may make, the first included."""
    return max(policy.max_attempts, 1) if policy.enabled else 1


def refuses_credential(failure: Failure) -> bool:
    """Whether the provider refused the gateway's own credential: the circuit of the whole provider opens."""
    return failure.refused_credential or (failure.kind == "status" and failure.status == 401)


def is_the_providers_fault(failure: Failure) -> bool:
    """Whether a status says something of the provider or the account, not of the request; 3xx included."""
    status = failure.status or 0
    return refuses_credential(failure) or status in {402, 403} or 300 <= status < 400


# The codes with which providers name a model that they do not serve, without case and punctuation.
_MODEL_CODES: Final = frozenset(
    {
        "deploymentnotfound",
        "invalidmodel",
        "modeldecommissioned",
        "modeldeprecated",
        "modeldisabled",
        "modeldoesnotexist",
        "modelnotavailable",
        "modelnotexist",
        "modelnotfound",
        "modelnotsupported",
        "modelretired",
        "modelunavailable",
        "unknownmodel",
        "unsupportedmodel",
    }
)
_STATE: Final = (
    r"\b(?:not\s+found|does\s+not\s+exist|doesn't\s+exist|unsupported|not\s+supported|unavailable"
    r"|no(?:t|\s+longer)\s+available|deprecated|retired|disabled|decommissioned)\b"
)
_PATTERNS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # "The model `x` does not exist": a model named, and what became of it, within one sentence.
        # "with this model", "for the model", "the model's" speak of something else.
        r"(?<!\bwith\s)(?<!\bthis\s)(?<!\bfor\s)(?<!\bby\s)(?<!\bwith\sthe\s)(?<!\bfor\sthe\s)(?<!\bby\sthe\s)"
        r"\bmodels?\b(?!'s)(?:(?!\.\s|\bparameters?\b|\bvalues?\b|\bwith\b|\btools?\b)[^\n]){0,160}?"
        + _STATE,
        r"(?:^|[.!:]\s+)this\s+model\s+(?:\w+\s+){0,3}?" + _STATE,
        r"\b(?:unsupported|unavailable|deprecated|retired|disabled|unknown|no\s+such)\s+model\b",
    )
)


def is_model_error(failure: Failure) -> bool:
    """Whether the provider says that it does not serve this model.

    Its code first; any 404 on an inference call; then a 400 or 422 about no field or ``model``, whose message
    says of the model that it is not found, does not exist, is unsupported and so on.
    """
    if failure.kind != "status":
        return False
    code = re.sub(r"[^a-z]", "", (failure.code or "").lower())
    if code in _MODEL_CODES or failure.status == 404:
        return True
    if failure.status not in {400, 422} or failure.param not in {None, "", "model"}:
        return False
    return any(pattern.search(failure.message) for pattern in _PATTERNS)


def cooldown_s(
    retry_after_s: float | None,
    *,
    default_s: float = DEFAULT_COOLDOWN_S,
    max_s: float = MAX_COOLDOWN_S,
) -> float:
    """Seconds that a 429 cools down: what the provider said, up to ``max_s``, or the default."""
    if retry_after_s is None or isnan(retry_after_s):
        return default_s
    return min(max(retry_after_s, 0.0), max_s)


def deadline_at(started_at: float, timeouts: Timeouts) -> float:
    """When the whole request must have its first content (whole: its end); same clock as ``started_at``."""
    return started_at + timeouts.total_s


def attempt_ends_at(now: float, deadline: float, timeouts: Timeouts) -> float:
    """When one attempt must have its first content: after its first-byte time, or at the deadline."""
    return min(now + timeouts.first_byte_s, deadline)


class RetryBudget:
    """Keeps retries from doubling an outage. One per worker.

    A retry is spent only when its target failed too; every success gives one back, and every client call a
    twentieth, so that a second choice that came back is found. It does not bind while most targets answer;
    under a full outage upstream calls stay under 1.2 times the client's calls plus three (when the outage
    follows good times: from the fiftieth call on, since up to ten retries were saved).
    """

    __slots__ = ("_balance", "capacity", "per_call", "per_success")

    def __init__(
        self, *, start: float = 3.0, capacity: float = 10.0, per_call: float = 0.05, per_success: float = 1.0
    ) -> None:
        self._balance = start
        self.capacity = capacity
        self.per_call = per_call
        self.per_success = per_success

    @property
    def balance(self) -> float:
        """Retries left; below zero when retries that ran at one time all failed."""
        return self._balance

    def call(self) -> None:
        """A client's call began."""
        self._add(self.per_call)

    def success(self) -> None:
        """An upstream call succeeded."""
        self._add(self.per_success)

    def allows_retry(self) -> bool:
        """Whether one more upstream call may be made for a client's call that failed."""
        return self._balance >= 1.0

    def retry_failed(self) -> None:
        """A retry's target failed too: the retry is spent."""
        self._balance -= 1.0

    def _add(self, amount: float) -> None:
        self._balance = min(self._balance + amount, self.capacity)


def policy_values(pool: Pool) -> dict[str, dict[str, Any]]:
    """Each policy value in force with its source: ``pool``, ``defaults``, or ``exact_name`` where fixed."""
    policy, failover = pool.policy, pool.policy.failover
    values: dict[str, Any] = {
        "strategy": policy.strategy.value,
        "session_affinity": policy.session_affinity,
        "session_affinity_ttl_s": policy.session_affinity_ttl_s,
        "failover.enabled": failover.enabled,
        "failover.max_attempts": failover.max_attempts,
        "failover.retry_on_statuses": sorted(failover.retry_on_statuses),
        "failover.retry_on_model_errors": failover.retry_on_model_errors,
        "when_all_blocked": policy.when_all_blocked.value,
    }
    fixed = (
        {"strategy", "session_affinity", "failover.enabled", "failover.max_attempts"}
        if pool.synthetic
        else set()
    )

    def source(name: str) -> str:
        if name in fixed:
            return "exact_name"
        return "pool" if name in pool.overrides else "defaults"

    return {name: {"value": value, "source": source(name)} for name, value in values.items()}
