"""What Prometheus reads. A lone worker counts requests in tallies: a few look-ups and additions for each.

Labels name pools, providers and models of the configuration; never keys, callers or request ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from proxying.adapters.base import Usage
from proxying.outcome import Attempt, Exchange
from proxying.tallies import Distribution, Tally
from routing.transitions import Transition
from routing.types import Candidate

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_OVERHEAD_BUCKETS_S: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5)
_LONGEST_LABEL: Final = 300
# Providers rename their models over the months that a worker may live: beyond so many they count together.
MAX_PLACES: Final = 2_000
OTHER: Final = "(other)"
Counting: TypeAlias = Tally | Counter
Observing: TypeAlias = Distribution | Histogram


@dataclass(slots=True)
class _ExchangeChildren:
    """What one finished request touches."""

    requests: Counting
    latency: Observing
    first_content: Observing
    failovers: Counting


class Metrics:
    """The counters of this process; ``shared_dir`` is where gunicorn's workers put theirs together."""

    def __init__(self, *, shared_dir: str = "") -> None:
        self._shared_dir = shared_dir
        self.registry = CollectorRegistry()
        self._exchanges: dict[tuple[str, ...], _ExchangeChildren] = {}
        self._attempts: dict[tuple[str, ...], Counting] = {}
        self._tokens: dict[tuple[str, ...], tuple[Counting, Counting, Counting]] = {}
        # By family and labels: several of the above may count the same. Empty where workers share a page.
        self._tallies: dict[tuple[str, tuple[str, ...]], Tally] = {}
        self._distributions: dict[tuple[str, tuple[str, ...]], Distribution] = {}
        self._telling = Lock()
        self._shown_in_flight: set[str] = set()
        self._places: dict[tuple[str, str, str], tuple[str, str, str]] = {}
        where = ("pool", "provider", "model")
        self.requests = self._counter(
            "sluice_requests", "Client requests.", (*where, "endpoint", "status_class", "outcome")
        )
        self.attempts = self._counter(
            "sluice_attempts", "Upstream calls.", (*where, "status_class", "result")
        )
        self.failovers = self._counter(
            "sluice_failovers", "Requests that called more than one candidate.", where
        )
        self.tokens = self._counter("sluice_tokens", "Tokens, as providers count them.", (*where, "type"))
        self.latency = self._histogram(
            "sluice_request_seconds", "From arrival to the answer's end.", (*where, "endpoint"), _BUCKETS_S
        )
        self.first_content = self._histogram(
            "sluice_first_content_seconds", "From arrival to the first content.", where, _BUCKETS_S
        )
        self.overhead = self._histogram(
            "sluice_overhead_seconds",
            "The gateway's own part until the answer began.",
            (),
            _OVERHEAD_BUCKETS_S,
        )
        self._overhead = self._distribution(self.overhead, (), _OVERHEAD_BUCKETS_S)
        self.dropped = self._counter("sluice_records_dropped", "Request records that were not kept.", ())
        self.traffic_failed = self._counter(
            "sluice_traffic_write_failures", "Writes of live numbers that will be tried again.", ()
        )
        self.transitions = self._counter(
            "sluice_health_transitions", "Changes of circuits.", ("provider", "model", "transition")
        )
        self.unauthenticated = self._counter("sluice_unauthenticated", "Requests without a valid key.", ())
        self.queue = self._gauge("sluice_records_queued", "Request records not stored yet.", (), "livesum")
        self.in_flight = self._gauge(
            "sluice_in_flight", "Upstream calls under way.", ("provider",), "livesum"
        )
        self.replay = self._gauge(
            "sluice_replay_bytes", "What is kept of uploads to send it again.", (), "livesum"
        )
        self.revision = self._gauge("sluice_table_revision", "Configuration in force.", (), "livemin")
        self.stale_s = self._gauge(
            "sluice_table_stale_seconds", "Since when the table could not be read.", (), "livemax"
        )
        self.cache_up = self._gauge("sluice_cache_up", "Whether the shared cache answers.", (), "livemin")
        self.entries = self._gauge("sluice_entries", "What bounded maps hold.", ("map",), "livesum")
        self.retry_budget = self._gauge(
            "sluice_retry_budget", "Retries left for requests whose first call failed.", (), "livemin"
        )

    def finished(self, exchange: Exchange) -> None:
        """Count a client request that has ended."""
        decision = exchange.decision
        served = exchange.served
        pool = decision.canonical_model if decision is not None else ""
        where = self._place(pool, served)
        key = (*where, exchange.endpoint.value, f"{exchange.status // 100}xx", exchange.outcome)
        children = self._exchanges.get(key)
        if children is None:
            children = self._exchanges[key] = self._exchange_children(key)
        children.requests.inc()
        children.latency.observe(exchange.latency_ms / 1000)
        self._overhead.observe(exchange.overhead_ms / 1000)
        if exchange.first_content_ms is not None:
            children.first_content.observe(exchange.first_content_ms / 1000)
        if exchange.failed_over:
            children.failovers.inc()
        if served is not None:
            self._count_tokens(where, exchange.usage)

    def attempted(self, exchange: Exchange, attempt: Attempt) -> None:
        """Count an upstream call that has its verdict."""
        pool = exchange.decision.canonical_model if exchange.decision is not None else ""
        status = f"{attempt.status // 100}xx" if attempt.status is not None else "none"
        result = "failed" if attempt.error else "ok"
        key = (*self._place(pool, attempt.candidate), status, result)
        tally = self._attempts.get(key)
        if tally is None:
            tally = self._attempts[key] = self._tally(self.attempts, key)
        tally.inc()

    def transition(self, change: Transition) -> None:
        """Count a change of a circuit that this process saw itself."""
        if not change.remote:
            self.transitions.labels(change.provider, change.model or "", change.what).inc()

    def show_entries(self, counts: Mapping[str, int]) -> None:
        """Set the gauges of what the process remembers, with what the metrics themselves do."""
        for name, count in {**counts, "metric_places": len(self._places)}.items():
            self.entries.labels(name).set(count)

    def show_in_flight(self, counts: dict[str, int]) -> None:
        """Set the gauge of calls under way; providers without one are at zero."""
        self._shown_in_flight |= counts.keys()
        for provider in self._shown_in_flight:
            self.in_flight.labels(provider).set(counts.get(provider, 0))

    def exposition(self) -> bytes:
        """The page for Prometheus; with ``shared_dir`` that of all workers together."""
        self.tell()
        if not self._shared_dir:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=self._shared_dir)  # type: ignore[no-untyped-call]  # its own gap
        return generate_latest(registry)

    def _place(self, pool: str, candidate: Candidate | None) -> tuple[str, str, str]:
        """The labels of a candidate; of too many different ones, those of all others of its provider."""
        if candidate is None:
            return (pool, "", "")
        key = (pool, candidate.provider, candidate.model)
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= MAX_PLACES:
                return (pool, candidate.provider, OTHER)
            place = self._places[key] = key
        return place

    def _exchange_children(self, key: tuple[str, ...]) -> _ExchangeChildren:
        where = key[:3]
        return _ExchangeChildren(
            requests=self._tally(self.requests, key),
            latency=self._distribution(self.latency, key[:4], _BUCKETS_S),
            first_content=self._distribution(self.first_content, where, _BUCKETS_S),
            failovers=self._tally(self.failovers, where),
        )

    def _count_tokens(self, where: tuple[str, ...], usage: Usage) -> None:
        tallies = self._tokens.get(where)
        if tallies is None:
            prompt, completion, cached = (
                self._tally(self.tokens, (*where, word)) for word in ("prompt", "completion", "cached")
            )
            tallies = self._tokens[where] = (prompt, completion, cached)
        counts = (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
        for tally, count in zip(tallies, counts, strict=True):
            if count:
                tally.inc(count)

    def tell(self) -> None:
        """Bring the counters and histograms up to date; any thread may."""
        with self._telling:
            for tally in list(self._tallies.values()):
                tally.tell()
            for distribution in list(self._distributions.values()):
                distribution.tell()

    def _tally(self, family: Counter, key: tuple[str, ...]) -> Counting:
        labels = tuple(map(_label, key))
        if self._shared_dir:
            return family.labels(*labels)
        found = self._tallies.get((family._name, labels))
        if found is None:
            found = self._tallies[family._name, labels] = Tally(family.labels(*labels))
        return found

    def _distribution(self, family: Histogram, key: tuple[str, ...], bounds: tuple[float, ...]) -> Observing:
        labels = tuple(map(_label, key))
        child = family.labels(*labels) if labels else family
        if self._shared_dir:
            return child
        found = self._distributions.get((family._name, labels))
        if found is None:
            found = self._distributions[family._name, labels] = Distribution(child, bounds)
        return found

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...], mode: Any) -> Gauge:
        return Gauge(name, text, labels, multiprocess_mode=mode, registry=self.registry)


def _label(value: str) -> str:
    return value[:_LONGEST_LABEL]
