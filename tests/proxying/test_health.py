"""Liveness and readiness."""

from __future__ import annotations

import pytest

from proxying import runtime
from tests.proxying.gateway import serving, table

pytestmark = pytest.mark.anyio


async def test_worker_is_ready_until_it_drains() -> None:
    async with serving(table({})) as gateway:
        alive = await gateway.call("GET", "/health", headers={"authorization": ""})
        before = await gateway.call("GET", "/health/ready", headers={"authorization": ""})
        runtime.drain()
        after = await gateway.call("GET", "/health/ready")
    assert (alive.status, alive.json) == (200, {"status": "ok"})
    assert (before.status, before.json) == (
        200,
        {
            "status": "ready",
            "revision": 7,
            "components": {
                "table": {"status": "ok", "skipped": 0},
                "database": {"status": "ok"},
                "cache": {"status": "ok", "shared": False},
            },
        },
    )
    assert (after.status, after.json["status"]) == (503, "draining")


async def test_runtime_is_current_only_while_open() -> None:
    async with serving(table({})) as gateway:
        assert runtime.current() is gateway.runtime
    with pytest.raises(RuntimeError, match="not open"):
        runtime.current()
