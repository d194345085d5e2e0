"""What an operator sends from the dashboard: through the data plane, marked, and with what he pretends."""

from __future__ import annotations

import pytest

from proxying import tries
from proxying.chat_text import whole_text
from proxying.outcome import Exchange
from proxying.tries import Try
from routing.policies import Failure
from routing.types import FailoverPolicy, PoolPolicy
from tests.proxying.gateway import caller, serving, table
from tests.upstream import stream_pieces

pytestmark = pytest.mark.anyio
ADA = caller(id="operator:1", name="ada")
BUSY = Failure("status", status=503)


def a_try(**values) -> Try:
    return Try(**{"caller": ADA, "model": "pool", "prompt": "hi", "stream": False, **values})


async def read(sent: tries.Sent) -> bytes:
    if sent.answer.stream is None:
        return sent.answer.body
    return b"".join([piece async for piece in sent.answer.stream])


async def test_what_is_sent_is_what_was_typed_and_its_record_is_marked(upstream) -> None:
    first = await upstream()
    live: list[Exchange] = []
    async with serving(table({"a": first})) as gateway:
        gateway.runtime.traffic.count = live.append  # type: ignore[method-assign]  # listens in
        sent = await tries.send(a_try(system="be brief", max_tokens=9, session="s"))
        (row,) = await gateway.records()
        counted = gateway.runtime.metrics.exposition().decode()
    assert sent.answer.status == 200
    assert first.requests[0].json == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "max_tokens": 9,
    }
    assert (row.source, row.caller_id, row.caller_name) == ("try_it", "operator:1", "ada")
    assert (row.status, row.affinity, row.prompt_tokens) == (200, "miss", 3)
    # The provider was called; but no client asked.
    assert (
        'sluice_attempts_total{model="m",pool="pool",provider="a",result="ok",status_class="2xx"} 1.0'
        in counted
    )
    assert "sluice_requests_total{" not in counted
    assert live == []


async def test_a_clients_request_is_not_marked(upstream) -> None:
    live: list[Exchange] = []
    async with serving(table({"a": await upstream()})) as gateway:
        gateway.runtime.traffic.count = live.append  # type: ignore[method-assign]  # listens in
        await gateway.chat()
        (row,) = await gateway.records()
    assert row.source == "api"
    assert [one.source for one in live] == ["api"]


async def test_who_is_pretended_down_is_not_called_and_stays_healthy(upstream) -> None:
    first, second = await upstream(), await upstream()
    async with serving(table({"a": first, "b": second})) as gateway:
        for _ in range(6):  # as many as would open a circuit
            sent = await tries.send(a_try(pretended={"a/m": BUSY}))
            assert sent.answer.status == 200
        (row, *_) = await gateway.records()
        assert gateway.runtime.health.view().circuits == {}
        assert gateway.runtime.health.in_flight() == {}
        after = await gateway.chat()
    assert [len(one.requests) for one in (first, second)] == [1, 6]
    assert after.headers["x-gateway-provider"] == "a"
    assert [(one["provider"], one["status"], one["error"]) for one in row.attempts] == [
        ("a", 503, "503 overloaded_error: Pretended: the provider was not called."),
        ("b", 200, None),
    ]
    assert (row.failover_used, row.fallback_target) == (True, "b/m")


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (BUSY, 503, None),
        (Failure("status", status=404), 404, None),
        (Failure("status", status=401), 502, "upstream_auth_error"),
        (Failure("timeout"), 504, "upstream_timeout"),
        (Failure("connect"), 502, "upstream_unreachable"),
        (Failure("protocol"), 502, "upstream_protocol_error"),
    ],
)
async def test_each_pretended_failure_ends_as_the_real_one_would(upstream, failure, status, code) -> None:
    first = await upstream()
    async with serving(table({"a": first})):
        sent = await tries.send(a_try(pretended={"a/m": failure}))
    assert (sent.answer.status, sent.exchange.error_code if code else None) == (status, code)
    assert "Pretended" in whole_text(sent.answer.body)[0].text or code == "upstream_auth_error"
    assert first.requests == []


async def test_the_pools_own_policy_decides_what_follows_a_pretended_failure(upstream) -> None:
    policy = PoolPolicy(failover=FailoverPolicy(enabled=False))
    first, second = await upstream(), await upstream()
    async with serving(table({"a": first, "b": second}, policy=policy)):
        sent = await tries.send(a_try(pretended={"a/m": BUSY}))
    assert sent.answer.status == 503
    assert second.requests == []


async def test_pretending_about_somebody_else_is_refused(upstream) -> None:
    first = await upstream()
    async with serving(table({"a": first})) as gateway:
        sent = await tries.send(a_try(pretended={"x/m": BUSY}))
        (row,) = await gateway.records()
    assert sent.answer.status == 400
    assert sent.exchange.error_message == (
        "'pool' has no candidate 'x/m' to pretend something about; it has a/m."
    )
    assert (row.source, row.status, first.requests) == ("try_it", 400, [])


async def test_an_exact_candidate_may_be_named(upstream) -> None:
    first, second = await upstream(), await upstream()
    async with serving(table({"a": first, "b": second})):
        sent = await tries.send(a_try(model="b/m"))
    assert (sent.answer.status, len(first.requests), len(second.requests)) == (200, 0, 1)


async def test_the_rights_of_a_chosen_key_hold(upstream) -> None:
    async with serving(table({"a": await upstream()})):
        sent = await tries.send(a_try(caller=caller(id="operator:1", name="ada", models=("other",))))
    assert (sent.answer.status, sent.exchange.error_code) == (403, "model_not_allowed")


async def test_a_stream_comes_piece_by_piece_and_closing_it_hangs_up(upstream) -> None:
    first = await upstream(pieces=stream_pieces(["one ", "two "] * 50), piece_delay_s=0.05)
    async with serving(table({"a": first})) as gateway:
        sent = await tries.send(a_try(stream=True))
        assert sent.answer.stream is not None
        await anext(sent.answer.stream)
        await sent.answer.stream.aclose()
        (row,) = await gateway.records()
        await first.requests[0].gone.wait()
    assert (row.outcome, row.streamed, row.source) == ("client_gone", True, "try_it")


async def test_a_stream_that_ends_is_whole(upstream) -> None:
    first = await upstream(pieces=stream_pieces(["one ", "two"]))
    async with serving(table({"a": first})):
        sent = await tries.send(a_try(stream=True))
        assert b'"two"' in await read(sent)
    assert sent.exchange.outcome == "ok"
    assert sent.exchange.latency_ms > 0
