"""Pins and tickets in Django's cache, and what a worker does by itself while the cache fails."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from django.core.cache import caches

from routing.cachebackends import Acquired
from routing.redis_pipe import close_pipes
from routing.store_guard import StoreGuard, StoreStatus, StoreUnavailableError

__all__ = ["Acquired", "SharedState"]

NOTHING: Final = Acquired()
_REMEMBERED_COUNTERS: Final = 10_000


class SharedState:
    """What routing shares between workers. No method raises when the cache fails: then tickets are this
    process's own, continuing where the shared counter was last seen, and there are no pins.
    """

    def __init__(self, *, pins: Any = None, tickets: Any = None, guard: StoreGuard | None = None) -> None:
        self._pins: Any = caches["pins"] if pins is None else pins
        self._tickets: Any = caches["tickets"] if tickets is None else tickets
        self._guard = guard or StoreGuard()
        self._next_tickets: OrderedDict[str, int] = OrderedDict()
        self._local_decisions = 0

    async def open(self) -> None:
        """Connect; a cache that is down now does not stop the start."""
        try:
            await self._guard.call(self._pins.aopen)
        except StoreUnavailableError:
            return

    async def close(self) -> None:
        """Close the running loop's connections to the cache."""
        await close_pipes()

    async def acquire(
        self, pin_key: str | None, candidate_ids: Sequence[str], counter_key: str | None
    ) -> Acquired:
        """An eligible pin, or else the next ticket of the counter: at most one round trip.

        A pin that is not among ``candidate_ids`` is returned together with the ticket.
        """
        if pin_key is None and counter_key is None:
            return NOTHING
        try:
            acquired: Acquired = await self._guard.call(
                lambda: self._pins.aacquire(pin_key, candidate_ids, counter_key, tickets=self._tickets)
            )
        except StoreUnavailableError:
            self._local_decisions += 1
            return Acquired(None, None if counter_key is None else self._local_ticket(counter_key, take=True))
        if counter_key is not None and acquired.ticket is not None:
            self._remember(counter_key, acquired.ticket + 1)
        return acquired

    async def peek(self, pin_key: str | None, counter_key: str | None) -> Acquired:
        """The stored pin and the next ticket. T2: nothing is taken and nothing written."""
        if pin_key is None and counter_key is None:
            return NOTHING
        try:
            peeked: Acquired = await self._guard.call(
                lambda: self._pins.apeek(pin_key, counter_key, tickets=self._tickets)
            )
        except StoreUnavailableError:
            return Acquired(
                None, None if counter_key is None else self._local_ticket(counter_key, take=False)
            )
        return peeked

    async def write_pin(self, pin_key: str, candidate_id: str, ttl_s: float) -> bool:
        """Pin a session for ``ttl_s`` from now on; whether it was stored. Reading never prolongs it."""
        try:
            await self._guard.call(lambda: self._pins.aset(pin_key, candidate_id, max(1, int(ttl_s))))
        except StoreUnavailableError:
            return False
        return True

    def size(self) -> int:
        """Counters that are remembered for the time without the cache, at most 10,000."""
        return len(self._next_tickets)

    def pins_held(self) -> int:
        """Pins in this process's memory, at most ``GATEWAY_PINS_MAX``; none where the cache is shared."""
        return 0 if self._pins.shared else self._pins.held()

    def status(self) -> StoreStatus:
        """Whether the cache is in use, and how often it was not."""
        guard = self._guard
        return StoreStatus(
            shared=bool(self._pins.shared),
            available=guard.available,
            operations=guard.operations,
            failures=guard.failures,
            local_decisions=self._local_decisions,
            failing_since=guard.failing_since,
            last_error=guard.last_error,
        )

    def _local_ticket(self, counter_key: str, *, take: bool) -> int:
        ticket = self._next_tickets.get(counter_key, 0)
        if take:
            self._remember(counter_key, ticket + 1)
        return ticket

    def _remember(self, counter_key: str, next_ticket: int) -> None:
        self._next_tickets[counter_key] = next_ticket
        self._next_tickets.move_to_end(counter_key)
        if len(self._next_tickets) > _REMEMBERED_COUNTERS:
            self._next_tickets.popitem(last=False)
