"""Cache objects for the tests: in private memory, or on the Redis of the fixture ``redis_url``."""

from __future__ import annotations

import uuid

from routing.cachebackends import SluiceLocMemCache, SluiceRedisCache


def memory(limit: int = 0, timeout: int | None = None) -> SluiceLocMemCache:
    return SluiceLocMemCache(uuid.uuid4().hex, {"TIMEOUT": timeout, "OPTIONS": {"MAX_ENTRIES": limit}})


def on_redis(alias: str, url: str, timeout: int | None = None) -> SluiceRedisCache:
    options = {
        "serializer": "routing.cachebackends.JSONSerializer",
        "socket_timeout": 1,
        "socket_connect_timeout": 1,
    }
    return SluiceRedisCache(url, {"KEY_PREFIX": f"sluice-{alias}", "TIMEOUT": timeout, "OPTIONS": options})


class FailingStore:
    """A cache whose every operation fails while ``broken``; else the one it stands in front of."""

    shared = True

    def __init__(self, behind: SluiceLocMemCache) -> None:
        self.behind = behind
        self.broken = False
        self.calls = 0

    def __getattr__(self, name: str) -> object:
        async def call(*args: object, tickets: object = None, **kwargs: object) -> object:
            self.calls += 1
            if self.broken:
                raise ConnectionRefusedError("refused")
            if tickets is not None:
                kwargs["tickets"] = tickets.behind if isinstance(tickets, FailingStore) else tickets
            return await getattr(self.behind, name)(*args, **kwargs)

        return call
