"""One client request from arrival to its end: what is known of it, and the headers that tell the client."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from proxying.adapters.base import ClientBody, Usage
from proxying.errors import GatewayError, UpstreamStatusError, shown
from proxying.http import Headers
from routing.identifiers import new_id
from routing.policies import Failure
from routing.types import Affinity, Caller, Candidate, Decision, Endpoint

API: Final = "api"
TRY_IT: Final = "try_it"
_TRACE_HEADERS: Final = ("traceparent", "tracestate")
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ANTHROPIC: Final = frozenset({Endpoint.MESSAGES, Endpoint.COUNT_TOKENS})
# The bytes that a path segment may hold, and "%" itself is escaped: the value can be read back.
_PLAIN: Final = "/:@!$&'()*+,;=-._~ "


@dataclass(slots=True)
class Attempt:
    """One upstream call. ``started`` is ``perf_counter()``, ``started_at`` Unix seconds.

    ``status`` is what the provider sent; None when there was no answer.
    """

    candidate: Candidate
    kind: str
    started: float
    started_at: float
    latency_ms: float = 0.0
    status: int | None = None
    error: str = ""


@dataclass(slots=True)
class Exchange:
    """One client request. The attempt loop fills it; records, metrics and headers read it.

    Attributes:
        started: ``time.perf_counter()`` at arrival.
        waited_s: How much of the time the gateway waited for providers, and for a client to upload.
        served: The candidate whose answer the client gets.
        outcome: ``ok``, ``error``, ``client_gone`` or ``cut``; empty while under way.
        source: Whose request it is: a client's (``API``), or an operator's from the dashboard (``TRY_IT``).
        pretended: What candidates are to answer without being called, by selector; an operator's wish.
        body: Let go at the end, so that a queued record holds no prompt; so are the headers, but for
            ``trace_headers``.
    """

    endpoint: Endpoint
    headers: Mapping[str, str]
    started: float
    request_id: str
    started_at: float = field(default_factory=time.time)
    body: ClientBody | None = None
    caller: Caller | None = None
    decision: Decision | None = None
    attempts: list[Attempt] = field(default_factory=list)
    served: Candidate | None = None
    affinity: Affinity = Affinity.NONE
    waited_s: float = 0.0
    overhead_ms: float = 0.0
    first_content_ms: float | None = None
    latency_ms: float = 0.0
    usage: Usage = field(default_factory=Usage)
    requested_model: str = ""
    streamed: bool = False
    status: int = 0
    outcome: str = ""
    error_code: str = ""
    error_message: str = ""
    trace_headers: Mapping[str, str] = field(default_factory=dict)
    source: str = API
    pretended: Mapping[str, Failure] | None = None

    @property
    def failed_over(self) -> bool:
        """Whether more than one candidate was called."""
        return len(self.attempts) > 1

    @property
    def dialect(self) -> str:
        """What the client speaks."""
        return self.body.dialect if self.body is not None else "openai"

    def answered(self, status: int) -> None:
        """The answer's head is ready: from here on the gateway only relays."""
        self.status = status
        self.overhead_ms = max((time.perf_counter() - self.started - self.waited_s) * 1000, 0.0)

    def failed(self, error: GatewayError, outcome: str = "error") -> None:
        """Remember why it did not end well."""
        told = shown(error)
        self.outcome = outcome
        self.error_code = (told.code or told.type)[:100]
        self.error_message = told.message[:500]

    def end(self) -> None:
        """Nothing more will happen: take the time, let go of the body and the headers."""
        self.latency_ms = (time.perf_counter() - self.started) * 1000
        self.outcome = self.outcome or "ok"
        self.body = None
        self.trace_headers = {name: self.headers[name] for name in _TRACE_HEADERS if name in self.headers}
        self.headers = {}


def request_id(headers: Mapping[str, str]) -> str:
    """The client's ``x-request-id`` when it is well formed, else a new one."""
    given = headers.get("x-request-id")
    return given if given is not None and REQUEST_ID.fullmatch(given) else new_id()


def attempt_error(error: GatewayError) -> str:
    """One line about a failed attempt, for the record."""
    code = error.code or error.type
    if isinstance(error, UpstreamStatusError):
        return f"{error.facts.raw_status} {code}: {error.message}"[:300]
    return f"{code}: {error.message}"[:300]


def id_headers(request_id: str, dialect: str) -> Headers:
    """The request's id by the name that each dialect's SDK reads."""
    value = request_id.encode()
    headers: Headers = [(b"x-request-id", value)]
    return [*headers, (b"request-id", value)] if dialect == "anthropic" else headers


def response_headers(exchange: Exchange, *, routing: bool) -> Headers:
    """The headers of section "what a decision leaves behind"; only the request's id without ``routing``."""
    headers = id_headers(exchange.request_id, "anthropic" if exchange.endpoint in _ANTHROPIC else "openai")
    decision = exchange.decision
    if not routing or decision is None:
        return headers
    candidate = exchange.served or (exchange.attempts[-1].candidate if exchange.attempts else None)
    headers += _decision_headers(
        decision.canonical_model,
        candidate.provider if candidate is not None else None,
        candidate.model if candidate is not None else None,
        len(exchange.attempts),
        exchange.affinity,
        decision.revision,
    )
    headers.append((b"x-gateway-overhead-ms", b"%.2f" % exchange.overhead_ms))
    return headers


# Requests of a pool differ in little of it.
@lru_cache(maxsize=1024)
def _decision_headers(
    canonical_model: str,
    provider: str | None,
    model: str | None,
    attempts: int,
    affinity: Affinity,
    revision: int,
) -> Headers:
    headers: Headers = []
    if canonical_model:
        headers.append((b"x-gateway-canonical-model", header_value(canonical_model)))
    if provider is not None and model is not None:
        headers.append((b"x-gateway-provider", header_value(provider)))
        headers.append((b"x-gateway-model", header_value(model)))
    return [
        *headers,
        (b"x-gateway-attempts", b"%d" % attempts),
        (b"x-gateway-failover", b"true" if attempts > 1 else b"false"),
        (b"x-gateway-affinity", affinity.value.encode()),
        (b"x-gateway-revision", b"%d" % revision),
    ]


@lru_cache(maxsize=4096)
def header_value(text: str) -> bytes:
    """A name as a header's value: printable ASCII as it is, everything else percent-encoded."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return quote(text, safe=_PLAIN, errors="replace").encode()


def attempt_values(attempt: Attempt) -> dict[str, Any]:
    """An attempt as the record and the log line have it."""
    return {
        "provider": attempt.candidate.provider,
        "model": attempt.candidate.model,
        "started_at": round(attempt.started_at, 6),
        "latency_ms": round(attempt.latency_ms, 3),
        "status": attempt.status,
        "error": storable(attempt.error) if attempt.error else None,
    }


def storable(text: str) -> str:
    """Text without what PostgreSQL cannot store, nor JSON say: NULs and halves of a surrogate pair."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
