"""Django's Redis and in-memory caches with native async methods, and one atomic step for routing.

The sync methods are Django's own, on the same keys and the same values. The async ones make no thread hop:
Redis is spoken to over one pipelined connection per event loop, memory is looked up directly.
``aacquire`` reads a pin and, when none is eligible, takes a ticket: one trip, atomic across all workers.
"""

from __future__ import annotations

import heapq
import json
import sys
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache

from routing.redis_pipe import Argument, Pipe, Script, pipe_for

ROUTING_ALIASES: Final = ("pins", "tickets", "health")


class Acquired(NamedTuple):
    """What the store says before the first upstream call.

    ``pin`` is the stored candidate id even when it is not eligible (the outcome then is a repin);
    ``ticket`` is None when the pin decides or nothing is counted. Tickets count from 0.
    """

    pin: str | None = None
    ticket: int | None = None


@runtime_checkable
class RoutingCache(Protocol):
    """What the aliases ``pins`` and ``tickets`` must offer besides Django's methods."""

    shared: bool

    async def aacquire(
        self, pin_key: str | None, candidate_ids: Sequence[str], counter_key: str | None, *, tickets: Any
    ) -> Acquired:
        """An eligible pin, or else the next ticket of ``counter_key`` in the cache ``tickets``."""

    async def apeek(self, pin_key: str | None, counter_key: str | None, *, tickets: Any) -> Acquired:
        """The stored pin and the next ticket; nothing is written."""


def is_shared(alias: str = "tickets") -> bool:
    """Whether all workers see the same entries in this cache: what more than one worker needs."""
    return bool(getattr(caches[alias], "shared", False))


def unsupported_aliases() -> list[str]:
    """The routing aliases whose backend is neither of the two in this module."""
    return [alias for alias in ROUTING_ALIASES if not isinstance(caches[alias], RoutingCache)]


class JSONSerializer:
    """Values as JSON: readable with redis-cli, and whoever can write to the cache cannot run code here.

    Whole numbers are stored as such, so that INCR works on them, as with Django's own serializer.
    """

    def dumps(self, value: Any) -> Argument:
        """Encode; an int stays one."""
        return value if type(value) is int else json.dumps(value, separators=(",", ":"))

    def loads(self, data: bytes | str | int) -> Any:
        """Decode."""
        return data if isinstance(data, int) else json.loads(data)


# KEYS: the pin's and the counter's key; ARGV: which of both there are, then the eligible pins' values.
_ACQUIRE: Final = Script(
    """
local pin = redis.call('GET', KEYS[1])
if pin then
  for i = 1, #ARGV do
    if pin == ARGV[i] then return {pin, -1} end
  end
end
return {pin, redis.call('INCR', KEYS[2]) - 1}
"""
)
_INCR_EXISTING: Final = Script(
    """
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('INCRBY', KEYS[1], ARGV[1]) end
return false
"""
)


