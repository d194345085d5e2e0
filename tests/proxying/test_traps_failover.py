"""The first implementation's faults around failover, over real sockets and without a database."""

from __future__ import annotations

import asyncio
import json

import pytest

from routing.types import FailoverPolicy, PoolPolicy
from tests.proxying.gateway import Got, serving, table, until
from tests.upstream import Script, chunk_event, stream_pieces

pytestmark = pytest.mark.anyio

ONE = FailoverPolicy(enabled=True, max_attempts=1)
OFF = FailoverPolicy(enabled=False)


def error_body(code=None, message="No.", param=None, type_="server_error"):
    return json.dumps({"error": {"message": message, "type": type_, "param": param, "code": code}}).encode()


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
IN_BAND = b'data: {"error":{"message":"Overloaded","type":"server_error","code":503}}\n\n'
FAILURES = {
    "status_500": Script(status=500, body=error_body()),
    "status_502": Script(status=502, body=b"<html>bad gateway</html>"),
    "status_503": Script(status=503, body=error_body()),
    "status_504": Script(status=504, body=b""),
    "status_529": Script(status=529, body=error_body()),
    "rate_limit": Script(status=429, body=error_body("rate_limit_exceeded")),
    "unauthorized": Script(status=401, body=error_body("invalid_api_key")),
    "payment": Script(status=402, body=error_body()),
    "forbidden": Script(status=403, body=error_body()),
    "model_not_found": Script(status=404, body=error_body("model_not_found")),
    "does_not_exist": Script(status=400, body=error_body(None, "The model `m` does not exist", "model")),
    "redirect": Script(status=302, headers={"location": "http://127.0.0.1:9/"}, body=b""),
    "closed_before_headers": Script(drop=True),
    "reset_before_headers": Script(drop=True, reset=True),
    "late": Script(hang=True),
    "empty": Script(body=b""),
    "malformed": Script(body=b'{"id": "c1", "choi'),
    "not_http": Script(raw=b"hello\r\n\r\n"),
    "cut": Script(body=b'{"id":"c1","choices":[]}', cut_after_bytes=8),
    "error_in_200": Script(body=error_body("server_error")),
}
STREAM_FAILURES = {
    "in_band_error": Script(pieces=[ROLE, IN_BAND]),
    "no_content": Script(pieces=[b"data: [DONE]\n\n"]),
    "role_only": Script(pieces=[ROLE]),
    "cut_before_content": Script(pieces=[ROLE, ROLE], cut_after_pieces=1),
    "stalled_before_content": Script(pieces=[ROLE, *stream_pieces(["x"])], piece_delay_s=1.0),
    "not_json": Script(pieces=[b"data: {oops\n\n"]),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", FAILURES)
async def test_failure_of_the_first_is_answered_by_the_second(upstream, name, stream) -> None:
    first, second = await upstream(), await upstream()
    first.default = FAILURES[name]
    async with serving(table({"a": first, "b": second})) as gateway:
        got = await gateway.chat(stream=stream)
        (row,) = await gateway.records()

    assert (got.status, got.complete) == (200, True)
    assert got.gateway == {
        "canonical-model": "pool",
        "provider": "b",
        "model": "m",
        "attempts": "2",
        "failover": "true",
        "affinity": "none",
        "revision": "7",
    }
    assert (len(first.requests), len(second.requests)) == (1, 1)
    assert (b"one " in got.body, b"two" in got.body) == (True, True)
    # T37, T52: every record names the candidate that served, and what became of the other.
    assert (row.selected_provider_name, row.fallback_target, row.failover_used) == ("b", "b/m", True)
    assert [attempt["provider"] for attempt in row.attempts] == ["a", "b"]
    assert [bool(attempt["error"]) for attempt in row.attempts] == [True, False]


@pytest.mark.parametrize("name", STREAM_FAILURES)
async def test_stream_without_content_is_answered_by_the_second(upstream, name) -> None:
    first, second = await upstream(), await upstream()
    first.default = STREAM_FAILURES[name]
    async with serving(table({"a": first, "b": second})) as gateway:
        got = await gateway.chat(stream=True)
    assert (got.status, got.gateway["provider"], got.gateway["attempts"]) == (200, "b", "2")
    assert got.body == b"".join(stream_pieces(["one ", "two"]))


async def test_refused_connection_is_answered_by_the_second(upstream) -> None:
    second = await upstream()
    gone = await upstream()
    address = gone.base_url
    await gone.stop()
    async with serving(table({"a": address, "b": second})) as gateway:
        got = await gateway.chat()
    assert (got.status, got.gateway["provider"]) == (200, "b")


@pytest.mark.parametrize(
    ("policy", "status", "code", "provider"),
    [
        (FailoverPolicy(retry_on_statuses=frozenset()), 500, None, "a"),
        (FailoverPolicy(retry_on_statuses=frozenset({418})), 418, None, "b"),
        (FailoverPolicy(retry_on_model_errors=False), 404, "model_not_found", "a"),
        (FailoverPolicy(retry_on_statuses=frozenset()), 404, "model_not_found", "b"),
        (FailoverPolicy(retry_on_model_errors=False), 503, None, "b"),
    ],
)
async def test_statuses_and_model_errors_do_not_gate_each_other(
    upstream, policy, status, code, provider
) -> None:
    """T30, T31: the list decides statuses, the flag model errors."""
    first, second = await upstream(), await upstream()
    first.default = Script(status=status, body=error_body(code))
    async with serving(table({"a": first, "b": second}, policy=PoolPolicy(failover=policy))) as gateway:
        got = await gateway.chat()
    assert got.gateway["provider"] == provider
    assert got.status == (200 if provider == "b" else status)


async def test_every_attempts_error_is_tested(upstream) -> None:
    """T32: the second failure is the client's own doing, so the third candidate is left alone."""
    first, second, third = await upstream(), await upstream(), await upstream()
    first.default = Script(status=500, body=error_body())
    second.default = Script(
        status=400, body=error_body("bad_tool", "Bad tool.", "tools", "invalid_request_error")
    )
    async with serving(table({"a": first, "b": second, "c": third})) as gateway:
        got = await gateway.chat()
    assert (got.status, got.gateway["attempts"], len(third.requests)) == (400, "2", 0)
    assert got.error == {
        "message": "Bad tool.",
        "type": "invalid_request_error",
        "param": "tools",
        "code": "bad_tool",
    }


async def test_candidate_is_never_tried_twice(upstream) -> None:
    """T7, T36: two candidates are two calls, however many attempts are allowed; nothing else is tried."""
    first, second = await upstream(), await upstream()
    first.default = second.default = Script(status=503, body=error_body())
    policy = PoolPolicy(failover=FailoverPolicy(max_attempts=9))
    async with serving(table({"a": first, "b": second}, policy=policy)) as gateway:
        got = await gateway.chat()
    assert (got.status, got.gateway["attempts"]) == (503, "2")
    assert (len(first.requests), len(second.requests)) == (1, 1)


@pytest.mark.parametrize("failover", [ONE, OFF], ids=["max_attempts_1", "off"])
async def test_one_attempt_means_one_upstream_call(upstream, failover) -> None:
    """T35."""
    first, second = await upstream(), await upstream()
    first.default = Script(status=503, body=error_body())
    async with serving(table({"a": first, "b": second}, policy=PoolPolicy(failover=failover))) as gateway:
        got = await gateway.chat()
    assert (got.status, got.gateway["attempts"], got.gateway["failover"]) == (503, "1", "false")
    assert (len(first.requests), len(second.requests)) == (1, 0)


async def test_max_attempts_bounds_the_calls(upstream) -> None:
    """T39: the default policy allows three calls in all."""
    ups = [await upstream() for _ in range(4)]
    for one in ups:
        one.default = Script(status=500, body=error_body())
    async with serving(table(dict(zip("abcd", ups, strict=True)))) as gateway:
        got = await gateway.chat()
    assert (got.status, got.gateway["attempts"]) == (500, "3")
    assert [len(one.requests) for one in ups] == [1, 1, 1, 0]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_client_that_leaves_ends_the_loop(upstream, stream) -> None:
    """T33: its upstream is closed within 10 ms or so, and nobody else is called."""
    first, second = await upstream(), await upstream()
    first.default = Script(hang=True)
    leave = asyncio.Event()
    body = json.dumps({"model": "pool", "messages": [], "stream": stream}).encode()
    async with serving(table({"a": first, "b": second})) as gateway:
        call = asyncio.create_task(gateway.call("POST", "/v1/chat/completions", body, leave=leave))
        await until(lambda: first.requests)
        leave.set()
        async with asyncio.timeout(0.1):
            await first.requests[0].gone.wait()
        await call
        (row,) = await gateway.records()
        assert gateway.runtime.health.in_flight() == {}
    assert (row.outcome, row.status, row.attempt_count) == ("client_gone", 499, 1)
    assert len(second.requests) == 0


async def test_client_that_leaves_in_a_stream_closes_the_upstream(upstream) -> None:
    """T33."""
    first = await upstream(pieces=stream_pieces(["x"] * 100), piece_delay_s=0.02)
    leave, got = asyncio.Event(), Got()
    body = json.dumps({"model": "pool", "messages": [], "stream": True}).encode()
    async with serving(table({"a": first})) as gateway:
        call = asyncio.create_task(gateway.call("POST", "/v1/chat/completions", body, leave=leave, got=got))
        await until(lambda: got.body)
        leave.set()
        async with asyncio.timeout(0.2):
            await first.requests[0].gone.wait()
        await call
        (row,) = await gateway.records()
        assert gateway.runtime.health.in_flight() == {}
    assert (row.outcome, row.status, got.complete) == ("client_gone", 200, False)


async def test_failover_moves_the_pin(upstream) -> None:
    """T34: a broken pinned primary is not called first by the session's next request."""
    first, second = await upstream(), await upstream()
    session = {"x-session-id": "s1"}
    async with serving(table({"a": first, "b": second})) as gateway:
        before = await gateway.chat(headers=session)
        first.script(Script(status=500, body=error_body()))
        moved = await gateway.chat(headers=session)
        after = await gateway.chat(headers=session)
    seen = [(got.gateway["provider"], got.gateway["affinity"]) for got in (before, moved, after)]
    assert seen == [("a", "miss"), ("b", "repin"), ("b", "hit")]
    assert len(first.requests) == 2


async def test_request_id_is_no_session(upstream) -> None:
    """T43: without a key nothing is pinned."""
    first = await upstream()
    async with serving(table({"a": first})) as gateway:
        got = [await gateway.chat(headers={"x-request-id": "r1"}) for _ in range(2)]
    assert [one.gateway["affinity"] for one in got] == ["none", "none"]
    assert [one.headers["x-request-id"] for one in got] == ["r1", "r1"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/completions"])
async def test_other_endpoints_fail_over(upstream, path) -> None:
    """T38."""
    first, second = await upstream(status=503, body=error_body()), await upstream()
    if path.endswith("completions"):
        second.default = Script(body=json.dumps({"choices": [{"index": 0, "text": "x"}]}).encode())
    body = json.dumps({"model": "pool", "input": "x", "prompt": "x"}).encode()
    async with serving(table({"a": first, "b": second})) as gateway:
        got = await gateway.call("POST", path, body)
    assert (got.status, got.gateway["provider"], got.gateway["attempts"]) == (200, "b", "2")


async def test_content_before_a_cut_reaches_the_client_and_then_an_error(upstream) -> None:
    """T53: never a clean end."""
    first, second = await upstream(), await upstream()
    first.default = Script(pieces=stream_pieces(["one ", "two"]), cut_after_pieces=2)
    async with serving(table({"a": first, "b": second})) as gateway:
        got = await gateway.chat(stream=True)
        (row,) = await gateway.records()
    *content, last, end = got.body.split(b"\n\n")
    assert content == [chunk_event("one ")[:-2], chunk_event("two")[:-2]]
    assert (json.loads(last.removeprefix(b"data: "))["error"]["code"], end) == (
        "upstream_protocol_error",
        b"",
    )
    assert (got.status, row.outcome, len(second.requests)) == (200, "cut", 0)
    assert row.error_code == "upstream_protocol_error"


async def test_stalled_stream_ends_with_an_error(upstream) -> None:
    """The idle timeout runs between chunks."""
    first = await upstream(pieces=stream_pieces(["one ", "two"]), piece_delay_s=1.0)
    async with serving(table({"a": first})) as gateway:
        got = await gateway.chat(stream=True)
    assert got.body.startswith(chunk_event("one "))
    assert b'"code":"upstream_timeout"' in got.body
    assert b"[DONE]" not in got.body


async def test_finish_without_content_is_an_answer(upstream) -> None:
    """T54."""
    pieces = [ROLE, chunk_event("", finish="stop"), b"data: [DONE]\n\n"]
    first = await upstream(pieces=pieces)
    async with serving(table({"a": first})) as gateway:
        got = await gateway.chat(stream=True)
    assert (got.status, got.gateway["attempts"], got.body) == (200, "1", b"".join(pieces))


async def test_permanent_refusal_tells_sdks_not_to_retry(upstream) -> None:
    """T55: a Retry-After on a permanent refusal is not passed on; one on a 429 is."""
    headers = {"retry-after": "120"}
    first = await upstream(status=400, body=error_body(), headers=headers)
    async with serving(table({"a": first})) as gateway:
        refused = await gateway.chat()
        first.default = Script(status=429, body=error_body(), headers=headers)
        limited = await gateway.chat()
    assert (refused.status, refused.headers.get("retry-after")) == (400, None)
    assert refused.headers["x-should-retry"] == "false"
    assert (limited.status, limited.headers["retry-after"]) == (429, "120")
    assert "x-should-retry" not in limited.headers


async def test_body_ends_with_the_stream(upstream) -> None:
    """T56: the provider's connection stays open, the client's answer does not."""
    pieces = stream_pieces(["one ", "two"])
    first = await upstream(pieces=[b"".join(pieces), b": late\n\n"], piece_delay_s=0.25)
    async with serving(table({"a": first})) as gateway:
        loop = asyncio.get_running_loop()
        began = loop.time()
        got = await gateway.chat(stream=True)
        took_s = loop.time() - began
    assert (got.body, got.complete) == (b"".join(pieces), True)
    assert took_s < 0.2
