"""``GET /health`` (this process lives) and ``/health/ready`` (send it requests)."""

from __future__ import annotations

import time
from typing import Any

import orjson

from proxying.http import Answer, GatewayRequest
from proxying.runtime import Runtime, current
from routing import snapshot


async def health(request: GatewayRequest) -> Answer:
    """Liveness: nothing is looked at."""
    return _json(200, {"status": "ok"})


async def ready(request: GatewayRequest) -> Answer:
    """Readiness: a table is loaded and the worker is not draining.

    A database or cache that is away is shown as ``degraded`` but does not make it unready: it serves without.
    """
    runtime = current()
    components = _components(runtime)
    status = "ready"
    if runtime.draining:
        status = "draining"
    elif not runtime.is_loaded:
        status = "loading"
    elif any(part["status"] == "failing" for part in components.values()):
        status = "degraded"
    return _json(
        200 if status in {"ready", "degraded"} else 503,
        {"status": status, "revision": runtime.table().revision, "components": components},
    )


def _components(runtime: Runtime) -> dict[str, Any]:
    # What failed exactly stands in the log: this page needs no key.
    table, cache = snapshot.status(), runtime.state.status()
    return {
        "table": {
            "status": "ok" if runtime.is_loaded else "missing",
            "skipped": len(runtime.table().skipped),
        },
        "database": _component(table.stale_since),
        "cache": {**_component(cache.failing_since), "shared": cache.shared},
    }


def _component(failing_since: float | None) -> dict[str, Any]:
    if failing_since is None:
        return {"status": "ok"}
    return {"status": "failing", "for_s": round(max(time.time() - failing_since, 0.0), 1)}


def _json(status: int, value: Any) -> Answer:
    return Answer(
        status, [(b"content-type", b"application/json"), (b"cache-control", b"no-store")], orjson.dumps(value)
    )
