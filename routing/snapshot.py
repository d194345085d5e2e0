"""The data plane's only reader of the tables: load, hold and watch the ``RoutingTable`` of this process.

``current()`` is a plain attribute read. Loading happens in the caller's thread (``load``, ``refresh``) or in
the watcher's own thread; a failed load keeps the last good table and is reported by ``status()``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection, connections, transaction

from routing import assembly, credentials, signing
from routing.job_thread import JobThread
from routing.models import (
    Alias,
    ClientKey,
    ModelPool,
    PoolCandidate,
    Provider,
    ProviderModel,
    RoutingDefaults,
    RoutingHead,
)
from routing.types import RoutingTable, SkippedRow, Timeouts

logger = logging.getLogger(__name__)

Head = tuple[int, int]
"""Configuration revision and health version: what workers poll."""

_NO_HEAD: Final[Head] = (0, 0)
LOCK_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class SnapshotStatus:
    """What this process holds. ``stale_since`` (Unix seconds) and ``error`` are set while reading fails."""

    revision: int
    loaded_at: float | None
    stale_since: float | None
    error: str


@dataclass(frozen=True, slots=True)
class _Held:
    table: RoutingTable = field(default_factory=RoutingTable)
    head: Head = _NO_HEAD
    loaded_at: float | None = None
    stale_since: float | None = None
    error: str = ""


class _Holder:
    """The one table of the process; replaced as a whole, so a reader needs no lock (T9)."""

    def __init__(self) -> None:
        self.held = _Held()
        self.loading = threading.Lock()


_holder = _Holder()


def current() -> RoutingTable:
    """The table in force; an empty one before the first load."""
    return _holder.held.table


def status() -> SnapshotStatus:
    """How fresh the table is."""
    held = _holder.held
    return SnapshotStatus(held.table.revision, held.loaded_at, held.stale_since, held.error)


def is_loaded() -> bool:
    """Whether this process holds a table at all; a management command does not."""
    return _holder.held.loaded_at is not None


def reset() -> None:
    """Forget the table: for processes that start over, and for tests."""
    _holder.held = _Held()


def load() -> RoutingTable:
    """Read everything in one consistent read and assemble it; the held table is not touched.

    Raises:
        django.db.Error: the database cannot be read.
    """
    return _load()[0]


def refresh() -> bool:
    """Load anew and hold the result; true when it changed. A failing database is reported, not raised."""
    if not _holder.loading.acquire(timeout=LOCK_TIMEOUT_S):
        return False  # another thread's load hangs; the watcher reports that
    try:
        before = _holder.held
        table, head = _load()
        _holder.held = _Held(table, head, time.time())
    except DatabaseFailure as error:
        mark_stale(error)
        return False
    finally:
        _holder.loading.release()
    _report(before.table.skipped, table.skipped)
    return before.loaded_at is None or before.head != head


def refresh_if_changed() -> bool:
    """Look at the head row and load when it moved (or nothing is held); true when the table changed."""
    try:
        head = _read_head()
    except DatabaseFailure as error:
        mark_stale(error)
        return False
    held = _holder.held
    if held.loaded_at is None or held.head != head:
        return refresh()
    if held.stale_since is not None:
        _holder.held = _Held(held.table, held.head, held.loaded_at)
        logger.info("Routing table: the database can be read again; revision %s is in force.", head[0])
    return False


def mark_stale(error: BaseException) -> None:
    """Keep the table, and say since when and why it may be out of date."""
    held = _holder.held
    text = f"{type(error).__name__}: {error}".strip()[:300]
    if held.stale_since is None:
        logger.warning("Routing table: cannot be refreshed, revision %s stays: %s", held.head[0], text)
    _holder.held = _Held(held.table, held.head, held.loaded_at, held.stale_since or time.time(), text)


def _report(before: tuple[SkippedRow, ...], after: tuple[SkippedRow, ...]) -> None:
    for row in after:
        if row not in before:
            logger.error("Routing table: %s is left out: %s", row.object, row.problem)


def _load() -> tuple[RoutingTable, Head]:
    with _consistent_read():
        head = _read_head()
        rows = assembly.Rows(
            revision=head[0],
            providers=list(Provider.objects.order_by("name").values()),
            inventory=list(
                ProviderModel.objects.filter(listed=True)
                .order_by("provider_id", "model")
                .values("provider_id", "model", "owned_by", "upstream_created")
            ),
            pools=list(ModelPool.objects.order_by("canonical_model").values()),
            candidates=list(PoolCandidate.objects.order_by("id").values()),
            aliases=list(Alias.objects.order_by("name").values()),
            defaults=RoutingDefaults.objects.filter(pk=1).values().first(),
            client_keys=list(ClientKey.objects.order_by("id").values()),
        )
    table = assembly.build(
        rows,
        reveal=credentials.reveal,
        signing_problem=signing.problem,
        timeouts=Timeouts(
            connect_s=settings.GATEWAY_CONNECT_TIMEOUT_S,
            first_byte_s=settings.GATEWAY_FIRST_BYTE_TIMEOUT_S,
            idle_s=settings.GATEWAY_IDLE_TIMEOUT_S,
            total_s=settings.GATEWAY_TOTAL_TIMEOUT_S,
        ),
    )
    return table, head


def _read_head() -> Head:
    row = RoutingHead.objects.filter(pk=1).values_list("revision", "health_version").first()
    return row or _NO_HEAD


@contextmanager
def _consistent_read() -> Iterator[None]:
    """All reads inside see one state of the database, and none of them waits for a writer."""
    if connection.in_atomic_block:  # the caller's own transaction; its isolation is the caller's choice
        yield
    elif connection.vendor == "sqlite":
        # Not atomic(): that begins IMMEDIATE here and would queue behind every writer.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")
    else:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield


class Watcher:
    """Follows the configuration: polls the head row and reloads when it moved.

    A poll that hangs is reported after ``timeout_s`` and waited for without starting another; ``stop``
    never waits for it longer than ``timeout_s``.
    """

    def __init__(self, *, interval_s: float | None = None, timeout_s: float = 5.0) -> None:
        self.interval_s = settings.GATEWAY_REFRESH_INTERVAL_S if interval_s is None else interval_s
        self.timeout_s = timeout_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin watching, in a task of the running loop."""
        if self._task is None:
            self._task = asyncio.create_task(self.run(), name="routing-watcher")

    async def stop(self) -> None:
        """End the task; harmless when it never started."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def run(self) -> None:
        """Watch until cancelled."""
        reader = JobThread("routing-watcher")
        try:
            while True:
                await self._poll(reader)
                await asyncio.sleep(self.interval_s)
        finally:
            await reader.stop(self.timeout_s)

    async def _poll(self, reader: JobThread) -> None:
        poll = asyncio.wrap_future(reader.submit(_guarded_refresh))
        try:
            done, _ = await asyncio.wait([poll], timeout=self.timeout_s)
            if not done:
                mark_stale(TimeoutError(f"The database did not answer within {self.timeout_s:g} s."))
                await asyncio.wait([poll])
            poll.result()
        finally:
            poll.cancel()


def _guarded_refresh() -> bool:
    """One poll. Nothing that goes wrong in it may end the watching; a broken connection is not kept."""
    try:
        changed = refresh_if_changed()
    except Exception as error:  # whatever it is, the last good table stays in force
        logger.exception("Routing table: the refresh failed.")
        mark_stale(error)
        changed = False
    if _holder.held.stale_since is not None:
        connections.close_all()
    return changed
