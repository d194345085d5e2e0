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
