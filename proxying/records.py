"""One row per request: a bounded queue, and a task that writes it in batches from a thread of its own.

Nothing here waits on the request path, and nothing is lost to a database that is away for a while: rows wait
in the queue until its bound, beyond which the newest are dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from proxying.adapters.openai_media import MEDIA_PATHS
from proxying.logs import LineLog
from proxying.models import RequestRecord
from proxying.outcome import API, Exchange, attempt_values, storable
from proxying.pricing import cost_microusd
from proxying.record_store import Values, write_rows
from proxying.tracing import Tracing
from routing import shapes
from routing.identifiers import new_id
from routing.types import Candidate, Decision

QUEUE_LIMIT: Final = 10_000
BATCH: Final = 500
# The thread works through a batch in turns of so many: while it computes, no request is served.
TURN: Final = 25
# A saturated event loop takes 15 ms and more to hand over the next turn: with 25 always, the queue would fill
# up, and what came then would be lost. With turns of this share of what waits it comes to rest at hundreds.
TURNS_OF_QUEUE: Final = 8
INTERVAL_S: Final = 0.25
LONGEST_PAUSE_S: Final = 1.0
CLOSE_WITHIN_S: Final = 10.0
# How often the log says that a full queue took no more.
TOLD_EVERY_S: Final = 10.0

logger = logging.getLogger("sluice.records")
_LENGTHS: Final = {
    row.name: row.max_length for row in RequestRecord._meta.fields if row.max_length is not None
}

Write = Callable[[Sequence[Values]], int]


class Recorder:
    """The queue of ended exchanges and its flusher. ``put`` is for the event loop's thread.

    ``write`` stores rows and answers how many of them could not be stored for ever; it raises a
    ``django.db.Error`` when it is worth another try.
    """

    def __init__(
        self,
        *,
        write: Write | None = None,
        limit: int = QUEUE_LIMIT,
        interval_s: float = INTERVAL_S,
        on_dropped: Callable[[int], None] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._write = write or write_rows
        self._limit = limit
        self._interval_s = interval_s
        self.on_dropped = on_dropped
        self._tracing = tracing
        self._log = LineLog("sluice.request", settings.GATEWAY_LOG_FORMAT)
        self._queue: deque[Exchange] = deque()
        self._rows: list[Values] = []
        self._taken = 0
        self._task: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._full = asyncio.Event()
        self._refused = 0
        self._told_at = -TOLD_EVERY_S
        self.dropped = 0

    @property
    def depth(self) -> int:
        """Records that are not stored yet."""
        return len(self._queue) + self._taken

    def put(self, exchange: Exchange) -> None:
        """Queue an exchange that has ended."""
        if self.depth >= self._limit:
            self._refused += 1
            self._drop(1)
            return
        self._queue.append(exchange)
        if len(self._queue) >= BATCH:
            self._full.set()

    async def open(self) -> None:
        """Start writing."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records")
        self._task = asyncio.create_task(self._run(), name="records")

    async def close(self) -> None:
        """Write what is left, for a few seconds at most, and end the thread."""
        task, self._task = self._task, None
        if task is None or self._thread is None:
            return
        task.cancel()
        await asyncio.wait([task])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                while self.depth and await self.flush():
                    pass
        if lost := self.depth:
            self._queue.clear()
            self._rows, self._taken = [], 0
            self._drop(lost)
            logger.error("Shutting down with %s request records that could not be stored.", lost)
        self._thread.submit(connections.close_all)
        if self._tracing is not None:
            self._thread.submit(self._tracing.close)
        self._thread.shutdown(wait=False)

    async def flush(self) -> bool:
        """Write one batch; whether the next may follow at once."""
        if self._thread is None:
            return False
        while self._queue and self._taken < BATCH:
            # Taken into the thread's hands; it logs and prices them, so the loop does not have to.
            turn = max(TURN, len(self._queue) // TURNS_OF_QUEUE)
            count = min(turn, BATCH - self._taken, len(self._queue))
            batch = [self._queue.popleft() for _ in range(count)]
            self._taken += len(batch)
            self._keep(await self._in_thread(self._rows_of, batch))
        if not self._rows:
            return False
        try:
            lost = await self._in_thread(self._store)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Request records wait, the database failed: %s", type(error).__name__)
            return False
        self._rows = []
        self._taken = 0
        if lost:
            self._drop(lost)
        return bool(self._queue)

    async def _run(self) -> None:
        pause_s = self._interval_s
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._full.wait()
            self._full.clear()
            try:
                while await self.flush():
                    pass
            except Exception:  # without this task nothing is recorded any more
                logger.exception("Writing request records failed.")
                self._drop(self._taken)
                self._rows, self._taken = [], 0
            self._tell_refused()
            # Rows that are still here mean that the database failed: ask it less often, but not so rarely
            # that a worker which is killed soon after the outage takes them with it.
            failing = bool(self._rows)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S) if failing else self._interval_s
            if failing:
                await asyncio.sleep(pause_s)

    def _tell_refused(self) -> None:
        """A line in the log for the records that found the queue full, every few seconds at most."""
        now = time.monotonic()
        if self._refused and now >= self._told_at + TOLD_EVERY_S:
            logger.error("%s request records were dropped: %s wait already.", self._refused, self._limit)
            self._refused, self._told_at = 0, now

    async def _in_thread(self, function: Callable[..., Any], *values: Any) -> Any:
        """Run to its end even when the waiting task is cancelled: a batch is stored or kept, never both."""
        call = asyncio.get_running_loop().run_in_executor(self._thread, function, *values)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait([call], timeout=CLOSE_WITHIN_S)
            if call.done() and not call.cancelled() and call.exception() is None:
                self._settle(function, call.result())
            raise

    def _settle(self, function: Callable[..., Any], result: Any) -> None:
        if function == self._rows_of:
            self._keep(result)
        else:
            self._rows, self._taken = [], 0
            self._drop(result)

    def _rows_of(self, exchanges: Iterable[Exchange]) -> list[Values]:
        rows = []
        for exchange in exchanges:
            try:
                values = record_values(exchange)
                self._log.add("request", log_values(exchange, values))
                rows.append(values)
                if self._tracing is not None:
                    self._tracing.record(exchange)
            except Exception:  # one odd request must not cost the others their records
                logger.exception("A request could not be recorded.")
        self._log.flush()
        return rows

    def _keep(self, rows: list[Values]) -> None:
        """Rows to be stored; those taken that became none are lost."""
        self._rows += rows
        lost = self._taken - len(self._rows)
        self._taken -= lost
        self._drop(lost)

    def _store(self) -> int:
        try:
            return self._write(self._rows)
        except (DatabaseError, InterfaceError):
            connections.close_all()  # a broken connection is not kept
            raise

    def _drop(self, count: int) -> None:
        if count:
            self.dropped += count
            if self.on_dropped is not None:
                self.on_dropped(count)


