"""Everything the data plane works with, once per process and event loop, opened and closed together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from django.conf import settings
from django.core.cache import caches
from django.db import connections

from proxying import traffic_rollup
from proxying.attempt import Client, Upstreams
from proxying.auth import CallerRules, is_loopback
from proxying.client import UpstreamClient
from proxying.lifespan import drain_event
from proxying.metrics import Metrics
from proxying.outcome import API, Exchange
from proxying.records import Recorder
from proxying.tracing import open_tracing
from proxying.traffic_store import TrafficFlusher
from proxying.upload import ReplayMemory
from routing import health, live, snapshot
from routing.background import Background, Chore
from routing.health_exchange import HealthExchange
from routing.live_health import LiveHealth
from routing.policies import RetryBudget
from routing.resolver import Resolver
from routing.state import SharedState
from routing.store_guard import StoreGuard
from routing.types import RoutingTable

TICK_S: Final = 0.5
CHORES: Final = (
    Chore("roll up live numbers", 15, traffic_rollup.roll_up),
    Chore("forget old live numbers", 600, traffic_rollup.prune),
)
logger = logging.getLogger("sluice.runtime")


class OpenClient(Client, Protocol):
    """A client that the runtime opens and closes."""

    async def open(self) -> None:
        """Connect nothing yet; make ready in the running loop."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def _load_table() -> None:
    """The first load, in a thread that has no other use for its database connection."""
    try:
        snapshot.refresh()
    finally:
        connections.close_all()


