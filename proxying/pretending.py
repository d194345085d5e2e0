"""What an operator pretends: candidates fail without being called, and their health hears nothing of it."""

from __future__ import annotations

import time
from typing import Final

from proxying.errors import (
    ErrorFacts,
    UpstreamConnectError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
    canonical_type,
    normalised_status,
)
from proxying.outcome import Attempt, Exchange, attempt_error
from routing.policies import Failure, refuses_credential
from routing.types import Candidate, Provider

_SAYING: Final = "Pretended: the provider was not called."
_WITHOUT_STATUS: Final = {
    "timeout": UpstreamTimeoutError,
    "connect": UpstreamConnectError,
    "protocol": UpstreamProtocolError,
}


def pretend(exchange: Exchange, candidate: Candidate, provider: Provider) -> None:
    """Fail the attempt if that is pretended of the candidate: as an attempt that is recorded, and only that.

    Raises:
        UpstreamError: what a call that ended so would have raised.
    """
    failure = exchange.pretended.get(candidate.selector) if exchange.pretended else None
    if failure is None:
        return
    error = _error(failure)
    attempt = Attempt(candidate, provider.kind, time.perf_counter(), time.time(), status=failure.status)
    attempt.error = attempt_error(error)
    exchange.attempts.append(attempt)
    raise error


def _error(failure: Failure) -> UpstreamError:
    if failure.status is None:
        return _WITHOUT_STATUS.get(failure.kind, UpstreamProtocolError)(_SAYING)
    status = normalised_status(failure.status)
    facts = ErrorFacts(status, failure.status, canonical_type(status), failure.code, _SAYING)
    facts.refused_credential = refuses_credential(failure)
    return UpstreamStatusError(facts)
