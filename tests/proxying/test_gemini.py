"""Gemini behind the gateway: pools of it alone and mixed with OpenAI's format, failover both ways."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from tests.proxying.gateway import serving, table
from tests.upstream import Script

pytestmark = pytest.mark.anyio

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 2, "totalTokenCount": 15}


def said(*parts, finish=None, **fields):
    candidate = {"content": {"role": "model", "parts": list(parts)}}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": "gemini-x", **fields}


def whole(*parts, status=200, **fields) -> Script:
    return Script(
        status=status, body=json.dumps(said(*parts, finish="STOP", usageMetadata=COUNTS, **fields)).encode()
    )


def event(data) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\r\n\r\n"


def streamed(*pieces: bytes, **fields) -> Script:
    return Script(pieces=pieces, headers={"content-type": "text/event-stream"}, **fields)


def failed(status, error, **fields) -> Script:
    body = {"error": {"code": status, "message": "no", **error, **fields}}
    return Script(status=status, body=json.dumps(body).encode())


HELLO = whole({"text": "one two"})
HELLO_STREAM = streamed(
    event(said({"text": "one "}, usageMetadata={"promptTokenCount": 9})),
    event(said({"text": "two"}, finish="STOP", usageMetadata=COUNTS)),
)


@asynccontextmanager
async def pool(upstream, *kinds, **values):
    """A gateway whose pool has one provider of each kind, in this order; with their upstreams."""
    upstreams = {f"p{number}": await upstream() for number, _ in enumerate(kinds)}
    providers = {name: {"kind": kind} for name, kind in zip(upstreams, kinds, strict=True)}
    async with serving(table(upstreams, providers=providers, **values)) as gateway:
        yield gateway, *upstreams.values()


def spoken(got):
    """The text of an answer, whole or streamed."""
    if not got.body.startswith(b"data:"):
        return got.json["choices"][0]["message"]["content"]
    assert got.body.endswith(b"data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in got.body.splitlines()[:-2] if line]
    return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])


@pytest.mark.parametrize(("stream", "script"), [(False, HELLO), (True, HELLO_STREAM)])
async def test_chat_is_served_and_recorded(upstream, stream, script):
    async with pool(upstream, "gemini_native") as (gateway, gemini):
        gemini.script(script)
        got = await gateway.chat(stream=stream)
        (row,) = await gateway.records()
        (request,) = gemini.requests
    assert (got.status, spoken(got), got.complete) == (200, "one two", True)
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert request.path == f"/v1/models/m:{method}"
    assert request.headers["x-goog-api-key"] == "secret-of-p0"
    assert "authorization" not in request.headers
    assert request.json == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert (row.prompt_tokens, row.completion_tokens, row.reasoning_tokens) == (9, 6, 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_go_around(upstream, stream):
    """The call with its signature goes to the client, and comes back with the result."""
    call = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": "sig"}
    script = streamed(event(said(call, finish="STOP"))) if stream else whole(call)
    async with pool(upstream, "gemini_native") as (gateway, gemini):
        gemini.script(script, HELLO)
        got = await gateway.chat(tools=[WEATHER], stream=stream)
        if stream:
            first = json.loads(got.body.splitlines()[0][6:])["choices"][0]["delta"]
            calls = [{k: v for k, v in first["tool_calls"][0].items() if k != "index"}]
        else:
            calls = got.json["choices"][0]["message"]["tool_calls"]
        messages = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": calls[0]["id"], "content": "warm"},
        ]
        assert spoken(await gateway.chat(messages=messages, tools=[WEATHER])) == "one two"
    (_, called, answered) = gemini.requests[1].json["contents"]
    made = calls[0]["id"]
    assert called["parts"] == [
        {"functionCall": {**call["functionCall"], "id": made}, "thoughtSignature": "sig"}
    ]
    response = {"name": "weather", "response": {"result": "warm"}, "id": made}
    assert answered["parts"] == [{"functionResponse": response}]


FAILURES = [
    pytest.param(Script(status=503), id="503"),
    pytest.param(failed(429, {"status": "RESOURCE_EXHAUSTED"}), id="429"),
    pytest.param(failed(400, {"details": [{"reason": "API_KEY_INVALID"}]}), id="bad key"),
    pytest.param(failed(404, {"status": "NOT_FOUND"}), id="404"),
    pytest.param(Script(drop=True), id="dropped"),
    pytest.param(Script(hang=True), id="silent"),
    pytest.param(Script(body=b""), id="empty"),
    pytest.param(Script(body=b"<html>"), id="page"),
    pytest.param(Script(body=b'{"candidates":[]}'), id="no candidates"),
]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("stream", [False, True])
async def test_failure_of_gemini_is_answered_by_openai(upstream, failure, stream):
    async with pool(upstream, "gemini_native", "openai_compatible") as (gateway, gemini, openai):
        gemini.script(failure)
        got = await gateway.chat(stream=stream)
    assert (got.status, spoken(got)) == (200, "one two")
    assert (got.gateway["provider"], got.gateway["attempts"], got.gateway["failover"]) == ("p1", "2", "true")
    assert [len(one.requests) for one in (gemini, openai)] == [1, 1]


@pytest.mark.parametrize("failure", [FAILURES[0], FAILURES[4], FAILURES[6]])
@pytest.mark.parametrize(("stream", "script"), [(False, HELLO), (True, HELLO_STREAM)])
async def test_failure_of_openai_is_answered_by_gemini(upstream, failure, stream, script):
    async with pool(upstream, "openai_compatible", "gemini_native") as (gateway, openai, gemini):
        openai.script(failure)
        gemini.script(script)
        got = await gateway.chat(stream=stream)
    assert (got.status, spoken(got), got.gateway["provider"]) == (200, "one two", "p1")


@pytest.mark.parametrize(
    "event_before_content",
    [
        event({"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}),
        event(said(finish="MALFORMED_FUNCTION_CALL")),
        b"data: {broken\r\n\r\n",
    ],
)
async def test_stream_that_fails_before_content_fails_over(upstream, event_before_content):
    async with pool(upstream, "gemini_native", "openai_compatible") as (gateway, gemini, _):
        gemini.script(streamed(event({"usageMetadata": COUNTS}), event_before_content))
        got = await gateway.chat(stream=True)
    assert (got.status, spoken(got), got.gateway["provider"]) == (200, "one two", "p1")


async def test_stream_that_fails_after_content_ends_with_an_error(upstream):
    async with pool(upstream, "gemini_native", "openai_compatible") as (gateway, gemini, openai):
        gemini.script(streamed(event(said({"text": "one "})), cut_after_pieces=1))
        got = await gateway.chat(stream=True)
        (row,) = await gateway.records()
    first, last = [json.loads(line[6:]) for line in got.body.splitlines() if line]
    assert first["choices"][0]["delta"]["content"] == "one "
    assert last["error"]["type"] == "upstream_error"
    assert (row.outcome, openai.requests) == ("cut", [])


async def test_what_gemini_cannot_say_goes_to_the_next_candidate(upstream):
    async with pool(upstream, "gemini_native", "openai_compatible") as (gateway, gemini, openai):
        got = await gateway.chat(logit_bias={"5": 3})
        refused = await gateway.call(
            "POST",
            "/v1/chat/completions",
            json.dumps({"model": "p0/m", "messages": [], "logit_bias": {"5": 3}}).encode(),
        )
    assert (got.status, got.gateway["provider"], gemini.requests) == (200, "p1", [])
    assert openai.requests[0].json["logit_bias"] == {"5": 3}
    assert (refused.status, refused.error["param"]) == (400, "logit_bias")


async def test_delay_that_gemini_names_is_told(upstream):
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}]
    async with pool(upstream, "gemini_native") as (gateway, gemini):
        gemini.script(failed(429, {"status": "RESOURCE_EXHAUSTED", "details": details}))
        got = await gateway.chat()
    assert (got.status, got.headers["retry-after"], got.error["code"]) == (429, "7", "RESOURCE_EXHAUSTED")


async def test_refused_key_is_not_the_clients_fault(upstream):
    async with pool(upstream, "gemini_native") as (gateway, gemini):
        gemini.script(failed(400, {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}))
        got = await gateway.chat()
    assert (got.status, got.error["code"]) == (502, "upstream_auth_error")


async def test_embeddings_are_served(upstream):
    async with pool(upstream, "gemini_native", "openai_compatible") as (gateway, gemini, _):
        gemini.script(Script(body=json.dumps({"embeddings": [{"values": [0.5, 0.25]}]}).encode()))
        body = json.dumps({"model": "pool", "input": "a"}).encode()
        got = await gateway.call("POST", "/v1/embeddings", body)
        other = await gateway.call("POST", "/v1/embeddings", b'{"model":"pool","input":[1,2]}')
    assert got.json["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
    # Token ids are OpenAI's: the candidate of that format takes them.
    assert (other.status, other.gateway["provider"]) == (200, "p1")


async def test_conversation_moves_between_providers(upstream):
    """A call that OpenAI's candidate made goes on at Gemini, with what stands in for its signature."""
    messages = [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "warm"},
    ]
    async with pool(upstream, "openai_compatible", "gemini_native") as (gateway, openai, gemini):
        openai.script(Script(status=500))
        gemini.script(HELLO)
        got = await gateway.chat(messages=messages, tools=[WEATHER])
    assert spoken(got) == "one two"
    (part,) = gemini.requests[0].json["contents"][1]["parts"]
    assert part["thoughtSignature"] == "skip_thought_signature_validator"


async def test_gone_client_ends_the_call(upstream):
    async with pool(upstream, "gemini_native") as (gateway, gemini):
        gemini.script(
            streamed(event(said({"text": "a"})), *[event(said({"text": "b"}))] * 50, piece_delay_s=0.05)
        )
        leave = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, leave.set)
        body = json.dumps({"model": "pool", "messages": [{"role": "user", "content": "x"}], "stream": True})
        await gateway.call("POST", "/v1/chat/completions", body.encode(), leave=leave)
        await asyncio.wait_for(gemini.requests[0].gone.wait(), 1)
        (row,) = await gateway.records()
    assert row.outcome == "client_gone"