class SluiceRedisCache(RedisCache):
    """Django's Redis cache, async methods native. LOCATION is one server: the script must see both keys."""

    shared = True
    _servers: list[str]
    _cache: Any

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        # A list keeps Django from splitting the address at a comma of its password.
        super().__init__([server] if isinstance(server, str) else list(server), params)
        self._url: str = self._servers[0]

    def validate_key(self, key: str) -> None:
        """Any text is a key: memcached's limits, which Django warns of, are not Redis's."""

    @property
    def _pipe(self) -> Pipe:
        return pipe_for(self._url)

    # The sync side's own serializer, so that both sides agree on what is stored.
    def _dumps(self, value: Any) -> Any:
        return self._cache._serializer.dumps(value)

    def _loads(self, data: Any) -> Any:
        return self._cache._serializer.loads(data)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        data = await self._pipe.call("GET", self.make_and_validate_key(key, version=version))
        return default if data is None else self._loads(data)

    async def aset(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        await self._pipe.call(*self._set_command(key, value, timeout, version))

    def _set_command(self, key: Any, value: Any, timeout: Any, version: int | None) -> tuple[Argument, ...]:
        full_key = self.make_and_validate_key(key, version=version)
        seconds = self.get_backend_timeout(timeout)
        if seconds == 0:
            return ("DEL", full_key)
        if seconds is None:
            return ("SET", full_key, self._dumps(value))
        return ("SET", full_key, self._dumps(value), "EX", seconds)

    async def aadd(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        command = self._set_command(key, value, timeout, version)
        if command[0] == "DEL":  # as Django: an entry that would be gone at once is only tested for
            return not await self.ahas_key(key, version=version)
        return bool(await self._pipe.call(*command, "NX"))

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        full_key = self.make_and_validate_key(key, version=version)
        seconds = self.get_backend_timeout(timeout)
        if seconds is None:
            return bool(await self._pipe.call("PERSIST", full_key))
        return bool(await self._pipe.call("EXPIRE", full_key, seconds))

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        return bool(await self._pipe.call("DEL", self.make_and_validate_key(key, version=version)))

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        return bool(await self._pipe.call("EXISTS", self.make_and_validate_key(key, version=version)))

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add, atomically and without touching the timeout (the base class reads and writes)."""
        full_key = self.make_and_validate_key(key, version=version)
        value = await self._pipe.run(_INCR_EXISTING, [full_key], [delta])
        if value is None:
            raise ValueError(f"Key {key!r} not found.")
        return int(value)

    async def adecr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return await self.aincr(key, -delta, version=version)

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        wanted = list(keys)
        if not wanted:
            return {}
        found = await self._pipe.call(
            "MGET", *(self.make_and_validate_key(key, version=version) for key in wanted)
        )
        return {key: self._loads(data) for key, data in zip(wanted, found, strict=True) if data is not None}

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        await self._pipe.call_all(
            *(self._set_command(key, value, timeout, version) for key, value in data.items())
        )
        return []

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        full_keys = [self.make_and_validate_key(key, version=version) for key in keys]
        if full_keys:
            await self._pipe.call("DEL", *full_keys)

    def clear(self) -> None:
        """Delete this cache's entries (Django's FLUSHDB would take the other caches' with them)."""
        client = self._cache.get_client(write=True)
        found = list(client.scan_iter(match=f"{self.key_prefix}:*", count=1000))
        for start in range(0, len(found), 1000):
            client.delete(*found[start : start + 1000])

    async def aclose(self, **_: Any) -> None:
        """Nothing: the connection belongs to the loop (``redis_pipe.close_pipes``)."""

    async def aopen(self) -> None:
        """Connect, so that the first request does not have to."""
        await self._pipe.open()

    async def aacquire(
        self,
        pin_key: str | None,
        candidate_ids: Sequence[str],
        counter_key: str | None,
        *,
        tickets: SluiceRedisCache,
    ) -> Acquired:
        """An eligible pin, or else the next ticket; one trip, atomic."""
        if pin_key is None:
            return Acquired(None, await tickets.atake(counter_key))
        if counter_key is None:
            return Acquired(await self.aget(pin_key), None)
        full_pin, full_counter = self.make_key(pin_key), tickets.make_key(counter_key)
        pin, ticket = await self._pipe.run(
            _ACQUIRE, [full_pin, full_counter], [self._dumps(one) for one in candidate_ids]
        )
        return Acquired(None if pin is None else self._loads(pin), None if ticket < 0 else int(ticket))

    async def apeek(
        self, pin_key: str | None, counter_key: str | None, *, tickets: SluiceRedisCache
    ) -> Acquired:
        """The stored pin and the next ticket; nothing is written."""
        keys = []
        if pin_key is not None:
            keys.append(self.make_key(pin_key))
        if counter_key is not None:
            keys.append(tickets.make_key(counter_key))
        found = list(await self._pipe.call("MGET", *keys)) if keys else []
        pin = found.pop(0) if pin_key is not None else None
        return Acquired(
            None if pin is None else self._loads(pin),
            None if counter_key is None else int(found[0] or 0),
        )

    async def atake(self, counter_key: str | None) -> int | None:
        """The next ticket of a counter, which needs no making first."""
        if counter_key is None:
            return None
        return int(await self._pipe.call("INCR", self.make_key(counter_key))) - 1


class SluiceLocMemCache(LocMemCache):
    """Django's in-memory cache, async methods without thread hops, bounded one entry at a time.

    The stock class throws a third away when full and keeps what has expired until somebody asks for it.
    Here every write first drops what has expired, then, when full, the entry that was not used for longest.
    With ``MAX_ENTRIES`` 0 nothing is ever culled.
    """

    shared = False
    _cache: OrderedDict[str, bytes]
    _expire_info: dict[str, float | None]

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__(name, params)
        options = params.get("OPTIONS", {})
        self._limit: int = int(options.get("MAX_ENTRIES", 0)) or sys.maxsize
        self._max_entries = sys.maxsize  # the stock culling never runs
        self._expiries: list[tuple[float, str]] = _EXPIRIES.setdefault(name, [])

    def validate_key(self, key: str) -> None:
        """Any text is a key: memcached's limits, which Django warns of, are not a dictionary's."""

    def _set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT) -> None:
        self.drop_expired()
        if key not in self._cache and len(self._cache) >= self._limit:
            oldest, _ = self._cache.popitem()
            self._expire_info.pop(oldest, None)
        super()._set(key, value, timeout)  # type: ignore[misc] # the stubs leave the private half out
        expires_at = self._expire_info[key]
        if expires_at is not None:
            heapq.heappush(self._expiries, (expires_at, key))
            if len(self._expiries) > 2 * len(self._cache) + 64:  # leftovers of entries written again
                self._expiries[:] = [(at, key) for key, at in self._expire_info.items() if at is not None]
                heapq.heapify(self._expiries)

    def drop_expired(self) -> None:
        """Forget what has expired, read or not. The caller holds the lock or is about to write."""
        now = time.time()
        while self._expiries and self._expiries[0][0] <= now:
            _, key = heapq.heappop(self._expiries)
            expires_at = self._expire_info.get(key)
            if expires_at is not None and expires_at <= now:
                del self._cache[key], self._expire_info[key]

    def held(self) -> int:
        """Entries now, with those that expired since the last write. From any thread."""
        return len(self._cache)

    def clear(self) -> None:
        super().clear()
        self._expiries.clear()

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self.get(key, default, version)

    async def aset(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        self.set(key, value, timeout, version)

    async def aadd(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        return self.add(key, value, timeout, version)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self.touch(key, timeout, version)

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        return self.delete(key, version)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        return self.has_key(key, version)

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return self.incr(key, delta, version)

    async def adecr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return self.incr(key, -delta, version)

    async def aclear(self) -> None:
        self.clear()

    async def aclose(self, **_: Any) -> None:
        """Nothing to close."""

    async def aopen(self) -> None:
        """Nothing to open."""

    async def aacquire(
        self,
        pin_key: str | None,
        candidate_ids: Sequence[str],
        counter_key: str | None,
        *,
        tickets: SluiceLocMemCache,
    ) -> Acquired:
        """An eligible pin, or else the next ticket. One event loop and two short locks make it atomic."""
        pin = None if pin_key is None else self.get(pin_key)
        if counter_key is None or (pin is not None and pin in candidate_ids):
            return Acquired(pin, None)
        return Acquired(pin, tickets.take(counter_key))

    async def apeek(
        self, pin_key: str | None, counter_key: str | None, *, tickets: SluiceLocMemCache
    ) -> Acquired:
        """The stored pin and the next ticket; nothing is written."""
        return Acquired(
            None if pin_key is None else self.get(pin_key),
            None if counter_key is None else tickets.get(counter_key, 0),
        )

    def take(self, counter_key: str) -> int:
        """The next ticket of a counter, which needs no making first."""
        while True:
            if self.add(counter_key, 1, None):
                return 0
            try:
                return int(self.incr(counter_key)) - 1
            except ValueError:
                continue  # cleared between the two


_EXPIRIES: dict[str, list[tuple[float, str]]] = {}
