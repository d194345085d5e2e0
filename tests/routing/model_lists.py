"""Scripted providers for synchronous tests: ``tests.upstream`` on an event loop of its own thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.upstream import Script, Upstream


class ModelLists:
    """Starts providers that list models, from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._started: list[Upstream] = []
        self._thread.start()

    def start(self, *models: str, **default: object) -> Upstream:
        upstream = Upstream()
        upstream.models = list(models) or ["m"]
        upstream.default = Script(**default)
        asyncio.run_coroutine_threadsafe(upstream.start(), self._loop).result(5)
        self._started.append(upstream)
        return upstream

    def stop(self) -> None:
        for upstream in self._started:
            asyncio.run_coroutine_threadsafe(upstream.stop(), self._loop).result(5)
        asyncio.run_coroutine_threadsafe(_settle(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


async def _settle() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def model_lists() -> Iterator[ModelLists]:
    lists = ModelLists()
    try:
        yield lists
    finally:
        lists.stop()
