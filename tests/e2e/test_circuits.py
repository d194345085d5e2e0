"""Circuits over two workers that share a Redis: what one learns the other heeds."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Serve
from tests.e2e.server import until
from tests.upstream import Script

ERROR = Script(status=503, body=b'{"error":{"message":"Down.","type":"server_error"}}')
OPEN_S = 3.0


def chat(client: httpx.Client) -> str:
    """The provider that served one chat."""
    got = client.post("/v1/chat/completions", json={"model": "pool", "messages": []})
    assert got.status_code == 200
    return got.headers["x-gateway-provider"]


@pytest.mark.redis
def test_circuit_of_one_worker_is_heeded_by_the_other(server: Serve, two_pools: Any, redis_url: str) -> None:
    """T28: within a second; then one trial goes out of both workers, and its verdict counts for both."""
    text, first, _ = two_pools()
    running = server(config=text, workers=2, cache_url=redis_url, GATEWAY_CIRCUIT_OPEN_S=str(OPEN_S))
    one, other = running.worker_clients()
    first.default = ERROR
    for _ in range(5):
        assert chat(one) == "b"
    opened_at = time.monotonic()

    def spared() -> bool:
        before = len(first.requests)
        assert chat(other) == "b"
        return len(first.requests) == before

    until(spared, 1.0)
    assert time.monotonic() - opened_at < 1.0
    seen = len(first.requests)
    first.default = Script(delay_s=0.5)
    while time.monotonic() < opened_at + OPEN_S - 0.5:
        assert (chat(one), chat(other)) == ("b", "b")
        time.sleep(0.1)
    assert len(first.requests) == seen

    time.sleep(max(0.0, opened_at + OPEN_S + 0.1 - time.monotonic()))
    with ThreadPoolExecutor(2) as pool:
        until_s = time.monotonic() + 0.4

        def hammer(client: httpx.Client) -> list[str]:
            served = []
            while time.monotonic() < until_s:
                served.append(chat(client))
            return served

        served = [name for names in pool.map(hammer, (one, other)) for name in names]
    assert (served.count("a"), len(first.requests) - seen) == (1, 1)
    first.default = Script()
    until(lambda: {chat(one), chat(other)} == {"a"}, 1.0)
    one.close()
    other.close()