class Runtime:
    """The data plane of one process. Views find it with ``current()``.

    With ``table`` of its own (tests) nothing is read from the database, watched or done in the background.
    """

    def __init__(
        self,
        client: OpenClient,
        *,
        table: Callable[[], RoutingTable] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.client = client
        self.table = table or snapshot.current
        self._watcher = snapshot.Watcher() if table is None else None
        guard = StoreGuard()
        self.state = SharedState(guard=guard)
        rules = health.Rules(
            failures=settings.GATEWAY_CIRCUIT_FAILURES, open_s=settings.GATEWAY_CIRCUIT_OPEN_S
        )
        self.health = LiveHealth(
            self.table,
            HealthExchange(caches["health"], guard),
            rules=rules,
            interval_s=settings.GATEWAY_REFRESH_INTERVAL_S,
        )
        self.resolver = Resolver(
            self.table, self.state, self.health, expose_exact=settings.GATEWAY_EXPOSE_EXACT_MODELS
        )
        self._background = Background(self.health, chores=CHORES) if table is None else None
        self.metrics = Metrics(shared_dir=settings.PROMETHEUS_MULTIPROC_DIR)
        self.health.on_transition.append(self.metrics.transition)
        self.recorder = recorder or Recorder(tracing=open_tracing() if settings.GATEWAY_OTEL else None)
        self.recorder.on_dropped = self.metrics.dropped.inc
        self.traffic = TrafficFlusher(self.health.in_flight, on_failed=self.metrics.traffic_failed.inc)
        self.upstreams = Upstreams(
            table=self.table,
            resolver=self.resolver,
            state=self.state,
            health=self.health,
            client=client,
            budget=RetryBudget(),
            spawn=self.spawn,
            on_attempt=self.metrics.attempted,
            finish=self.finish,
        )
        self.caller_rules = CallerRules(
            user_path_header=settings.GATEWAY_USER_PATH_HEADER.lower(),
            allow_anonymous=settings.GATEWAY_ALLOW_ANONYMOUS and is_loopback(settings.GATEWAY_BIND),
        )
        self.session_header = settings.GATEWAY_SESSION_HEADER.lower()
        self.routing_headers: bool = settings.GATEWAY_EXPOSE_ROUTING_HEADERS
        self.max_body_bytes: int = settings.GATEWAY_MAX_BODY_BYTES
        self.replay_bytes: int = settings.GATEWAY_REPLAY_BYTES
        self.replay_memory = ReplayMemory(settings.GATEWAY_REPLAY_TOTAL_BYTES)
        self.draining = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ticker: asyncio.Task[None] | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether there is a table to route by."""
        return self._watcher is None or snapshot.is_loaded()

    async def open(self) -> None:
        """Load the table, connect, start the tasks; this runtime is then the current one."""
        if self._watcher is not None:
            await asyncio.get_running_loop().run_in_executor(None, _load_table)
            await self._watcher.start()
            await self.traffic.open()
        await self.state.open()
        await self.health.open()
        await self.client.open()
        await self.recorder.open()
        self._ticker = asyncio.create_task(self._tick(), name="gauges")
        live.register(self.resolver)
        if self._background is not None:
            await self._background.start()
        _current.append(self)

    async def close(self) -> None:
        """T22: stop everything, records flushed; a part that fails does not keep the others open."""
        self.draining = True
        live.unregister(self.resolver)
        if self in _current:
            _current.remove(self)
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        parts: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self.client.close,
            self.recorder.close,
            self.traffic.close,
            self.health.close,
            self.state.close,
        ]
        if self._watcher is not None:
            parts.append(self._watcher.stop)
        if self._background is not None:
            parts.insert(0, self._background.stop)
        self.metrics.tell()
        for part in parts:
            try:
                await part()
            except Exception:  # the next part is closed all the same
                logger.exception("Closing the data plane: %s failed.", part.__qualname__)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something small in the background; ``close`` waits for it a little."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned)

    def finish(self, exchange: Exchange) -> None:
        """An exchange has ended: count it and queue its record. What operators try is no client's traffic."""
        if exchange.body is not None and exchange.body.form is not None:
            self.spawn(exchange.body.form.close())
        exchange.end()
        if exchange.source == API:
            self.metrics.finished(exchange)
            self.traffic.count(exchange)
        self.recorder.put(exchange)

    def show_gauges(self) -> None:
        """Bring the gauges and what was counted up to date."""
        self.metrics.tell()
        table, stale_since = self.table(), snapshot.status().stale_since
        self.metrics.queue.set(self.recorder.depth)
        self.metrics.show_in_flight(self.health.in_flight())
        self.metrics.replay.set(self.replay_memory.held_bytes)
        self.metrics.revision.set(table.revision)
        self.metrics.stale_s.set(time.time() - stale_since if stale_since is not None else 0.0)
        self.metrics.cache_up.set(self.state.status().available)
        self.metrics.retry_budget.set(self.upstreams.budget.balance)
        self.metrics.show_entries(
            {
                "plans": self.resolver.size(),
                "circuits": self.health.size(),
                "local_tickets": self.state.size(),
                "pins": self.state.pins_held(),
                "background_tasks": len(self._tasks),
            }
        )

    def _spawned(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("A background task failed.", exc_info=task.exception())

    async def _tick(self) -> None:
        while True:
            with contextlib.suppress(Exception):
                self.show_gauges()
            await asyncio.sleep(TICK_S)


_current: list[Runtime] = []


def current() -> Runtime:
    """The runtime that was opened last.

    Raises:
        RuntimeError: none is open; the server did not run the ASGI lifespan.
    """
    if not _current:
        raise RuntimeError("The data plane is not open: serve Sluice with 'manage.py serve'.")
    return _current[-1]


async def open() -> Runtime:  # noqa: A001 - read as runtime.open()
    """Open this process's data plane; what ASGI's lifespan calls."""
    runtime = Runtime(UpstreamClient(deny_private=settings.GATEWAY_EGRESS_DENY_PRIVATE))
    try:
        await runtime.open()
    except BaseException:
        await runtime.close()
        raise
    return runtime


async def close() -> None:
    """Close what ``open`` opened; harmless when nothing is open."""
    for runtime in _current.copy():  # each takes itself out
        await runtime.close()


def drain() -> None:
    """The process was told to stop: no longer ready, what runs may end. For the event loop's thread."""
    drain_event().set()
    for runtime in _current:
        runtime.draining = True
