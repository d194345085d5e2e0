"""What failures do to circuits, trials, limits and the retry budget, through whole requests."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from django.core.cache import caches

from proxying.adapters.openai import OpenAIAdapter
from proxying.errors import InvalidRequestError
from routing.types import Circuit, FailoverPolicy, PoolPolicy, Timeouts, WhenAllBlocked
from tests.proxying.faults import error_body
from tests.proxying.gateway import Gateway, serving, table, until
from tests.upstream import Script, stream_pieces

pytestmark = pytest.mark.anyio

CUT = Script(pieces=stream_pieces(["one ", "two"]), cut_after_pieces=1)
DOWN = Script(status=503, body=error_body())


async def test_streams_that_are_always_cut_open_the_circuit(upstream) -> None:
    """Each first content is a success, yet the provider completes nothing."""
    first, second = await upstream(), await upstream()
    first.default = CUT
    async with serving(table({"a": first, "b": second})) as gateway:
        got = [await gateway.chat(stream=True) for _ in range(6)]
    assert [one.gateway["provider"] for one in got] == ["a"] * 5 + ["b"]


async def test_a_completed_answer_between_cuts_keeps_the_circuit_closed(upstream) -> None:
    first, second = await upstream(), await upstream()
    first.script(*[CUT] * 4, Script(), *[CUT] * 4, Script())
    async with serving(table({"a": first, "b": second})) as gateway:
        got = [await gateway.chat(stream=position != 4) for position in range(10)]
    assert {one.gateway["provider"] for one in got} == {"a"}


async def opened(gateway: Gateway, *, ago_s: float = 0.0) -> None:
    """Open the circuit of a/m, and let it have become half-open ``ago_s`` ago."""
    health = gateway.runtime.health
    for _ in range(5):
        health.failure("a", "m", "503")
    if ago_s:
        circuit = health.view().circuits["a", "m"]
        moved = replace(circuit, open_until=circuit.since_at - ago_s)
        health._circuits["a", "m"] = moved
        health._changed = True
        assert health.view().circuits["a", "m"] == moved


async def test_half_open_circuit_gets_exactly_one_trial(upstream) -> None:
    first, second = await upstream(delay_s=0.1), await upstream()
    async with serving(table({"a": first, "b": second})) as gateway:
        await opened(gateway, ago_s=1.0)
        got = await asyncio.gather(*(gateway.chat() for _ in range(20)))
        after = await gateway.chat()
    assert sorted(one.gateway["provider"] for one in got) == ["a"] + ["b"] * 19
    assert {one.status for one in got} == {200}
    assert (after.gateway["provider"], len(first.requests)) == ("a", 2)


async def test_trial_that_another_worker_has_is_left_to_it(upstream) -> None:
    first, second = await upstream(), await upstream()
    async with serving(table({"a": first, "b": second})) as gateway:
        await opened(gateway, ago_s=1.0)
        await caches["health"].aadd("trial:a/m", "another worker", 60)
        got = await gateway.chat()
        row = (await gateway.records())[0]
    assert (got.status, got.gateway["provider"], got.gateway["attempts"]) == (200, "b", "1")
    assert (len(first.requests), row.attempt_count, row.failover_used) == (0, 1, False)


@pytest.mark.parametrize("stream", [False, True])
async def test_client_that_leaves_gives_the_trial_back(upstream, stream) -> None:
    first, second = await upstream(hang=True), await upstream()
    body = json.dumps({"model": "pool", "messages": [], "stream": stream}).encode()
    leave = asyncio.Event()
    async with serving(table({"a": first, "b": second})) as gateway:
        await opened(gateway, ago_s=1.0)
        call = asyncio.create_task(gateway.call("POST", "/v1/chat/completions", body, leave=leave))
        await until(lambda: first.requests)
        leave.set()
        await call
        first.default = Script()
        await until(lambda: caches["health"].get("trial:a/m") is None)
        got = await gateway.chat()
    assert (got.gateway["provider"], len(first.requests)) == ("a", 2)


async def test_failed_trial_keeps_the_circuit_open_longer(upstream) -> None:
    first, second = await upstream(), await upstream()
    first.default = DOWN
    async with serving(table({"a": first, "b": second})) as gateway:
        await opened(gateway, ago_s=1.0)
        await gateway.chat()
        circuit: Circuit = gateway.runtime.health.view().circuits["a", "m"]
        got = await gateway.chat()
    assert (round(circuit.open_until - circuit.since_at), circuit.openings) == (60, 2)
    assert (got.gateway["attempts"], len(first.requests)) == ("1", 1)


async def test_later_failures_never_shorten_a_cooldown(upstream) -> None:
    limited = [
        Script(status=429, body=error_body(), headers={"retry-after": seconds}) for seconds in ("60", "1")
    ]
    first, second = await upstream(), await upstream()
    async with serving(table({"a": first, "b": second})) as gateway:
        # Both are under way when the first says 60 s and the second 1 s.
        first.script(limited[0], replace(limited[1], delay_s=0.1))
        await asyncio.gather(gateway.chat(), gateway.chat())
        circuit = gateway.runtime.health.view().circuits["a", "m"]
        got = await gateway.chat()
    assert circuit.cooldown_until - circuit.stated_until == 0.0
    assert (len(first.requests), got.gateway["provider"]) == (2, "b")
    assert circuit.cooldown_until - got_at(gateway) > 50


def got_at(gateway: Gateway) -> float:
    return gateway.rows[-1].started_at.timestamp()


class Mute(OpenAIAdapter):
    """A wire format that cannot express what goes to the provider a."""

    def build_request(self, body, target, headers):
        if target.provider.name == "a":
            raise InvalidRequestError("This format has no audio.", param="modalities")
        return super().build_request(body, target, headers)


@pytest.mark.parametrize("enabled", [True, False])
async def test_candidate_whose_format_cannot_say_it_is_passed_over(upstream, monkeypatch, enabled) -> None:
    """Nothing is sent there and nothing is counted against it; without failover the client is told."""
    first, second = await upstream(), await upstream()
    monkeypatch.setattr("proxying.forward.adapter_for", lambda _provider, _endpoint: Mute())
    policy = PoolPolicy(failover=FailoverPolicy(enabled=enabled))
    async with serving(table({"a": first, "b": second}, policy=policy)) as gateway:
        got = await gateway.chat()
        assert gateway.runtime.health.in_flight() == {}
    if enabled:
        assert (got.status, got.gateway["provider"], got.gateway["attempts"]) == (200, "b", "1")
    else:
        assert (got.status, got.error["param"], len(second.requests)) == (400, "modalities", 0)
    assert len(first.requests) == 0


async def test_full_provider_passes_on_and_alone_says_when_to_come_back(upstream) -> None:
    first, second = await upstream(delay_s=0.3), await upstream()
    limits = {"a": {"max_in_flight": 2}, "b": {"max_in_flight": 1}}
    policy = PoolPolicy(when_all_blocked=WhenAllBlocked.FAIL)
    second.default = Script(delay_s=0.3)
    for chosen in (policy, PoolPolicy()):
        async with serving(table({"a": first, "b": second}, providers=limits, policy=chosen)) as gateway:
            got = await asyncio.gather(*(gateway.chat() for _ in range(5)))
            assert gateway.runtime.health.in_flight() == {}
        served = sorted(one.gateway["provider"] for one in got if one.status == 200)
        refused = [one for one in got if one.status != 200]
        assert served == ["a", "a", "b"]
        assert [(one.status, one.error["code"]) for one in refused] == [(429, "provider_busy")] * 2
        assert [one.headers["retry-after"] for one in refused] == ["1", "1"]
        assert ["x-should-retry" in one.headers for one in refused] == [False, False]


async def test_error_that_is_nested_too_deeply_gives_its_place_back(upstream) -> None:
    """Reading, scrubbing and writing it take one step per level; it may be asked for by anybody."""
    deep = b"[" * 600 + b"1" + b"]" * 600
    first, second = await upstream(), await upstream()
    first.script(
        Script(status=503, body=b'{"error":{"message":"x","type":"api_error","details":' + deep + b"}}"),
        Script(status=500, body=b'{"detail":' + deep + b"}"),
    )
    limits = {"a": {"max_in_flight": 1}}
    async with serving(table({"a": first, "b": second}, providers=limits)) as gateway:
        got = [await gateway.chat() for _ in range(3)]
        assert gateway.runtime.health.in_flight() == {}
    assert [(one.status, one.gateway["provider"]) for one in got] == [(200, "b"), (200, "b"), (200, "a")]


@pytest.mark.parametrize("good_before", [0, 200])
async def test_full_outage_is_not_multiplied(upstream, good_before) -> None:
    """Upstream calls stay under 1.2 times the clients' and three more; ten after good times."""
    one, two, three = [await upstream() for _ in range(3)]
    patient = {name: {"timeouts": Timeouts()} for name in "abc"}
    async with serving(table({"a": one, "b": two, "c": three}, providers=patient)) as gateway:
        for _ in range(good_before):
            await gateway.chat()
        for each in (one, two, three):
            each.default = DOWN
            each.requests.clear()
        got = [await gateway.chat() for _ in range(200)]
    calls = sum(len(each.requests) for each in (one, two, three))
    assert {answer.status for answer in got} == {503}
    assert calls <= 1.2 * 200 + 3


