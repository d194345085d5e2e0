"""Every way in which a provider can fail, as clients of the running gateway meet it."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Pool
from tests.e2e.server import Server
from tests.e2e.upstreams import Providers
from tests.upstream import Script, chunk_event, stream_pieces

ERROR = json.dumps(
    {"error": {"message": "No.", "type": "server_error", "param": None, "code": None}}
).encode()
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
FAILURES = {
    "500": Script(status=500, body=ERROR),
    "502": Script(status=502, body=b"<html>bad gateway</html>"),
    "503": Script(status=503, body=ERROR),
    "504": Script(status=504, body=b""),
    "429": Script(status=429, body=ERROR),
    "closed": Script(drop=True),
    "reset": Script(drop=True, reset=True),
    "timeout": Script(hang=True),
    "empty": Script(body=b""),
    "malformed": Script(body=b'{"id": "c1", "choi'),
    "not_http": Script(raw=b"hello\r\n\r\n"),
    "truncated": Script(body=b'{"id":"c1","choices":[]}', cut_after_bytes=8),
}
STREAM_FAILURES = {
    "in_band_error": Script(pieces=[ROLE, b'data: {"error":{"message":"Overloaded","code":503}}\n\n']),
    "no_content": Script(pieces=[b"data: [DONE]\n\n"]),
    "cut_before_content": Script(pieces=[ROLE, ROLE], cut_after_pieces=1),
    "stalled_before_content": Script(pieces=[ROLE, *stream_pieces(["x"])], piece_delay_s=1.2),
}
ANSWER = [chunk_event("one "), chunk_event("two"), chunk_event("", finish="stop"), b"data: [DONE]\n\n"]


def record_of(gateway: Server, request_id: str) -> dict:
    (row,) = gateway.records("request_id = ?", request_id)
    return row


def attempts_seen(row: dict) -> list[tuple[str, int | None]]:
    return [(attempt["provider"], attempt["status"]) for attempt in row["attempts"]]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", [*FAILURES, "refused"])
def test_failure_of_the_first_is_answered_by_the_second(
    gateway: Server, pool: Pool, upstreams: Providers, name: str, stream: bool
) -> None:
    first, _, _ = pool.upstreams
    if name == "refused":
        upstreams.stop(first)
    else:
        first.default = FAILURES[name]

    got = gateway.chat(pool.name, stream=stream)

    assert (got.status_code, got.headers["x-gateway-provider"]) == (200, pool.providers[1])
    if stream:
        assert got.content == b"".join(ANSWER)
    else:
        assert got.json()["choices"][0]["message"]["content"] == "one two"
    assert pool.calls == [0 if name == "refused" else 1, 1, 0]
    row = record_of(gateway, got.headers["x-request-id"])
    answered = first.default.status if name in {"500", "502", "503", "504", "429"} else None
    answered = 200 if name in {"empty", "malformed", "truncated"} else answered
    assert attempts_seen(row) == [(pool.providers[0], answered), (pool.providers[1], 200)]
    assert [bool(attempt["error"]) for attempt in row["attempts"]] == [True, False]


@pytest.mark.parametrize("name", STREAM_FAILURES)
def test_stream_without_content_is_answered_by_the_second(gateway: Server, pool: Pool, name: str) -> None:
    pool.upstreams[0].default = STREAM_FAILURES[name]
    got = gateway.chat(pool.name, stream=True)
    assert (got.status_code, got.content) == (200, b"".join(ANSWER))
    assert (got.headers["x-gateway-provider"], got.headers["x-gateway-attempts"]) == (pool.providers[1], "2")
    assert pool.calls == [1, 1, 0]
    assert attempts_seen(record_of(gateway, got.headers["x-request-id"])) == [
        (pool.providers[0], 200),
        (pool.providers[1], 200),
    ]


def test_records_and_upstreams_agree_call_for_call(gateway: Server, pool: Pool) -> None:
    """T32: a mixed run; every upstream call stands in exactly one record, at most three in each."""
    first, second, _ = pool.upstreams
    faults = [FAILURES[name] for name in ("503", "closed", "empty", "429")]
    ids = []
    for number in range(12):
        if number % 3 != 2:
            first.script(faults[number % 4])
        if number % 4 == 0:
            second.script(FAILURES["malformed"])
        got = gateway.chat(pool.name, stream=bool(number % 2))
        assert got.status_code == 200
        ids.append(got.headers["x-request-id"])
    rows = [record_of(gateway, one) for one in ids]
    calls = [attempt["provider"] for row in rows for attempt in row["attempts"]]
    assert [calls.count(name) for name in pool.providers] == pool.calls
    assert max(row["attempt_count"] for row in rows) <= 3
    assert all(row["attempt_count"] == len(row["attempts"]) for row in rows)


def test_exhausted_pool_answers_the_last_error_after_three_calls(gateway: Server, pool: Pool) -> None:
    for status, upstream in zip((500, 503, 502), pool.upstreams, strict=True):
        upstream.default = Script(status=status, body=ERROR)
    got = gateway.chat(pool.name)
    assert (got.status_code, got.headers["x-gateway-attempts"], pool.calls) == (502, "3", [1, 1, 1])
    assert got.json() == {"error": {"message": "No.", "type": "server_error", "param": None, "code": None}}
    row = record_of(gateway, got.headers["x-request-id"])
    assert (row["outcome"], row["status"], row["selected_provider_name"]) == ("error", 502, "")
    assert attempts_seen(row) == list(zip(pool.providers, (500, 503, 502), strict=True))


def test_record_log_headers_and_metrics_name_who_served(gateway: Server, pool: Pool) -> None:
    """T37, T52: after a failover all four name the second candidate."""
    pool.upstreams[0].default = FAILURES["503"]
    primary, backup, _ = pool.providers
    got = gateway.chat(pool.name, headers={"x-request-id": f"t37-{pool.name}"})

    headers = {name: value for name, value in got.headers.items() if name.startswith("x-gateway-")}
    assert float(headers.pop("x-gateway-overhead-ms")) >= 0
    assert headers == {
        "x-gateway-canonical-model": pool.name,
        "x-gateway-provider": backup,
        "x-gateway-model": "m",
        "x-gateway-attempts": "2",
        "x-gateway-failover": "true",
        "x-gateway-affinity": "none",
        "x-gateway-revision": headers["x-gateway-revision"],
    }
    row = record_of(gateway, f"t37-{pool.name}")
    says = {
        "canonical_model": pool.name,
        "config_primary": f"{primary}/m",
        "effective_candidate": f"{primary}/m",
        "selected_provider_name": backup,
        "selected_exact_model": "m",
        "fallback_target": f"{backup}/m",
        "outcome": "ok",
        "status": 200,
        "caller_name": "e2e",
    }
    assert {name: row[name] for name in says} == says
    assert str(row["revision"]) == headers["x-gateway-revision"]
    (line,) = gateway.log_lines(f"t37-{pool.name}")
    assert {name: line[name] for name in says} == says
    assert line["failover_used"] is True
    with gateway.client() as http:
        lines = [one for one in http.get("/metrics").text.splitlines() if f'pool="{pool.name}"' in one]
    counted = {one for one in lines if "_total" in one and "tokens" not in one}
    where = f'pool="{pool.name}",provider="{backup}"'
    assert {one.split("{")[0] for one in counted} == {
        "sluice_requests_total",
        "sluice_attempts_total",
        "sluice_failovers_total",
    }
    requests = [one for one in counted if one.startswith("sluice_requests_total")]
    failovers = [one for one in counted if one.startswith("sluice_failovers_total")]
    assert ([f'provider="{backup}"' in one for one in requests], len(failovers)) == ([True], 1)
    assert [f'provider="{backup}"' in one for one in failovers] == [True], where


def test_content_before_a_cut_arrives_and_an_error_follows(gateway: Server, pool: Pool) -> None:
    """T53: a stream that broke after its first content never ends cleanly, and nobody else is called."""
    pool.upstreams[0].default = Script(pieces=ANSWER, cut_after_pieces=2, reset=False)
    got = gateway.chat(pool.name, stream=True)
    *content, last, end = got.content.split(b"\n\n")
    assert content == [ANSWER[0][:-2], ANSWER[1][:-2]]
    assert (json.loads(last.removeprefix(b"data: "))["error"]["type"], end) == ("upstream_error", b"")
    assert pool.calls == [1, 0, 0]
    row = record_of(gateway, got.headers["x-request-id"])
    assert (row["outcome"], row["status"], row["selected_provider_name"]) == ("cut", 200, pool.providers[0])


def test_refused_credential_is_the_gateways_affair(gateway: Server, pool: Pool) -> None:
    """A provider's 401 fails over, opens its circuit, and never reaches the client as a 401."""
    body = json.dumps({"error": {"message": "Bad key sk-x", "type": "x", "code": "invalid_api_key"}}).encode()
    for upstream in pool.upstreams:
        upstream.default = Script(status=401, body=body)
    got = gateway.chat(pool.name)
    assert (got.status_code, got.json()["error"]["code"]) == (502, "upstream_auth_error")
    assert (pool.calls, got.headers["x-should-retry"]) == ([1, 1, 1], "false")


def test_broken_primary_is_left_alone_after_five_failures(gateway: Server, pool: Pool) -> None:
    """T28, T34: live failures open the circuit; the sixth request does not meet it, nor does a session."""
    pool.upstreams[0].default = FAILURES["503"]
    seen = [gateway.chat(pool.name).headers["x-gateway-attempts"] for _ in range(7)]
    assert seen == ["2"] * 5 + ["1"] * 2
    assert pool.calls == [5, 7, 0]
    row = record_of(gateway, gateway.chat(pool.name).headers["x-request-id"])
    (blocked,) = json.loads(row["blocked_candidates"])
    assert (blocked["selector"], blocked["reasons"]) == (f"{pool.providers[0]}/m", ["circuit_open"])
