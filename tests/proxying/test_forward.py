"""What a request leaves behind, who may ask, and what is said when nobody can serve."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from proxying.adapters.openai_stream import OpenAIStream
from routing.types import PoolPolicy, Switch, WhenAllBlocked
from tests.proxying.gateway import caller, serving, table
from tests.upstream import Script, stream_pieces

pytestmark = pytest.mark.anyio
ERROR = b'{"error":{"message":"No.","type":"server_error","param":null,"code":null}}'


async def test_record_says_what_became_of_the_request(upstream) -> None:
    """T1, T52: record and headers come from the decision that executed."""
    first = await upstream()
    async with serving(table({"a": first}, callers=(caller(user_path="/team"),))) as gateway:
        got = await gateway.chat(headers={"x-request-id": "r-1", "x-user-path": "/team/x"})
        (row,) = await gateway.records()
    assert (row.request_id, row.requested_model, row.canonical_model) == ("r-1", "pool", "pool")
    assert (row.effective_candidate, row.config_primary, row.selected_exact_model) == ("a/m", "a/m", "m")
    assert (row.strategy, row.affinity, row.revision) == ("priority_failover", "miss", 7)
    assert (row.prompt_tokens, row.completion_tokens, row.cost_microusd) == (3, 2, None)
    assert (row.caller_id, row.user_path, row.status, row.outcome) == ("1", "/team/x", 200, "ok")
    assert (row.attempt_count, row.failover_used, row.fallback_target) == (1, False, "")
    assert float(got.headers["x-gateway-overhead-ms"]) < row.latency_ms
    assert first.requests[0].json["model"] == "m"


async def test_bad_requests_are_recorded_and_strangers_are_not() -> None:
    async with serving(table({})) as gateway:
        stranger = await gateway.chat(headers={"authorization": "Bearer nope"})
        bad = await gateway.call("POST", "/v1/chat/completions", b"{")
        (row,) = await gateway.records()
        assert gateway.runtime.metrics.unauthenticated._value.get() == 1
    assert (stranger.status, stranger.error["code"]) == (401, "invalid_api_key")
    assert (bad.status, bad.error["code"]) == (400, "invalid_json")
    assert (row.status, row.error_code, row.requested_model) == (400, "invalid_json", "")


async def test_disabled_and_unavailable_are_different_answers() -> None:
    """T46."""
    held = table({"a": "http://127.0.0.1:9/v1"})
    pool = replace(held.pools["pool"], switch=Switch(enabled=False))
    async with serving(replace(held, pools={"pool": pool})) as gateway:
        disabled = await gateway.chat()
    async with serving(held) as gateway:
        gateway.switch("a", switch=Switch(enabled=False))
        unavailable = await gateway.chat()
    assert (disabled.status, disabled.error["code"]) == (404, "model_disabled")
    assert disabled.headers["x-should-retry"] == "false"
    assert (unavailable.status, unavailable.error["code"]) == (503, "no_eligible_candidates")


async def test_stated_cooldown_becomes_retry_after(upstream) -> None:
    """T46: the soonest recovery that is known; nobody is called meanwhile."""
    first = await upstream(status=429, body=ERROR, headers={"retry-after": "60"})
    async with serving(table({"a": first})) as gateway:
        await gateway.chat()
        blocked = await gateway.chat()
    assert (blocked.status, blocked.error["code"]) == (503, "no_eligible_candidates")
    assert blocked.headers["retry-after"] in {"59", "60"}
    assert len(first.requests) == 1


async def test_internal_error_keeps_its_status(monkeypatch) -> None:
    """T47: it is no 400, and its text stays here."""

    async def broken(*_args):
        raise ValueError("secret detail")

    monkeypatch.setattr("proxying.serving.forward", broken)
    async with serving(table({})) as gateway:
        got = await gateway.chat()
    assert (got.status, got.error["type"], got.error["code"]) == (500, "api_error", "internal_error")
    assert b"secret" not in got.body


async def test_refused_credential_is_not_the_clients(upstream) -> None:
    """It never becomes a 401, and the key is in no text."""
    body = b'{"error":{"message":"Incorrect API key provided: secret-of-a","code":"invalid_api_key"}}'
    first = await upstream(status=401, body=body)
    async with serving(table({"a": first})) as gateway:
        got = await gateway.chat()
        (row,) = await gateway.records()
    assert (got.status, got.error["code"]) == (502, "upstream_auth_error")
    assert (b"secret-of-a" in got.body, "secret-of-a" in json.dumps(row.attempts)) == (False, False)


async def test_circuit_opens_after_failures_and_spares_the_candidate(upstream) -> None:
    first, second = await upstream(status=500, body=ERROR), await upstream()
    async with serving(table({"a": first, "b": second})) as gateway:
        got = [await gateway.chat() for _ in range(7)]
        text = gateway.runtime.metrics.exposition().decode()
    assert [one.gateway["attempts"] for one in got] == ["2"] * 5 + ["1"] * 2
    assert len(first.requests) == 5
    where = 'model="m",pool="pool",provider="b"'
    assert f"sluice_failovers_total{{{where}}} 5.0" in text
    assert 'sluice_health_transitions_total{model="m",provider="a",transition="circuit_open"} 1.0' in text
    assert f'sluice_tokens_total{{{where},type="prompt"}} 21.0' in text


async def test_busy_provider_is_skipped_and_alone_refused(upstream) -> None:
    first, second = await upstream(), await upstream()
    limits = {"a": {"max_in_flight": 1}}
    policy = PoolPolicy(when_all_blocked=WhenAllBlocked.FAIL)
    async with serving(table({"a": first, "b": second}, providers=limits)) as gateway:
        gateway.runtime.health.enter("a", 1)
        passed_on = await gateway.chat()
    async with serving(table({"a": first}, providers=limits, policy=policy)) as gateway:
        gateway.runtime.health.enter("a", 1)
        refused = await gateway.chat()
    assert (passed_on.status, passed_on.gateway["provider"]) == (200, "b")
    assert (refused.status, refused.error["code"]) == (429, "provider_busy")


async def test_pins_are_separate_per_caller(upstream) -> None:
    """T45."""
    first, second = await upstream(), await upstream()
    other = caller("sk-sluice-other", id="2", name="other")
    session = {"x-session-id": "s"}
    async with serving(table({"a": first, "b": second}, callers=(caller(), other))) as gateway:
        await gateway.chat(headers=session)
        got = await gateway.chat(headers={**session, "authorization": "Bearer sk-sluice-other"})
    assert got.gateway["affinity"] == "miss"


async def test_body_fields_are_session_keys(upstream) -> None:
    first = await upstream()
    async with serving(table({"a": first})) as gateway:
        seen = [await gateway.chat(user="u1"), await gateway.chat(user="u1"), await gateway.chat(user=7)]
    assert [got.gateway["affinity"] for got in seen] == ["miss", "hit", "none"]


async def test_long_session_keys_with_one_beginning_are_two_sessions(upstream) -> None:
    first, long = await upstream(), "s" * 5_000
    async with serving(table({"a": first})) as gateway:
        seen = [await gateway.chat(user=f"{long}{end}") for end in ("1", "2", "1")]
    assert [got.gateway["affinity"] for got in seen] == ["miss", "miss", "hit"]


async def test_outage_costs_few_retries(upstream) -> None:
    """The retry budget binds while everything fails."""
    first = await upstream(status=503, body=ERROR)
    second = await upstream(status=503, body=ERROR)
    async with serving(table({"a": first, "b": second})) as gateway:
        for _ in range(40):
            await gateway.chat()
    assert len(first.requests) + len(second.requests) <= 1.2 * 40 + 3


async def test_one_deadline_covers_all_attempts(upstream) -> None:
    slow = Script(hang=True)
    first, second, third = await upstream(), await upstream(), await upstream()
    first.default = second.default = third.default = slow
    held = table({"a": first, "b": second, "c": third})
    providers = {
        name: replace(one, timeouts=replace(one.timeouts, total_s=0.6))
        for name, one in held.providers.items()
    }
    async with serving(replace(held, providers=providers)) as gateway:
        got = await gateway.chat()
        (row,) = await gateway.records()
    assert (got.status, got.error["code"], got.gateway["attempts"]) == (504, "upstream_timeout", "2")
    assert row.latency_ms < 900


async def test_switched_off_meanwhile_is_skipped(upstream) -> None:
    """A candidate that has become ineligible since the decision is not called."""
    first, second, third = await upstream(), await upstream(), await upstream()
    first.default = Script(status=500, body=ERROR, delay_s=0.1)
    async with serving(table({"a": first, "b": second, "c": third})) as gateway:
        call = asyncio.create_task(gateway.chat())
        await asyncio.sleep(0.05)
        gateway.switch("b", switch=Switch(enabled=False))
        got = await call
    assert (got.gateway["provider"], got.gateway["attempts"], len(second.requests)) == ("c", "2", 0)


async def test_headers_can_be_switched_off(upstream) -> None:
    first = await upstream()
    async with serving(table({"a": first})) as gateway:
        gateway.runtime.routing_headers = False
        got = await gateway.chat()
    assert (got.gateway, "x-gateway-overhead-ms" in got.headers) == ({}, False)
    assert "x-request-id" in got.headers


@pytest.mark.parametrize("odd", ["a\x01b", "a\x00b", "a\rb", "a\nx-api-key: b", "\x7f"])
async def test_headers_that_cannot_be_sent_are_no_failure_of_the_provider(upstream, odd) -> None:
    first = await upstream()
    async with serving(table({"a": first})) as gateway:
        got = await gateway.chat(headers={"traceparent": odd, "idempotency-key": "k"})
    (received,) = first.requests
    assert (got.status, got.headers["x-gateway-attempts"]) == (200, "1")
    assert (received.headers.get("traceparent"), received.headers["idempotency-key"]) == (None, "k")


async def test_a_stream_that_only_pings_is_given_up(upstream) -> None:
    ping = b'event: ping\ndata: {"type":"ping","pad":"' + b"x" * 60_000 + b'"}\n\n'
    first, second = await upstream(pieces=[ping] * 200), await upstream()
    held = table({"a": first, "b": second}, providers={"a": {"kind": "anthropic"}})
    async with serving(held) as gateway:
        got = await gateway.chat(stream=True)
        (row,) = await gateway.records()
    assert (got.status, got.headers["x-gateway-provider"]) == (200, "b")
    assert row.attempts[0]["error"] == "upstream_protocol_error: The provider's stream has no content."


async def test_a_fault_of_our_own_in_a_stream_ends_it_with_an_error_event(upstream, monkeypatch) -> None:
    feed = OpenAIStream.feed

    def broken(self, chunk: bytes) -> bytes:
        if b"two" in chunk:
            raise KeyError("secret")
        return feed(self, chunk)

    monkeypatch.setattr(OpenAIStream, "feed", broken)
    monkeypatch.setattr("proxying.attempt.logger.exception", lambda *_: None)
    first = await upstream(pieces=stream_pieces(["one ", "two"]), piece_delay_s=0.02)
    async with serving(table({"a": first})) as gateway:
        got = await gateway.chat(stream=True)
        (row,) = await gateway.records()
    last = json.loads(got.body.strip().rsplit(b"data: ", 1)[1])
    assert (got.status, b"one " in got.body, b"secret" in got.body) == (200, True, False)
    assert last["error"]["code"] == "internal_error"
    assert (row.outcome, row.error_code, row.attempts[0]["error"]) == (
        "cut",
        "internal_error",
        "internal_error",
    )


async def test_compressed_body_is_refused_in_words(upstream) -> None:
    async with serving(table({"a": await upstream()})) as gateway:
        got = await gateway.chat(headers={"content-encoding": "gzip"})
    assert (got.status, got.error["code"], "Content-Encoding" in got.error["message"]) == (
        400,
        "invalid_request",
        True,
    )


async def test_fault_in_reading_an_error_gives_the_providers_place_back(upstream, monkeypatch) -> None:
    def odd(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("proxying.attempt.scrub_error", odd)
    first = await upstream(status=503, body=ERROR)
    async with serving(table({"a": first}, providers={"a": {"max_in_flight": 1}})) as gateway:
        assert [(await gateway.chat()).status for _ in range(3)] == [500] * 3
        assert gateway.runtime.health.in_flight() == {}


async def test_worker_without_a_configuration_calls_no_key_wrong(upstream, monkeypatch) -> None:
    """One that was started while the database was away: its clients are to ask again."""
    async with serving(table({"a": await upstream()})) as gateway:
        gateway.table = replace(gateway.table, callers={}, pools={}, providers={})
        monkeypatch.setattr(type(gateway.runtime), "is_loaded", False)
        for got in (await gateway.chat(), await gateway.call("GET", "/v1/models")):
            assert (got.status, got.error["code"], got.headers["retry-after"]) == (503, "not_ready", "1")
            assert "x-should-retry" not in got.headers
        monkeypatch.setattr(type(gateway.runtime), "is_loaded", True)
        assert (await gateway.chat()).error["code"] == "invalid_api_key"