async def test_random_failures_refuse_no_retry(upstream) -> None:
    """At 30 % failures of every provider each request gets the retries that it needs."""
    import random

    chance = random.Random(7)
    each = [await upstream() for _ in range(3)]
    for one in each:
        one.script(*(DOWN if chance.random() < 0.3 else Script() for _ in range(2000)))
    patient = {name: {"timeouts": Timeouts()} for name in "abc"}
    async with serving(table({"a": each[0], "b": each[1], "c": each[2]}, providers=patient)) as gateway:
        got = [await gateway.chat() for _ in range(300)]
        rows = await gateway.records(300)
    stopped = [row for row in rows if row.status != 200 and row.attempt_count < 3]
    assert stopped == []
    assert sum(answer.status == 200 for answer in got) >= 280


@pytest.mark.parametrize("part", ["database", "cache"])
async def test_ready_says_degraded_while_a_store_is_away(monkeypatch, part) -> None:
    from routing import snapshot

    async with serving(table({})) as gateway:
        if part == "cache":
            gateway.runtime.state._guard.failing_since = 1.0
        else:
            status = replace(snapshot.status(), stale_since=1.0)
            monkeypatch.setattr(snapshot, "status", lambda: status)
        got = await gateway.call("GET", "/health/ready")
    assert (got.status, got.json["status"], got.json["components"][part]["status"]) == (
        200,
        "degraded",
        "failing",
    )
