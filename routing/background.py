"""What one worker of all does in the background: discovery, writing back switches that are over, chores.

The worker that holds the lease does it; when it dies another takes over as soon as the lease has ended.
Database work happens in threads of its own, so that a database that hangs stops nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from django.conf import settings
from django.db import close_old_connections, connections

from routing import discovery, leases, probes, services, snapshot
from routing.job_thread import JobThread
from routing.live_health import LiveHealth
from routing.models import Provider as ProviderRow
from routing.probes import Probe
from routing.types import Provider, RoutingTable

LEASE: Final = "background"
LEASE_S: Final = 10.0
TICK_S: Final = 2.0
_AGAIN_S: Final = 15.0  # the least time between two calls of one provider, whatever the database says
_STOP_S: Final = 2.0

Result = TypeVar("Result")
logger = logging.getLogger("sluice.background")


@dataclass(frozen=True, slots=True)
class Chore:
    """Small database work that one worker of all does again and again."""

    name: str
    every_s: float
    run: Callable[[], object]


class Background:
    """The background work of one process, on the event loop that starts it; ``health`` is told of probes."""

    def __init__(
        self,
        health: LiveHealth,
        *,
        table: Callable[[], RoutingTable] = snapshot.current,
        chores: Sequence[Chore] = (),
        interval_s: float | None = None,
        tick_s: float = TICK_S,
        lease_s: float = LEASE_S,
    ) -> None:
        self.holder = leases.holder_name()
        self._health = health
        self._table = table
        self._chores = chores
        self._interval_s = settings.GATEWAY_PROBE_INTERVAL_S if interval_s is None else interval_s
        self._tick_s = tick_s
        self._lease_s = lease_s
        self._leads_until = 0.0
        self._leads = asyncio.Event()
        self._asked_at: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._threads: list[JobThread] = []

    @property
    def is_leader(self) -> bool:
        """Whether this process holds the lease, as far as it knows."""
        return time.monotonic() < self._leads_until

    async def start(self) -> None:
        """Begin, in tasks of the running loop; the database may be down."""
        if self._tasks:
            return
        names = ("background-lease", "background-probes", "background-chores")
        keeper, prober, sweeper = self._threads = [JobThread(name) for name in names]
        self._tasks = [
            asyncio.create_task(self._keep(keeper), name="background-lease"),
            asyncio.create_task(self._probe(prober), name="background-probes"),
            asyncio.create_task(self._sweep(sweeper), name="background-chores"),
        ]

    async def stop(self) -> None:
        """End the tasks, calls under way included, and give the lease back; harmless when not started."""
        tasks, self._tasks = self._tasks, []
        threads, self._threads = self._threads, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
            self._leads_until = 0.0
            # Not only as the leader: the take that was cancelled may have succeeded.
            handover = asyncio.wrap_future(threads[0].submit(lambda: _apart(self._give_back)))
            await asyncio.wait([handover], timeout=_STOP_S)
            handover.cancel()
        for thread in threads:
            await thread.stop(_STOP_S)

    # The lease, and what goes with it.

    async def _keep(self, thread: JobThread) -> None:
        while True:
            asked_at = time.monotonic()
            if await thread.run(lambda: _apart(self._take)):
                if not self.is_leader:
                    logger.info("This worker does the background work now (%s).", self.holder)
                # From before it was asked: this end never comes later than the one in the database.
                self._leads_until = asked_at + self._lease_s / 2
                self._leads.set()
                await thread.run(lambda: _apart(services.expire_due_switches))
            else:
                self._leads_until = 0.0
                self._leads.clear()
            await asyncio.sleep(self._tick_s)

    def _take(self) -> bool:
        return leases.take(LEASE, self.holder, self._lease_s)

    def _give_back(self) -> bool:
        return leases.give_back(LEASE, self.holder)

    # Chores.

    async def _sweep(self, thread: JobThread) -> None:
        due_at = {chore.name: 0.0 for chore in self._chores}
        while True:
            await self._leads.wait()
            for chore in self._chores:
                if self.is_leader and due_at[chore.name] <= time.monotonic():
                    due_at[chore.name] = time.monotonic() + chore.every_s
                    await thread.run(partial(_apart, chore.run))
            await asyncio.sleep(self._tick_s)

    # Model discovery.

    async def _probe(self, thread: JobThread) -> None:
        while True:
            await self._leads.wait()
            if self.is_leader:
                try:
                    await self._round(thread)
                except Exception:  # without this task no provider is ever asked again
                    logger.exception("Model discovery failed.")
            await asyncio.sleep(self._tick_s)

    async def _round(self, thread: JobThread) -> None:
        table = self._table()
        due = await thread.run(lambda: _apart(lambda: self._due(table)))
        if not due:
            return
        found = await probes.ask_all(due, table)
        probes.tell_health(self._health, found)
        await thread.run(lambda: _apart(lambda: _record(found)))

    def _due(self, table: RoutingTable) -> list[Provider]:
        """Who is to be asked now; in the prober's thread."""
        now = time.time()
        callable_ = {
            name: provider
            for name, provider in table.providers.items()
            if not discovery.why_not_asked(provider, table.inventory_mode, now)
        }
        rows = ProviderRow.objects.filter(name__in=callable_).values_list("name", "probed_at")
        due = []
        for name, probed_at in rows:
            at = discovery.due_at(
                name, None if probed_at is None else probed_at.timestamp(), self._interval_s
            )
            again_at = self._asked_at.get(name, 0.0) + min(_AGAIN_S, self._interval_s / 2)
            if max(at, again_at) <= now:
                due.append(callable_[name])
                self._asked_at[name] = now
        if due:
            probes.tls_context()  # reads files: here, not on the event loop
        return due


def _record(found: list[Probe]) -> bool:
    probes.record(found)
    return True


def _apart(job: Callable[[], Result]) -> Result | None:
    """Run database work in a thread of its own; None when it fails, which is logged and tried again."""
    close_old_connections()
    try:
        return job()
    except Exception:  # whatever it is, the background work goes on with the next tick
        logger.exception("Background work failed.")
        connections.close_all()
        return None
    finally:
        close_old_connections()
