"""Bodies as clients send them: large, odd, in other scripts; and what a wrong one is told."""

from __future__ import annotations

import json
import socket

import pytest

from tests.e2e.conftest import Pool
from tests.e2e.server import Server
from tests.upstream import Script

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("size", [70_000, 3_000_000, 5_242_880])
def test_large_body_passes_byte_for_byte(gateway: Server, pool: Pool, size: int) -> None:
    """Django's DATA_UPLOAD_MAX_MEMORY_SIZE of 2.5 MB does not stand in the way."""
    content = "x" * size
    got = gateway.chat(pool.name, messages=[{"role": "user", "content": content}])
    assert got.status_code == 200
    assert pool.upstreams[0].requests[0].json["messages"][0]["content"] == content


def test_large_answer_passes(gateway: Server, pool: Pool) -> None:
    message = {"role": "assistant", "content": "y" * 3_000_000}
    whole = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    pool.upstreams[0].default = Script(body=json.dumps(whole).encode())
    assert gateway.chat(pool.name).json() == whole


@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "chunked"])
def test_body_over_the_limit_is_refused(gateway: Server, pool: Pool, chunked: bool) -> None:
    limit = 6 * 1024 * 1024
    body = json.dumps({"model": pool.name, "messages": MESSAGES, "pad": "x" * limit}).encode()
    pieces = (body[at : at + 262_144] for at in range(0, len(body), 262_144))
    with gateway.client() as http:
        got = http.post("/v1/chat/completions", content=pieces if chunked else body)
        after = http.post("/v1/chat/completions", json={"model": pool.name, "messages": MESSAGES})
    assert (got.status_code, got.json()["error"]) == (
        413,
        {
            "message": f"The request body has more than {limit} bytes.",
            "type": "invalid_request_error",
            "param": None,
            "code": "request_too_large",
        },
    )
    assert (got.headers["x-should-retry"], after.status_code, pool.calls) == ("false", 200, [1, 0, 0])


@pytest.mark.parametrize(
    ("body", "code", "param", "says"),
    [
        (b"", "invalid_json", None, "The body is empty"),
        (b"   ", "invalid_json", None, "The body is empty"),
        (b'{"model": "x",', "invalid_json", None, "(line 1, column "),
        (b'{\n "model": nope}', "invalid_json", None, "(line 2, column "),
        (b"\xff\xfe", "invalid_json", None, "not valid JSON"),
        (b'{"model": "\xff"}', "invalid_json", None, "not valid JSON"),
        (b'["model"]', "invalid_json", None, "not an object"),
        (b'{"model": NaN}', "invalid_json", None, "not valid JSON"),
        (b"{}", "missing_model", "model", "'model' is required"),
        (b'{"model": 7}', "missing_model", "model", "must be a string"),
        (b'{"model": "  "}', "missing_model", "model", "must not be blank"),
        (b'{"model": "a", "model": "b"}', "duplicate_model", "model", "model"),
        (b'{"model": "a", "mod\\u0065l": "b"}', "duplicate_model", "model", "model"),
    ],
)
def test_wrong_body_is_told_where(
    gateway: Server, body: bytes, code: str, param: str | None, says: str
) -> None:
    with gateway.client() as http:
        got = http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    error = got.json()["error"]
    assert (got.status_code, error["code"], error["param"]) == (400, code, param)
    assert (error["type"], says in error["message"]) == ("invalid_request_error", True)
    assert got.headers["x-should-retry"] == "false"


def test_deeply_nested_body_is_refused_and_the_worker_lives(gateway: Server, pool: Pool) -> None:
    with gateway.client() as http:
        got = http.post("/v1/chat/completions", content=b'{"model":"x","a":' + b"[" * 100_000)
    assert (got.status_code, got.json()["error"]["code"]) == (400, "invalid_json")
    assert gateway.chat(pool.name).status_code == 200


def test_what_the_client_sent_goes_on_as_it_is(gateway: Server, pool: Pool) -> None:
    """Key order, spelling of numbers, escapes and unknown fields survive; only the model's value changes."""
    numbers = '"z":1.50,"b":1e2,"n":0.1000000000000000055511151231257827'
    template = f'{{{{{numbers},"model" : {{}},"s":"\\u00e9\\/","o":{{{{"model":"x"}}}}}}}}'
    with gateway.client() as http:
        got = http.post("/v1/chat/completions", content=template.format(json.dumps(pool.name)).encode())
    assert got.status_code == 200
    assert pool.upstreams[0].requests[0].body == template.format('"m"').encode()


