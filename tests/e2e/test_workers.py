"""Several workers on one Redis: exact shares, one session's pin, and changes in force on all of them."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Serve
from tests.e2e.server import Server
from tests.e2e.upstreams import Providers, config
from tests.upstream import Upstream

WORKERS = 4
BODY = {"messages": [{"role": "user", "content": "hi"}]}


def chat(client: httpx.Client, model: str, **headers: str) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": model, **BODY}, headers=headers)


@contextmanager
def of_each_worker(server: Server) -> Iterator[list[httpx.Client]]:
    """One client per worker, each on a connection that its worker holds."""
    with ExitStack() as stack:
        clients = server.worker_clients()
        for client in clients:
            stack.callback(client.close)
        assert len(clients) == server.workers
        yield clients


def test_shares_are_exact_with_one_worker(server: Serve, upstreams: Providers) -> None:
    """T4."""
    made = {
        f"pool-{a}-{b}": [
            (f"a-{a}-{b}", upstreams.start(), {"weight": a}),
            (f"b-{a}-{b}", upstreams.start(), {"weight": b}),
        ]
        for a, b in ((10, 6), (1, 1), (7, 1))
    }
    with server(config=config(made)).client() as http:
        for pool, ((first, one, a), (second, other, b)) in made.items():
            served = [chat(http, pool).headers["x-gateway-provider"] for _ in range(160)]
            share = 160 * a["weight"] // (a["weight"] + b["weight"])
            assert Counter(served) == {first: share, second: 160 - share}
            assert (len(one.requests), len(other.requests)) == (share, 160 - share)


@pytest.fixture(scope="module")
def four(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, upstreams: Providers
) -> Iterator[tuple[Server, dict[str, Upstream]]]:
    """Four workers on Redis with a weighted and a priority pool, for all tests of this file."""
    import os

    from tests.e2e.conftest import UPSTREAM_KEY
    from tests.e2e.server import serving

    empty = request.getfixturevalue("empty")
    names = ("w1", "w2", "p1", "p2")
    ups = {name: upstreams.start() for name in names}
    text = config(
        {
            "weighted": [("w1", ups["w1"], {"weight": 10}), ("w2", ups["w2"], {"weight": 6})],
            "priority": [("p1", ups["p1"], {"priority": 1}), ("p2", ups["p2"], {"priority": 2})],
        }
    )
    import redis

    url = os.environ["TEST_CACHE_URL"].rsplit("/", 1)[0] + "/9"
    with redis.Redis.from_url(url) as store:
        store.flushdb()
        home = tmp_path_factory.mktemp("four")
        with serving(
            home, empty, config=text, workers=WORKERS, cache_url=url, UPSTREAM_KEY=UPSTREAM_KEY
        ) as running:
            yield running, ups
        store.flushdb()


@pytest.mark.redis
def test_shares_are_exact_over_four_workers(four: tuple[Server, dict[str, Upstream]]) -> None:
    """T4: 160 requests from 8 clients at once; no worker counts for itself."""
    server, ups = four
    before = len(ups["w1"].requests), len(ups["w2"].requests)
    with of_each_worker(server) as clients, ThreadPoolExecutor(WORKERS) as threads:
        calls = [(client, "weighted") for client in clients]

        def forty(call: tuple[httpx.Client, str]) -> list[str]:
            return [chat(*call).headers["x-gateway-provider"] for _ in range(40)]

        served = list(itertools.chain.from_iterable(threads.map(forty, calls)))
    assert Counter(served) == {"w1": 100, "w2": 60}
    assert len(ups["w1"].requests) - before[0] == 100
    assert len(ups["w2"].requests) - before[1] == 60
    rows = server.records("canonical_model = ?", "weighted", count=160)
    assert Counter(row["selected_provider_name"] for row in rows) == {"w1": 100, "w2": 60}


@pytest.mark.redis
def test_looking_takes_no_turn(four: tuple[Server, dict[str, Upstream]]) -> None:
    """T2: models lists and explain between requests leave the sequence as it is."""
    server, _ = four
    with of_each_worker(server) as clients:
        served = []
        for number in range(16):
            client = clients[number % WORKERS]
            assert client.get("/v1/models").status_code == 200
            served.append(chat(client, "weighted").headers["x-gateway-provider"])
    assert Counter(served) == {"w1": 10, "w2": 6}


@pytest.mark.redis
def test_pin_holds_on_every_worker(four: tuple[Server, dict[str, Upstream]]) -> None:
    server, _ = four
    with of_each_worker(server) as clients:
        for session in ("s1", "s2", "s3"):
            first = chat(clients[0], "weighted", **{"x-session-id": session})
            time.sleep(0.05)  # the pin is written after the answer
            rest = [chat(client, "weighted", **{"x-session-id": session}) for client in clients]
            assert first.headers["x-gateway-affinity"] == "miss"
            assert {one.headers["x-gateway-affinity"] for one in rest} == {"hit"}
            served = {one.headers["x-gateway-provider"] for one in [first, *rest]}
            assert len(served) == 1


SWITCH = """
import time
from routing import services
services.set_switch(
    target=services.SwitchTarget.from_key({key!r}), enabled={enabled}, reason="tests",
    actor=services.Actor("ada", "user"), source="command",
)
print(time.time())
"""


def switch(server: Server, key: str, *, enabled: bool) -> float:
    """Switch as the admin does; the moment at which it was committed."""
    return float(server.shell(SWITCH.format(key=key, enabled=enabled)).split()[-1])


@pytest.mark.redis
def test_switch_is_in_force_on_every_worker_within_a_second(
    four: tuple[Server, dict[str, Upstream]],
) -> None:
    """T23: and back again; a provider that is switched off is never called, by an exact name neither."""
    server, ups = four
    with of_each_worker(server) as clients:
        assert {chat(one, "priority").headers["x-gateway-provider"] for one in clients} == {"p1"}
        committed_at = switch(server, "provider/p1", enabled=False)
        time.sleep(max(0.0, committed_at + 1 - time.time()))
        calls = len(ups["p1"].requests)
        answers = [chat(one, "priority") for one in clients * 3]
        exact = [chat(one, "p1/m") for one in clients]
        lists = [{line["id"] for line in one.get("/v1/models").json()["data"]} for one in clients]
        assert {one.headers["x-gateway-provider"] for one in answers} == {"p2"}
        assert {(one.status_code, one.json()["error"]["code"]) for one in exact} == {
            (403, "provider_disabled")
        }
        assert len(ups["p1"].requests) == calls
        assert [{"p1/m", "p2/m", "priority"} & one for one in lists] == [{"p2/m", "priority"}] * WORKERS
        committed_at = switch(server, "provider/p1", enabled=True)
        time.sleep(max(0.0, committed_at + 1 - time.time()))
        assert {chat(one, "priority").headers["x-gateway-provider"] for one in clients} == {"p1"}


TIMED_SWITCH = """
import time
from datetime import UTC, datetime, timedelta
from routing import services
until = datetime.now(UTC) + timedelta(seconds=4)
services.set_switch(
    target=services.SwitchTarget.from_key("provider/p1"), enabled=False, reason="tests", expires_at=until,
    actor=services.Actor("ada", "user"), source="command",
)
print(time.time(), until.timestamp())
"""


@pytest.mark.redis
def test_timed_switch_is_over_on_every_worker_at_its_second(four: tuple[Server, dict[str, Upstream]]) -> None:
    """In force until its instant and not a second longer, whoever writes it back later."""
    server, _ = four
    with of_each_worker(server) as clients:
        committed_at, over_at = map(float, server.shell(TIMED_SWITCH).split()[-2:])
        time.sleep(max(0.0, committed_at + 1 - time.time()))
        served = []
        while (asked_at := time.time()) < over_at + 1.5:
            providers = {chat(one, "priority").headers["x-gateway-provider"] for one in clients}
            served.append((asked_at, time.time(), providers))
            time.sleep(0.05)
    during = [providers for _, answered_at, providers in served if answered_at < over_at]
    after = [providers for asked_at, _, providers in served if asked_at > over_at + 0.5]
    assert (during[0], during[-1]) == ({"p2"}, {"p2"})
    assert all(providers == {"p2"} for providers in during)
    assert len(after) > 1
    assert all(providers == {"p1"} for providers in after)


@pytest.mark.redis
def test_disabled_model_and_blocked_pool_are_told_apart_on_every_worker(
    four: tuple[Server, dict[str, Upstream]],
) -> None:
    """T46."""
    server, _ = four
    switch(server, "canonical_model/priority", enabled=False)
    time.sleep(1)
    with of_each_worker(server) as clients:
        answers = [chat(one, "priority") for one in clients]
        switch(server, "canonical_model/priority", enabled=True)
        time.sleep(1)
        after = [chat(one, "priority").status_code for one in clients]
    told = {(one.status_code, one.json()["error"]["code"], one.headers["x-should-retry"]) for one in answers}
    assert (told, set(after)) == ({(404, "model_disabled", "false")}, {200})


@pytest.mark.redis
def test_import_while_traffic_flows_loses_nothing(
    four: tuple[Server, dict[str, Upstream]], upstreams: Providers
) -> None:
    """T9: every answer comes from the old pool or the new one, and from the new one within a second."""
    server, ups = four
    third = upstreams.start()
    text = config(
        {
            "moving": [("w1", ups["w1"], {"priority": 1})],
        }
    )
    (server.home / "one.yaml").write_text(text)
    server.manage("import_config", str(server.home / "one.yaml"))
    (server.home / "two.yaml").write_text(
        config({"moving": [("n1", third, {"priority": 1}), ("w1", ups["w1"], {"priority": 2})]})
    )
    time.sleep(1)
    seen: list[tuple[float, int, str, int]] = []
    over = threading.Event()

    def traffic(client: httpx.Client) -> None:
        while not over.is_set():
            sent_at = time.time()
            got = chat(client, "moving")
            provider = got.headers.get("x-gateway-provider", "")
            seen.append((sent_at, got.status_code, provider, int(got.headers["x-gateway-revision"])))
            time.sleep(0.01)

    with of_each_worker(server) as clients, ThreadPoolExecutor(WORKERS) as threads:
        running = [threads.submit(traffic, client) for client in clients]
        server.manage("import_config", str(server.home / "two.yaml"))
        imported_at = time.time()
        time.sleep(1.3)
        over.set()
        for one in running:
            one.result()
    assert {status for _, status, _, _ in seen} == {200}
    assert {provider for sent_at, _, provider, _ in seen if sent_at > imported_at + 1} == {"n1"}
    pairs = {(revision, provider) for _, _, provider, revision in seen}
    assert len({revision for revision, _ in pairs}) == len(pairs) == 2


@pytest.mark.redis
def test_revoked_and_expired_keys_are_refused_within_a_second(
    four: tuple[Server, dict[str, Upstream]],
) -> None:
    server, _ = four
    revoked = server.make_key("to be revoked")
    soon = time.time() + 4
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(soon)) + f"{soon % 1:.3f}"[1:] + "Z"
    expiring = server.make_key("to expire", "--expires-at", stamp)
    with of_each_worker(server) as clients:
        time.sleep(max(0.0, min(0.6, soon - time.time() - 0.5)))
        keys = [{"authorization": f"Bearer {one['key']}"} for one in (revoked, expiring)]
        before = [chat(client, "priority", **key).status_code for client in clients for key in keys]
        assert time.time() < soon
        server.manage("revoke_api_key", str(revoked["id"]))
        time.sleep(max(1.0, soon + 1 - time.time()))
        after = [chat(client, "priority", **key) for client in clients for key in keys]
    assert set(before) == {200}
    assert {(one.status_code, one.json()["error"]["code"]) for one in after} == {(401, "invalid_api_key")}


@pytest.mark.redis
def test_metrics_add_up_over_the_workers(four: tuple[Server, dict[str, Upstream]]) -> None:
    """T52."""
    server, _ = four
    token = json.loads(server.manage("create_admin_token", "prometheus", "--read-only", "--json").stdout)
    with of_each_worker(server) as clients:

        def total() -> float:
            text = clients[0].get("/metrics", headers={"authorization": f"Bearer {token['key']}"}).text
            lines = [line for line in text.splitlines() if line.startswith("sluice_requests_total{")]
            return sum(float(line.rpartition(" ")[2]) for line in lines if 'pool="priority"' in line)

        before = total()
        for client in clients * 3:
            assert chat(client, "priority").status_code == 200
        assert total() - before == 3 * WORKERS


def test_redis_away_costs_no_request(server: Serve, two_pools: Any) -> None:
    """A cache that refuses connections: traffic goes on from the worker's own memory."""
    text, _, _ = two_pools(a=10, b=6)
    running = server(config=text, cache_url="redis://127.0.0.1:9/0")
    with running.client() as http:
        answers = [chat(http, "pool") for _ in range(16)]
        health = http.get("/health/ready").json()
    assert {one.status_code for one in answers} == {200}
    assert Counter(one.headers["x-gateway-provider"] for one in answers) == {"a": 10, "b": 6}
    assert health["components"]["cache"]["status"] == "failing"
