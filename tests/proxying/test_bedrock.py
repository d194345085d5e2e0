"""Bedrock behind the gateway: pools of it alone and mixed, signed and with keys, failover both ways."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import anthropic
import openai
import pytest

from proxying.eventstream import CONTENT_TYPE
from tests.proxying.adapters.converse_streams import delta, ending, event, exception, start, stop
from tests.proxying.gateway import SECRET, serving, table
from tests.proxying.sockets import listening
from tests.upstream import Script

pytestmark = pytest.mark.anyio

ACCESS_KEY = "AKIA0123456789ABCDEF"
SECRET_KEY = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
COUNTS = {"inputTokens": 9, "outputTokens": 4, "totalTokens": 15, "cacheReadInputTokens": 2}


def whole(*blocks, reason="end_turn", status=200, **fields) -> Script:
    message = {"role": "assistant", "content": list(blocks)}
    body = {"output": {"message": message}, "stopReason": reason, "usage": COUNTS, **fields}
    return Script(status=status, body=json.dumps(body).encode())


def streamed(*pieces: bytes, **fields) -> Script:
    return Script(pieces=pieces, headers={"content-type": CONTENT_TYPE}, **fields)


def failed(status, kind, message="no") -> Script:
    headers = {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/"}
    return Script(status=status, headers=headers, body=json.dumps({"message": message}).encode())


BEGIN = event("messageStart", role="assistant")
HELLO = whole({"text": "one two"})
HELLO_STREAM = streamed(BEGIN, delta(0, text="one "), delta(0, text="two"), stop(0), *ending(usage=COUNTS))


@asynccontextmanager
async def pool(upstream, *kinds, key=f"{ACCESS_KEY}:{SECRET_KEY}", **values):
    """A gateway whose pool has one provider of each kind, in this order; with their upstreams."""
    upstreams = {f"p{number}": await upstream() for number, _ in enumerate(kinds)}
    own = {"api_key": key, "options": {"region": "us-east-1"}}
    providers = {
        name: {"kind": kind, **(own if kind == "bedrock" else {})}
        for name, kind in zip(upstreams, kinds, strict=True)
    }
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
async def test_chat_is_signed_served_and_recorded(upstream, stream, script):
    async with pool(upstream, "bedrock") as (gateway, bedrock):
        bedrock.script(script)
        got = await gateway.chat(stream=stream, max_tokens=5)
        (row,) = await gateway.records()
        (request,) = bedrock.requests
    assert (got.status, spoken(got), got.complete) == (200, "one two", True)
    assert request.path == f"/v1/model/m/{'converse-stream' if stream else 'converse'}"
    signature = request.headers["authorization"]
    assert signature.startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/")
    assert "/us-east-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date, " in signature
    assert request.headers["host"] == f"127.0.0.1:{bedrock.port}"
    assert SECRET_KEY not in repr(request)
    assert request.json == {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"maxTokens": 5},
    }
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (11, 4, 2)


async def test_api_key_is_sent_as_it_is(upstream):
    async with pool(upstream, "bedrock", key="ABSKkey") as (gateway, bedrock):
        bedrock.script(HELLO)
        got = await gateway.chat()
    assert spoken(got) == "one two"
    assert bedrock.requests[0].headers["authorization"] == "Bearer ABSKkey"
    assert "x-amz-date" not in bedrock.requests[0].headers


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_go_around(upstream, stream):
    """The call with the thinking that led to it goes to the client, and comes back with the result."""
    thought = {"text": "Hm.", "signature": "sig"}
    call = {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}
    script = whole({"reasoningContent": {"reasoningText": thought}}, {"toolUse": call}, reason="tool_use")
    if stream:
        script = streamed(
            BEGIN,
            *[delta(0, reasoningContent={name: text}) for name, text in thought.items()],
            stop(0),
            start(1, toolUse={"toolUseId": "t1", "name": "weather"}),
            delta(1, toolUse={"input": '{"city":'}),
            delta(1, toolUse={"input": '"Oslo"}'}),
            stop(1),
            *ending("tool_use"),
        )
    async with pool(upstream, "bedrock") as (gateway, bedrock):
        bedrock.script(script, HELLO)
        got = await gateway.chat(tools=[WEATHER], stream=stream)
        message = merged(got) if stream else got.json["choices"][0]["message"]
        messages = [
            {"role": "user", "content": "hi"},
            message,
            {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "warm"},
        ]
        assert spoken(await gateway.chat(messages=messages, tools=[WEATHER])) == "one two"
    (_, called, answered) = bedrock.requests[1].json["messages"]
    assert called["content"] == [{"reasoningContent": {"reasoningText": thought}}, {"toolUse": call}]
    assert answered["content"] == [{"toolResult": {"toolUseId": "t1", "content": [{"text": "warm"}]}}]


def merged(got):
    """The message of a stream with one call."""
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in got.body.splitlines()[:-2] if line]
    calls = [one["tool_calls"][0] for one in deltas if "tool_calls" in one]
    arguments = "".join(one["function"]["arguments"] for one in calls)
    call = {"id": calls[0]["id"], "type": "function", "function": {"name": "weather", "arguments": arguments}}
    details = [detail for one in deltas for detail in one.get("reasoning_details", [])]
    return {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_details": details}


FAILURES = [
    pytest.param(failed(503, "ServiceUnavailableException"), id="503"),
    pytest.param(failed(429, "ThrottlingException"), id="429"),
    pytest.param(failed(424, "ModelErrorException"), id="model error"),
    pytest.param(failed(408, "ModelTimeoutException"), id="model timeout"),
    pytest.param(failed(403, "AccessDeniedException"), id="no access"),
    pytest.param(failed(403, "ExpiredTokenException"), id="expired"),
    pytest.param(failed(404, "ResourceNotFoundException"), id="404"),
    pytest.param(
        failed(400, "ValidationException", "The provided model identifier is invalid."), id="no such model"
    ),
    pytest.param(Script(drop=True), id="dropped"),
    pytest.param(Script(hang=True), id="silent"),
    pytest.param(Script(body=b""), id="empty"),
    pytest.param(Script(body=b"<html>"), id="page"),
    pytest.param(whole(reason="malformed_model_output"), id="broke down"),
]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("stream", [False, True])
async def test_failure_of_bedrock_is_answered_by_openai(upstream, failure, stream):
    async with pool(upstream, "bedrock", "openai_compatible") as (gateway, bedrock, openai_one):
        bedrock.script(failure)
        got = await gateway.chat(stream=stream)
    assert (got.status, spoken(got)) == (200, "one two")
    assert (got.gateway["provider"], got.gateway["attempts"], got.gateway["failover"]) == ("p1", "2", "true")
    assert [len(one.requests) for one in (bedrock, openai_one)] == [1, 1]


@pytest.mark.parametrize(("stream", "script"), [(False, HELLO), (True, HELLO_STREAM)])
async def test_failure_of_openai_is_answered_by_bedrock(upstream, stream, script):
    async with pool(upstream, "openai_compatible", "bedrock") as (gateway, openai_one, bedrock):
        openai_one.script(Script(status=503))
        bedrock.script(script)
        got = await gateway.chat(stream=stream)
    assert (got.status, spoken(got), got.gateway["provider"]) == (200, "one two", "p1")


@pytest.mark.parametrize(
    "fault",
    [
        exception("throttlingException", message="Slow"),
        exception("modelStreamErrorException", message="No", originalStatusCode=500),
        exception("internalServerException", message="No"),
        delta(0, text="hi")[:-1] + b"\x00",
        b"data: {}\n\n" * 3,
        event("messageStop", stopReason="malformed_model_output"),
    ],
    ids=["throttled", "model", "internal", "checksum", "text", "broke down"],
)
async def test_stream_that_fails_before_content_fails_over(upstream, fault):
    async with pool(upstream, "bedrock", "openai_compatible") as (gateway, bedrock, _):
        bedrock.script(streamed(BEGIN, fault))
        got = await gateway.chat(stream=True)
    assert (got.status, spoken(got), got.gateway["provider"]) == (200, "one two", "p1")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (
            streamed(BEGIN, delta(0, text="one "), cut_after_pieces=2),
            ("upstream_error", "upstream_protocol_error"),
        ),
        (streamed(BEGIN, delta(0, text="one "), stop(0)), ("upstream_error", "upstream_protocol_error")),
        (
            streamed(
                BEGIN,
                delta(0, text="one "),
                exception("throttlingException", message="Slow"),
                piece_delay_s=0.05,
            ),
            ("rate_limit_error", "rate_limit_exceeded"),
        ),
        (
            streamed(BEGIN, delta(0, text="one "), delta(0, text="two")[:-1] + b"\x00", piece_delay_s=0.05),
            ("upstream_error", "upstream_protocol_error"),
        ),
    ],
    ids=["cut", "ended", "exception", "checksum"],
)
async def test_stream_that_fails_after_content_ends_with_an_error(upstream, script, error):
    async with pool(upstream, "bedrock", "openai_compatible") as (gateway, bedrock, other):
        bedrock.script(script)
        got = await gateway.chat(stream=True)
        (row,) = await gateway.records()
    first, last = [json.loads(line[6:]) for line in got.body.splitlines() if line]
    assert first["choices"][0]["delta"]["content"] == "one "
    assert (last["error"]["type"], last["error"]["code"]) == error
    assert (row.outcome, row.completion_tokens, other.requests) == ("cut", 1, [])


async def test_stream_in_pieces_of_any_size(upstream):
    raw = b"".join(HELLO_STREAM.pieces)
    async with pool(upstream, "bedrock") as (gateway, bedrock):
        bedrock.script(streamed(*[raw[at : at + 7] for at in range(0, len(raw), 7)]))
        got = await gateway.chat(stream=True)
    assert (spoken(got), got.complete) == ("one two", True)


async def test_refused_access_key_is_not_the_clients_fault(upstream):
    async with pool(upstream, "bedrock") as (gateway, bedrock):
        bedrock.script(failed(403, "UnrecognizedClientException", f"The key {SECRET_KEY} is invalid."))
        got = await gateway.chat()
    assert (got.status, got.error["code"]) == (502, "upstream_auth_error")
    assert SECRET_KEY not in got.body.decode()


async def test_parts_of_the_access_key_never_reach_a_client(upstream):
    async with pool(upstream, "bedrock") as (gateway, bedrock):
        bedrock.script(failed(400, "ValidationException", f"{ACCESS_KEY} used {SECRET_KEY}"))
        got = await gateway.chat()
    assert (got.status, got.error["message"]) == (400, "[redacted] used [redacted]")


async def test_model_without_access_is_relayed_when_nobody_else_serves(upstream):
    async with pool(upstream, "bedrock") as (gateway, bedrock):
        bedrock.script(failed(403, "AccessDeniedException", "You don't have access to the model."))
        got = await gateway.chat()
    assert (got.status, got.error["code"], got.headers["x-should-retry"]) == (403, "access_denied", "false")


async def test_what_bedrock_cannot_say_goes_to_the_next_candidate(upstream):
    async with pool(upstream, "bedrock", "openai_compatible") as (gateway, bedrock, other):
        got = await gateway.chat(logit_bias={"5": 3})
        body = json.dumps({"model": "p0/m", "messages": [], "logit_bias": {"5": 3}}).encode()
        refused = await gateway.call("POST", "/v1/chat/completions", body)
    assert (got.status, got.gateway["provider"], bedrock.requests) == (200, "p1", [])
    assert other.requests[0].json["logit_bias"] == {"5": 3}
    assert (refused.status, refused.error["param"]) == (400, "logit_bias")


async def test_gone_client_ends_the_call(upstream):
    async with pool(upstream, "bedrock") as (gateway, bedrock):
        bedrock.script(streamed(BEGIN, *[delta(0, text="b")] * 50, piece_delay_s=0.05))
        leave = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, leave.set)
        body = json.dumps({"model": "pool", "messages": [{"role": "user", "content": "x"}], "stream": True})
        await gateway.call("POST", "/v1/chat/completions", body.encode(), leave=leave)
        await asyncio.wait_for(bedrock.requests[0].gone.wait(), 1)
        (row,) = await gateway.records()
    assert row.outcome == "client_gone"


# The official clients, in a pool of three formats


@asynccontextmanager
async def sdks(upstream, *kinds):
    """Both clients at one listening gateway, whose pool has these kinds; with their upstreams."""
    upstreams = {f"p{number}": await upstream() for number, _ in enumerate(kinds)}
    own = {"api_key": f"{ACCESS_KEY}:{SECRET_KEY}", "options": {"region": "us-east-1"}}
    providers = {name: {"kind": kind, **own} for name, kind in zip(upstreams, kinds, strict=True)}
    async with listening(table(upstreams, providers=providers)) as door:
        address = f"http://127.0.0.1:{door.port}"
        async with (
            openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=SECRET, max_retries=0) as chats,
            anthropic.AsyncAnthropic(base_url=address, api_key=SECRET, max_retries=0) as talks,
        ):
            yield chats, talks, *upstreams.values()


CALL = whole(
    {"text": "Let me see."},
    {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}},
    reason="tool_use",
)
CALL_STREAM = streamed(
    BEGIN,
    delta(0, text="Let me "),
    delta(0, text="see."),
    stop(0),
    start(1, toolUse={"toolUseId": "t1", "name": "weather"}),
    delta(1, toolUse={"input": '{"city":'}),
    delta(1, toolUse={"input": '"Oslo"}'}),
    stop(1),
    *ending("tool_use", usage=COUNTS),
)
ASKED = [{"role": "user", "content": "Weather?"}]


@pytest.mark.parametrize("kinds", [("bedrock",), ("openai_compatible", "bedrock")], ids=["alone", "mixed"])
async def test_openai_client_is_served(upstream, kinds):
    async with sdks(upstream, *kinds) as (chats, _, *others, bedrock):
        for other in others:
            other.default = Script(status=503)
        bedrock.script(CALL, CALL_STREAM)
        fields = {"model": "pool", "messages": ASKED, "tools": [WEATHER]}
        got = await chats.chat.completions.create(**fields)
        async with chats.chat.completions.stream(**fields) as stream:
            final = await stream.get_final_completion()
    for answer in (got, final):
        (choice,) = answer.choices
        assert (choice.message.content, choice.finish_reason) == ("Let me see.", "tool_calls")
        (call,) = choice.message.tool_calls
        assert (call.id, call.function.name, call.function.arguments) == ("t1", "weather", '{"city":"Oslo"}')
        assert answer.model == "pool"
    assert (got.usage.prompt_tokens, got.usage.prompt_tokens_details.cached_tokens) == (11, 2)


SIGNED = {"reasoningText": {"text": "Hm.", "signature": "sig"}}
HIDDEN = {"redactedContent": "ZGF0YQ=="}
THINKING = whole(
    {"reasoningContent": SIGNED},
    {"reasoningContent": HIDDEN},
    {"text": "Let me see."},
    {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {}}},
    reason="tool_use",
)
THINKING_STREAM = streamed(
    BEGIN,
    *[delta(0, reasoningContent={name: text}) for name, text in SIGNED["reasoningText"].items()],
    stop(0),
    delta(1, reasoningContent=HIDDEN),
    stop(1),
    delta(2, text="Let me see."),
    stop(2),
    start(3, toolUse={"toolUseId": "t1", "name": "weather"}),
    stop(3),
    *ending("tool_use"),
)


async def test_thinking_and_cache_marks_of_anthropics_client_go_around(upstream):
    """Claude Code at Bedrock: prompts are cached, and thinking goes on across tools."""
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    fields = {
        "model": "pool",
        "max_tokens": 4000,
        "system": [{"type": "text", "text": "Be kind.", **mark}],
        "tools": [{"name": "weather", "input_schema": {"type": "object"}, **mark}],
    }
    async with sdks(upstream, "bedrock") as (_, talks, bedrock):
        bedrock.script(THINKING, THINKING_STREAM, HELLO)
        got = await talks.messages.create(messages=ASKED, **fields)
        async with talks.messages.stream(messages=ASKED, **fields) as stream:
            final = await stream.get_final_message()
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "warm", **mark}
        turns = [*ASKED, {"role": "assistant", "content": got.content}, {"role": "user", "content": [result]}]
        await talks.messages.create(messages=turns, **fields)
    for answer in (got, final):
        thought, hidden, text, call = answer.content
        assert (thought.thinking, thought.signature, hidden.data) == ("Hm.", "sig", "ZGF0YQ==")
        assert (text.text, call.name, call.input) == ("Let me see.", "weather", {})
    sent = bedrock.requests[2].json
    assert sent["system"] == [{"text": "Be kind."}, point]
    assert sent["toolConfig"]["tools"][1] == point
    assert [next(iter(block)) for block in sent["messages"][1]["content"]] == [
        *("reasoningContent", "reasoningContent", "text", "toolUse")
    ]
    assert sent["messages"][1]["content"][:2] == [{"reasoningContent": SIGNED}, {"reasoningContent": HIDDEN}]
    assert sent["messages"][2]["content"][1] == point


async def test_responses_are_served(upstream):
    async with sdks(upstream, "bedrock") as (chats, _, bedrock):
        bedrock.script(HELLO, HELLO_STREAM)
        got = await chats.responses.create(model="pool", input="Hello")
        async with chats.responses.stream(model="pool", input="Hello") as stream:
            final = await stream.get_final_response()
    for answer in (got, final):
        assert (answer.output_text, answer.model, answer.status) == ("one two", "pool", "completed")
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (11, 4)


@pytest.mark.parametrize("kinds", [("bedrock",), ("openai_compatible", "bedrock")], ids=["alone", "mixed"])
async def test_anthropic_client_is_served(upstream, kinds):
    async with sdks(upstream, *kinds) as (_, talks, *others, bedrock):
        for other in others:
            other.default = Script(status=503)
        bedrock.script(CALL, CALL_STREAM)
        tool = {"name": "weather", "input_schema": {"type": "object"}}
        fields = {"model": "pool", "max_tokens": 100, "messages": ASKED, "tools": [tool]}
        fields["extra_body"] = {"top_k": 4}
        got = await talks.messages.create(**fields)
        async with talks.messages.stream(**fields) as stream:
            final = await stream.get_final_message()
    for answer in (got, final):
        text, call = answer.content
        assert (text.text, call.id, call.name, call.input) == (
            "Let me see.",
            "t1",
            "weather",
            {"city": "Oslo"},
        )
        assert (answer.stop_reason, answer.model) == ("tool_use", "pool")
        assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens) == (9, 2)
    sent = bedrock.requests[0].json
    assert sent["inferenceConfig"] == {"maxTokens": 100}
    assert sent["additionalModelRequestFields"] == {"top_k": 4}