def record_values(exchange: Exchange) -> Values:
    """The columns of an exchange's row."""
    attempts, served = exchange.attempts, exchange.served
    values: Values = {
        "request_id": exchange.request_id,
        "decision_id": new_id() if exchange.decision is None else exchange.decision.decision_id,
        "started_at": datetime.fromtimestamp(exchange.started_at, UTC),
        "endpoint": exchange.endpoint.value,
        "requested_model": exchange.requested_model,
        "attempts": [attempt_values(attempt) for attempt in attempts],
        "attempt_count": len(attempts),
        "failover_used": len(attempts) > 1,
        "streamed": exchange.streamed,
        "status": exchange.status,
        "outcome": exchange.outcome,
        "error_code": exchange.error_code,
        "error_message": exchange.error_message,
        "latency_ms": round(exchange.latency_ms, 3),
        "first_content_ms": exchange.first_content_ms and round(exchange.first_content_ms, 3),
        "overhead_ms": round(exchange.overhead_ms, 3),
    }
    if exchange.decision is not None:
        values |= _decision_values(exchange.decision, served, failed_over=len(attempts) > 1)
        values["affinity"] = exchange.affinity.value
    values |= _usage_values(exchange)
    if exchange.caller is not None:
        values["caller_id"] = exchange.caller.id
        values["caller_name"] = exchange.caller.name
        values["user_path"] = exchange.caller.user_path
    if exchange.source != API:
        values["source"] = exchange.source
    for name, longest in _LENGTHS.items():
        text = values.get(name)
        if text and not (text.isascii() and len(text) <= longest and "\x00" not in text):
            values[name] = storable(text)[:longest]
    return values


def _decision_values(decision: Decision, served: Candidate | None, *, failed_over: bool) -> dict[str, Any]:
    first, evaluation = decision.effective_candidate, decision.evaluation
    primary = evaluation.config_primary if evaluation is not None else None
    selector = "" if served is None else served.selector
    return {
        "canonical_model": decision.canonical_model,
        "strategy": decision.policy.strategy.value if evaluation is not None else "",
        "config_primary": primary.selector if primary is not None else "",
        "effective_candidate": first.selector if first is not None else "",
        "selected_provider_name": "" if served is None else served.provider,
        "selected_exact_model": "" if served is None else served.model,
        "fallback_target": selector if failed_over else "",
        "revision": decision.revision,
        "blocked_candidates": [shapes.blocked(state) for state in decision.blocked],
    }


def _usage_values(exchange: Exchange) -> dict[str, Any]:
    usage = exchange.usage
    cost = None
    # Tokens of sound and pictures have prices of their own, which the list does not tell apart.
    if exchange.served is not None and exchange.endpoint not in MEDIA_PATHS:
        kind = exchange.attempts[-1].kind
        cost = cost_microusd(
            kind,
            exchange.served.model,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
        )
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cost_microusd": cost,
    }


def log_values(exchange: Exchange, values: dict[str, Any]) -> dict[str, Any]:
    """The fields of the structured log line: those of the record that say something."""
    # Zero and False say something; None, "" and [] do not.
    shown = {name: value for name, value in values.items() if value or value == 0}
    shown["started_at"] = values["started_at"].isoformat()
    shown["written_after_ms"] = round((time.time() - exchange.started_at) * 1000 - exchange.latency_ms, 1)
    return shown
