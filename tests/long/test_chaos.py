"""The short form of ``make chaos``: both stores stopped and started under load, once."""

from __future__ import annotations

import pytest

from tests.long import chaos

pytestmark = pytest.mark.anyio


@pytest.mark.postgres
@pytest.mark.redis
async def test_stores_that_restart_under_load_lose_nothing(tmp_path) -> None:
    """No 5xx, no lost request, no lost record; ready says degraded, switches are refused clearly."""
    found = await chaos.run(tmp_path / "chaos", 27, kill=False)
    assert found.broken == []
    assert (found.outages["redis"], found.outages["postgres"]) == (1, 1)
    assert set(found.ready) == {"degraded"}
    assert [status for status, _ in found.refused] == [503]
    assert found.verdicts["right"] > 300
