"""A thread for the database work of a background task: one job at a time, never waited for at shutdown."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from django.db import connections

Result = TypeVar("Result")


class JobThread:
    """One daemon thread with its own database connections, closed when it ends."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._ended: Future[None] = Future()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, job: Callable[[], Result]) -> Future[Result]:
        """Queue a job; its result or its exception comes with the future."""
        future: Future[Result] = Future()
        self._jobs.put((future, job))
        return future

    async def run(self, job: Callable[[], Result]) -> Result:
        """Queue a job and wait for it; a cancelled wait takes it out of the queue if it has not begun."""
        return await asyncio.wrap_future(self.submit(job))

    async def stop(self, timeout_s: float) -> None:
        """End the thread after the job in hand; wait that long at most, for a clean stop leaves nothing."""
        self._jobs.put(None)
        ended = asyncio.wrap_future(self._ended)
        await asyncio.wait([ended], timeout=timeout_s)
        ended.cancel()

    def _work(self) -> None:
        try:
            while (item := self._jobs.get()) is not None:
                future, job = item
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(job())
                except Exception as error:  # noqa: BLE001 - handed to whoever waits for the future
                    future.set_exception(error)
        finally:
            connections.close_all()
            if self._ended.set_running_or_notify_cancel():
                self._ended.set_result(None)
