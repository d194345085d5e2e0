"""The live routing of this process, for synchronous code: the admin API, the admin's pages, commands.

A serving worker registers its resolver with the event loop it runs on; questions are answered there. A
process that does not serve (a command, a test) answers from the database and the shared cache alone, which
means: not from any worker's own memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from django.conf import settings
from django.core.cache import caches

from routing import queries, snapshot
from routing.health import Rules
from routing.health_exchange import HealthExchange
from routing.live_health import LiveHealth
from routing.resolver import Resolver
from routing.state import SharedState
from routing.store_guard import StoreGuard
from routing.types import HealthView, RoutingTable

Answer = TypeVar("Answer")
Question = Callable[[Resolver], Coroutine[Any, Any, Answer]]

ANSWER_TIMEOUT_S: Final = 10.0


@dataclass(slots=True)
class _Registered:
    resolver: Resolver | None = None
    loop: asyncio.AbstractEventLoop | None = None


_registered = _Registered()


def register(resolver: Resolver) -> None:
    """Let this process's synchronous code ask ``resolver``; call it on the loop that serves."""
    _registered.resolver = resolver
    _registered.loop = asyncio.get_running_loop()


def unregister(resolver: Resolver) -> None:
    """The resolver is closing; harmless when another one has taken its place."""
    if _registered.resolver is resolver:
        _registered.resolver = _registered.loop = None


def is_serving() -> bool:
    """Whether answers come from a worker's own live state."""
    return _registered.resolver is not None


def ask(question: Question[Answer]) -> Answer:
    """Answer a question about the live routing; for a thread without a running event loop.

    Raises:
        TimeoutError: the worker's event loop did not answer in time.
    """
    resolver, loop = _registered.resolver, _registered.loop
    if resolver is None or loop is None:
        # The tables are read here, in the caller's thread and transaction.
        return asyncio.run(_ask_stores(question, snapshot.load()))
    if snapshot.is_loaded() and snapshot.current().revision != queries.head_revision():
        # Another worker wrote, and the caller may know: do not wait until this one looks by itself.
        snapshot.refresh()
    return asyncio.run_coroutine_threadsafe(question(resolver), loop).result(ANSWER_TIMEOUT_S)


def health() -> HealthView:
    """The health that decisions are made with now."""
    return ask(_view)


async def _view(resolver: Resolver) -> HealthView:
    return resolver.health.view()


async def _ask_stores(question: Question[Answer], table: RoutingTable) -> Answer:
    """A resolver of the moment, over the tables as they are and the health that workers have shared."""
    guard = StoreGuard()
    state = SharedState(guard=guard)
    health = LiveHealth(lambda: table, HealthExchange(caches["health"], guard), rules=rules())
    await health.sync()
    try:
        return await question(
            Resolver(lambda: table, state, health, expose_exact=settings.GATEWAY_EXPOSE_EXACT_MODELS)
        )
    finally:
        await state.close()


def rules() -> Rules:
    """The circuit breaker's numbers, from the settings."""
    return Rules(failures=settings.GATEWAY_CIRCUIT_FAILURES, open_s=settings.GATEWAY_CIRCUIT_OPEN_S)
