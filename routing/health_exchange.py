"""News of circuits between workers, over the cache ``health``: a numbered log, and the leases of trials.

A worker writes a note under the next number; the others read the number, and the notes when it has moved.
Notes are merged (``routing.health.merge``), so that one that is read twice, late or in another order does no
harm. Raises ``StoreUnavailableError`` when the cache fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final, NamedTuple

from routing.identifiers import new_id
from routing.store_guard import StoreGuard
from routing.types import Circuit

NOTE_TTL_S: Final = 600  # longer than a circuit or a cooldown can last
_LOOK_BACK: Final = 2_000  # notes that a new worker reads
_LATE_S: Final = 5.0  # how long a number without its note is waited for
_NUMBER: Final = "number"


class News(NamedTuple):
    """What a worker tells of one circuit; ``model`` is None for the credential of a provider."""

    provider: str
    model: str | None
    circuit: Circuit | None
    succeeded_at: float | None = None


class HealthExchange:
    """This process's end of the exchange. ``lost`` is set when the cache has lost its log (a restart)."""

    def __init__(self, cache: Any, guard: StoreGuard, clock: Callable[[], float] = time.time) -> None:
        self._cache = cache
        self._guard = guard
        self._clock = clock
        self._id = new_id()
        self._seen: int | None = None
        self._late: dict[int, float] = {}
        self.lost = False

    async def publish(self, news: Sequence[News]) -> None:
        """Write one note for the others."""
        body = {"from": self._id, "news": [_encode(item) for item in news]}
        await self._guard.call(lambda: self._write(body))

    async def _write(self, body: Mapping[str, Any]) -> None:
        try:
            number = await self._cache.aincr(_NUMBER)
        except ValueError:
            # The clock as the first number: it never falls behind the one that a lost log had reached.
            await self._cache.aadd(_NUMBER, int(self._clock() * 1000), None)
            number = await self._cache.aincr(_NUMBER)
        await self._cache.aset(f"note:{number}", body, NOTE_TTL_S)

    async def pull(self) -> list[News]:
        """What the others have written since the last pull: one read, a second only when there is news."""
        number = await self._guard.call(lambda: self._cache.aget(_NUMBER))
        now = self._clock()
        if number is None:
            self.lost = self.lost or self._seen is not None
            self._seen = 0 if self._seen is not None else None
            return []
        wanted = self._unseen(int(number), now)
        if not wanted:
            return []
        found = await self._guard.call(lambda: self._cache.aget_many([f"note:{one}" for one in wanted]))
        self._seen = int(number)
        news: list[News] = []
        for one in wanted:
            body = found.get(f"note:{one}")
            if body is not None:
                self._late.pop(one, None)
                news += self._decode(body)
        return news

    def _unseen(self, number: int, now: float) -> list[int]:
        if self._seen is None:
            return list(range(number - _LOOK_BACK + 1, number + 1))
        if number < self._seen:
            self.lost, self._seen = True, number - 1
        first = max(self._seen + 1, number - _LOOK_BACK + 1)
        fresh = range(first, number + 1)
        self._late = {one: until for one, until in self._late.items() if until > now}
        wanted = sorted({*self._late, *fresh})
        if self._seen:
            self._late.update(dict.fromkeys(fresh, now + _LATE_S))
        return wanted

    def _decode(self, body: Any) -> list[News]:
        try:
            if body["from"] == self._id:
                return []
            return [_decode(item) for item in body["news"]]
        except (TypeError, KeyError, ValueError):
            return []  # another version's note

    async def claim(self, name: str, lease_s: float) -> bool:
        """Take the lease of a trial; False when another worker holds it."""
        taken: bool = await self._guard.call(
            lambda: self._cache.aadd(f"trial:{name}", self._id, max(1, int(lease_s)))
        )
        return taken

    async def give_back(self, name: str) -> None:
        """Let the next trial begin; a lease that another worker has taken since is not touched."""
        await self._guard.call(lambda: self._drop(f"trial:{name}"))

    async def _drop(self, lease: str) -> None:
        if await self._cache.aget(lease) == self._id:
            await self._cache.adelete(lease)


_CIRCUIT_FIELDS: Final = {field.name for field in fields(Circuit)}


def _encode(item: News) -> dict[str, Any]:
    circuit = None if item.circuit is None else asdict(item.circuit)
    return {"provider": item.provider, "model": item.model, "circuit": circuit, "ok_at": item.succeeded_at}


def _decode(item: Mapping[str, Any]) -> News:
    circuit = item["circuit"]
    if circuit is not None:
        circuit = Circuit(**{name: value for name, value in circuit.items() if name in _CIRCUIT_FIELDS})
    return News(item["provider"], item["model"], circuit, item.get("ok_at"))
