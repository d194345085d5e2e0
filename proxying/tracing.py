"""Spans of requests and their attempts, for OpenTelemetry: optional, and made after the fact.

The thread that writes records makes them from what the records say, so tracing costs the request path
nothing. Names and attributes follow OpenTelemetry's conventions for generative AI; prompts, answers and keys
are not in them. The packages are those of ``requirements/otel.txt``; where spans go and how they are sampled
is said by OpenTelemetry's own ``OTEL_*`` variables.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from proxying.outcome import Attempt, Exchange

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger("sluice.tracing")

_OPERATIONS: Final = {"completions": "text_completion", "embeddings": "embeddings"}
_SECOND_NS: Final = 1_000_000_000


class TracingUnavailableError(Exception):
    """The packages are not installed."""


class Tracing:
    """Makes spans of ended exchanges; for one thread at a time."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - optional
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._tracer = provider.get_tracer("sluice")
        self._propagator = TraceContextTextMapPropagator()

    def record(self, exchange: Exchange) -> None:
        """One span for the request, a child of the client's own, and one below it for each attempt."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context  # noqa: PLC0415

        span = self._tracer.start_span(
            f"{_operation(exchange)} {exchange.requested_model}".strip(),
            context=self._propagator.extract(exchange.trace_headers),
            kind=SpanKind.SERVER,
            attributes=_attributes(exchange),
            start_time=_ns(exchange.started_at),
        )
        if (exchange.outcome in {"error", "cut"} and exchange.status >= 500) or exchange.outcome == "cut":
            span.set_status(Status(StatusCode.ERROR, exchange.error_message))
        within = set_span_in_context(span)
        for attempt in exchange.attempts:
            self._attempt(attempt, within)
        span.end(_ns(exchange.started_at, exchange.latency_ms))

    def _attempt(self, attempt: Attempt, within: Context) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415

        attributes: dict[str, Any] = {
            "gen_ai.provider.name": attempt.kind,
            "gen_ai.request.model": attempt.candidate.model,
            "sluice.provider": attempt.candidate.provider,
        }
        if attempt.status is not None:
            attributes["http.response.status_code"] = attempt.status
        if attempt.error:
            attributes["error.type"] = attempt.error.partition(":")[0]
        span = self._tracer.start_span(
            f"attempt {attempt.candidate.selector}",
            context=within,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=_ns(attempt.started_at),
        )
        if attempt.error:
            span.set_status(Status(StatusCode.ERROR, attempt.error))
        span.end(_ns(attempt.started_at, attempt.latency_ms))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def open_tracing() -> Tracing:
    """Send spans by OTLP over HTTP, in batches, from a thread of OpenTelemetry's own.

    Raises:
        TracingUnavailableError: the packages are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise TracingUnavailableError(
            "GATEWAY_OTEL is on, but OpenTelemetry is not installed: pip install -r requirements/otel.txt."
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "sluice"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def _operation(exchange: Exchange) -> str:
    return _OPERATIONS.get(exchange.endpoint.value, "chat")


def _attributes(exchange: Exchange) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.operation.name": _operation(exchange),
        "gen_ai.request.model": exchange.requested_model,
        "http.response.status_code": exchange.status,
        "sluice.request_id": exchange.request_id,
        "sluice.outcome": exchange.outcome,
        "sluice.attempts": len(exchange.attempts),
        "sluice.failover": exchange.failed_over,
        "sluice.affinity": exchange.affinity.value,
        "sluice.overhead_ms": round(exchange.overhead_ms, 3),
    }
    if exchange.decision is not None:
        found["sluice.canonical_model"] = exchange.decision.canonical_model
        found["sluice.revision"] = exchange.decision.revision
    if exchange.served is not None:
        found["gen_ai.response.model"] = exchange.served.model
        found["gen_ai.provider.name"] = exchange.attempts[-1].kind
        found["sluice.provider"] = exchange.served.provider
    if exchange.caller is not None:
        found["sluice.caller"] = exchange.caller.name
    if exchange.error_code:
        found["error.type"] = exchange.error_code
    usage = {
        "gen_ai.usage.input_tokens": exchange.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": exchange.usage.completion_tokens,
    }
    return found | {name: tokens for name, tokens in usage.items() if tokens is not None}


def _ns(at: float, later_ms: float = 0.0) -> int:
    return int((at + later_ms / 1000) * _SECOND_NS)