def test_provider_field_names_where_to_go(gateway: Server, pool: Pool) -> None:
    """A string bypasses the pool and is not sent on; an object is the vendor's own and passes."""
    there = gateway.chat("m", provider=pool.providers[2])
    assert (there.status_code, pool.calls) == (200, [0, 0, 1])
    assert pool.upstreams[2].requests[0].json == {"model": "m", "messages": MESSAGES}
    nowhere = gateway.chat("m", provider="nobody")
    assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "provider_not_found")
    passed = gateway.chat(pool.name, provider={"order": ["x"]})
    assert (passed.status_code, pool.calls) == (200, [1, 0, 1])
    assert pool.upstreams[0].requests[0].json["provider"] == {"order": ["x"]}


def test_names_of_any_script(gateway: Server, pool: Pool) -> None:
    """An unknown name comes back readable in the error, and as ASCII in the headers and the record."""
    name = "модель/数 \U0001f600"
    got = gateway.chat(name)
    assert (got.status_code, got.json()["error"]["code"]) == (404, "model_not_found")
    assert name in got.json()["error"]["message"]
    (row,) = gateway.records("request_id = ?", got.headers["x-request-id"])
    assert (row["requested_model"], row["outcome"]) == (name, "error")


def test_lone_surrogate_is_no_model(gateway: Server) -> None:
    with gateway.client() as http:
        got = http.post("/v1/chat/completions", content=b'{"model": "\\ud800"}')
    assert got.status_code in {400, 404}
    assert got.json()["error"]["type"] in {"invalid_request_error", "not_found_error"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("req-1.a_b", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("a b", False),
        ("a/../b", False),
        ("<script>", False),
        ("", False),
    ],
)
def test_request_id_is_kept_only_when_well_formed(gateway: Server, given: str, kept: bool) -> None:
    with gateway.client() as http:
        got = http.get("/v1/models", headers={"x-request-id": given})
    assert (got.status_code, got.headers["x-request-id"] == given) == (200, kept)
    assert got.headers["x-request-id"]


def raw(gateway: Server, head: bytes, body: bytes = b"") -> bytes:
    """What the server answers to these bytes, until it closes or is silent for a second."""
    host, _, port = gateway.bind.partition(":")
    with socket.create_connection((host, int(port)), timeout=1.5) as connection:
        connection.sendall(head + b"\r\n\r\n" + body)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
                if b"\r\n\r\n" in answer and b"}" in answer:
                    break
        except (TimeoutError, ConnectionError):
            pass
        return answer


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_headers_that_are_not_utf8_do_no_harm(gateway: Server, pool: Pool) -> None:
    body = json.dumps({"model": pool.name, "messages": MESSAGES}).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Authorization: Bearer " + gateway.key.encode() + b"\r\n"
        b"X-Session-ID: \xff\xfe\xe9\r\nX-User-Path: /\xff\r\nX-Request-ID: \xe9\r\n"
        b"Content-Length: %d" % len(body)
    )
    answer = raw(gateway, head, body)
    assert status_of(answer) == 200
    assert b"x-gateway-affinity: miss" in answer.lower()


def test_key_that_is_not_utf8_is_unknown(gateway: Server) -> None:
    answer = raw(gateway, b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xe9\xfe")
    assert (status_of(answer), b'"invalid_api_key"' in answer) == (401, True)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: -1",
        b"Content-Length: five",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"X-Huge: " + b"x" * 70_000,
        b"\r\n".join(b"X-%d: y" % number for number in range(300)),
        b"no colon here",
    ],
    ids=["two lengths", "negative", "word", "smuggling", "huge header", "many headers", "no header"],
)
def test_broken_head_is_refused_and_the_worker_lives(gateway: Server, pool: Pool, head: bytes) -> None:
    start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
    answer = raw(gateway, start + b"Authorization: Bearer " + gateway.key.encode() + b"\r\n" + head, b"hello")
    assert not answer or 400 <= status_of(answer) < 500
    assert (gateway.chat(pool.name).status_code, pool.calls) == (200, [1, 0, 0])


@pytest.mark.parametrize("session", ["x" * 5000, "\u202eé\U0001f600", "a\tb"])
def test_odd_sessions_are_pinned_like_others(gateway: Server, pool: Pool, session: str) -> None:
    seen = [gateway.chat(pool.name, user=session).headers["x-gateway-affinity"] for _ in range(2)]
    assert seen == ["miss", "hit"]


def test_unknown_url_and_wrong_method(gateway: Server) -> None:
    with gateway.client() as http:
        unknown = http.post("/v1/fine_tuning/jobs", json={})
        wrong = http.get("/v1/chat/completions")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_url")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"
