"""Both dialects in, at providers of every wire format: the real SDKs over sockets."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import permutations

import anthropic
import openai
import pytest

from proxying import sse
from proxying.eventstream import CONTENT_TYPE
from routing.kinds import KINDS
from routing.types import Candidate, Pool, PoolPolicy, RoutingTable, Strategy
from tests.proxying.adapters import converse_streams
from tests.proxying.adapters.dialect_streams import chunk, event, usage_chunk
from tests.proxying.gateway import SECRET, serving, table
from tests.proxying.sockets import listening
from tests.upstream import Script

pytestmark = pytest.mark.anyio

PICTURE = "iVBORw0KGgo="
TOOL = {
    "name": "look_up",
    "description": "Look it up.",
    "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
}
CHAT_TOOL = {
    "type": "function",
    "function": {
        "name": TOOL["name"],
        "description": TOOL["description"],
        "parameters": TOOL["input_schema"],
    },
}
QUESTION = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
        ],
    }
]
CHAT_QUESTION = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
        ],
    }
]
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"word": "cat"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 5,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 0,
        "output_tokens": 7,
    },
}
COMPLETION = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "look_up", "arguments": '{"word":"cat"}'},
                    }
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 25,
        "completion_tokens": 7,
        "total_tokens": 32,
        "prompt_tokens_details": {"cached_tokens": 20},
    },
}
MESSAGE_EVENTS = [
    event("message_start", message={**MESSAGE, "content": [], "stop_reason": None}),
    event("ping"),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Let me "}),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "see."}),
    event("content_block_stop", index=0),
    event("content_block_start", index=1, content_block={**MESSAGE["content"][1], "input": {}}),
    event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"word"'}),
    event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": ':"cat"}'}),
    event("content_block_stop", index=1),
    event("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage=MESSAGE["usage"]),
    event("message_stop"),
]
CALL = COMPLETION["choices"][0]["message"]["tool_calls"][0]
CHUNKS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Let me "}),
    chunk({"content": "see."}),
    chunk({"tool_calls": [{**CALL, "index": 0, "function": {"name": "look_up", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"word":"cat"}'}}]}),
    chunk({}, "tool_calls"),
    usage_chunk(**COMPLETION["usage"]),
    sse.DONE,
]
GEMINI_QUESTION = [
    {
        "role": "user",
        "parts": [{"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": PICTURE}}],
    }
]
GEMINI_TOOL = {
    "functionDeclarations": [
        {
            "name": TOOL["name"],
            "description": TOOL["description"],
            "parametersJsonSchema": TOOL["input_schema"],
        }
    ]
}
GEMINI_PARTS = [
    {"text": "Let me "},
    {"text": "see."},
    {"functionCall": {"name": "look_up", "args": {"word": "cat"}}, "thoughtSignature": "c2ln"},
]
GEMINI_USAGE = {"promptTokenCount": 25, "cachedContentTokenCount": 20, "candidatesTokenCount": 7}


def gemini(*parts: dict, **fields) -> dict:
    """A piece of Gemini's answer, or all of it."""
    candidate = {"content": {"role": "model", "parts": parts}, **fields}
    return {"candidates": [candidate], "usageMetadata": GEMINI_USAGE, "responseId": "r1"}


GEMINI = gemini(*GEMINI_PARTS, finishReason="STOP")
GEMINI_EVENTS = [
    b"data: " + json.dumps(one).encode() + b"\r\n\r\n"
    for one in (
        {"usageMetadata": {"promptTokenCount": 25}},
        *map(gemini, GEMINI_PARTS),
        gemini({"text": ""}, finishReason="STOP"),
    )
]
CONVERSE = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"text": "Let me see."},
                {"toolUse": {"toolUseId": "t1", "name": "look_up", "input": {"word": "cat"}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": {"inputTokens": 5, "outputTokens": 7, "totalTokens": 32, "cacheReadInputTokens": 20},
}
CONVERSE_QUESTION = [
    {
        "role": "user",
        "content": [{"text": "What is this?"}, {"image": {"format": "png", "source": {"bytes": PICTURE}}}],
    }
]
CONVERSE_TOOL = {
    "toolSpec": {
        "name": TOOL["name"],
        "description": TOOL["description"],
        "inputSchema": {"json": TOOL["input_schema"]},
    }
}
WHOLE = {
    "anthropic": MESSAGE,
    "openai_compatible": COMPLETION,
    "gemini_native": GEMINI,
    "bedrock": CONVERSE,
}
STREAMED = {
    "anthropic": MESSAGE_EVENTS,
    "openai_compatible": CHUNKS,
    "gemini_native": GEMINI_EVENTS,
    "bedrock": converse_streams.streamed(CONVERSE, cut=7),
}
# How many of a stream's events come before its first content.
PRELUDES = {"anthropic": 2, "openai_compatible": 1, "gemini_native": 1, "bedrock": 1}
SAID = {"anthropic": 5, "openai_compatible": 3, "gemini_native": 3, "bedrock": 3}
# What a kind needs of its provider, and what its streams come with.
OWN = {"bedrock": {"api_key": "ABSK-token", "options": {"region": "us-east-1"}}}
STREAM_HEADERS = {"bedrock": {"content-type": CONTENT_TYPE}}
KINDS_ASKED = sorted(WHOLE)
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def streaming(kind: str, pieces: list[bytes], **fields) -> dict:
    """How a provider of a kind streams these pieces."""
    return {"pieces": pieces, "headers": STREAM_HEADERS.get(kind, {}), **fields}


def answers(kind: str, *, streamed: bool) -> dict:
    """How a provider of a kind answers."""
    return streaming(kind, STREAMED[kind]) if streamed else {"body": json.dumps(WHOLE[kind]).encode()}


def mixed(*upstreams, policy: PoolPolicy | None = None) -> RoutingTable:
    """The pool over (kind, upstream), in order; the providers are named for their kinds."""
    held = table(dict(upstreams), policy=policy or PoolPolicy(), providers=OWN)
    made = {
        kind: replace(one, kind=kind, endpoints=KINDS[kind].serves) for kind, one in held.providers.items()
    }
    return replace(held, providers=made)


@asynccontextmanager
async def sdks(held):
    """Both SDKs at one listening gateway."""
    async with listening(held) as door:
        address = f"http://127.0.0.1:{door.port}"
        async with (
            anthropic.AsyncAnthropic(base_url=address, api_key=SECRET, max_retries=0) as own,
            openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=SECRET, max_retries=0) as other,
        ):
            yield own, other, door


def plain(message) -> dict:
    """What counts of an SDK's message."""
    content = [
        {"type": "text", "text": block.text}
        if block.type == "text"
        else {"type": "tool_use", "name": block.name, "input": block.input}
        for block in message.content
    ]
    usage = message.usage
    return {
        "content": content,
        "stop_reason": message.stop_reason,
        "tokens": (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens),
    }


EXPECTED = {
    "content": [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "name": "look_up", "input": {"word": "cat"}},
    ],
    "stop_reason": "tool_use",
    "tokens": (5, 20, 7),
}


async def ask_anthropic(own, *, streamed: bool) -> dict:
    """A question with picture and tool through Anthropic's SDK."""
    fields = {"model": "pool", "max_tokens": 100, "messages": QUESTION, "tools": [TOOL]}
    if not streamed:
        return plain(await own.messages.create(**fields))
    async with own.messages.stream(**fields) as stream:
        return plain(await stream.get_final_message())


async def ask_openai(other, *, streamed: bool) -> dict:
    """The same through OpenAI's SDK."""
    fields = {"model": "pool", "messages": CHAT_QUESTION, "tools": [CHAT_TOOL]}
    if not streamed:
        answer = await other.chat.completions.create(**fields)
    else:
        options = {"include_usage": True}
        async with other.chat.completions.stream(**fields, stream_options=options) as stream:
            answer = await stream.get_final_completion()
    (choice,) = answer.choices
    (call,) = choice.message.tool_calls
    usage = answer.usage
    return {
        "content": choice.message.content,
        "call": (call.function.name, json.loads(call.function.arguments)),
        "finish_reason": choice.finish_reason,
        "tokens": (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens),
    }


CHAT_EXPECTED = {
    "content": "Let me see.",
    "call": ("look_up", {"word": "cat"}),
    "finish_reason": "tool_calls",
    "tokens": (25, 20, 7),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS_ASKED)
async def test_anthropic_sdk_gets_its_answer_from_any_provider(upstream, kind, streamed) -> None:
    up = await upstream(**answers(kind, streamed=streamed))
    async with sdks(mixed((kind, up))) as (own, _, door):
        assert await ask_anthropic(own, streamed=streamed) == EXPECTED
        (row,) = await door.gateway.records()
    sent = up.requests[0].json
    if kind == "anthropic":
        assert (sent["messages"], sent["tools"], up.requests[0].path) == (QUESTION, [TOOL], "/v1/messages")
        assert up.requests[0].headers["x-api-key"] == "secret-of-anthropic"
    elif kind == "gemini_native":
        assert (sent["contents"], sent["tools"]) == (GEMINI_QUESTION, [GEMINI_TOOL])
    elif kind == "bedrock":
        assert (sent["messages"], sent["toolConfig"]["tools"]) == (CONVERSE_QUESTION, [CONVERSE_TOOL])
    else:
        assert (sent["messages"], sent["tools"]) == (CHAT_QUESTION, [CHAT_TOOL])
        assert up.requests[0].path == "/v1/chat/completions"
    assert SECRET not in str(up.requests[0].headers)
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens, row.outcome) == (25, 20, 7, "ok")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_openai_sdk_gets_its_answer_from_anthropic(upstream, streamed) -> None:
    up = await upstream(**answers("anthropic", streamed=streamed))
    async with sdks(mixed(("anthropic", up))) as (_, other, door):
        assert await ask_openai(other, streamed=streamed) == CHAT_EXPECTED
        (row,) = await door.gateway.records()
    (request,) = up.requests
    assert (request.json["messages"], request.json["tools"]) == (QUESTION, [TOOL])
    assert (request.headers["anthropic-version"], request.path) == ("2023-06-01", "/v1/messages")
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens) == (25, 20, 7)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_openai_sdk_gets_its_answer_from_gemini(upstream, streamed) -> None:
    up = await upstream(**answers("gemini_native", streamed=streamed))
    async with sdks(mixed(("gemini_native", up))) as (_, other, door):
        assert await ask_openai(other, streamed=streamed) == CHAT_EXPECTED
        (row,) = await door.gateway.records()
    (request,) = up.requests
    method = "streamGenerateContent?alt=sse" if streamed else "generateContent"
    assert request.json == {"contents": GEMINI_QUESTION, "tools": [GEMINI_TOOL]}
    assert (request.headers["x-goog-api-key"], request.path) == (
        "secret-of-gemini_native",
        f"/v1/models/m:{method}",
    )
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens) == (25, 20, 7)


async def test_signature_survives_the_openai_sdk(upstream) -> None:
    """What Gemini 3 wants back is an extra of the call, which the SDK's objects keep."""
    up = await upstream(**answers("gemini_native", streamed=False))
    async with sdks(mixed(("gemini_native", up))) as (_, other, _):
        fields = {"model": "pool", "tools": [CHAT_TOOL]}
        first = await other.chat.completions.create(messages=CHAT_QUESTION, **fields)
        message = first.choices[0].message.model_dump(exclude_none=True)
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "a cat"}
        await other.chat.completions.create(messages=[*CHAT_QUESTION, message, result], **fields)
    _, called, answered = up.requests[1].json["contents"]
    assert called["parts"][1]["thoughtSignature"] == "c2ln"
    assert answered["parts"][0]["functionResponse"]["response"] == {"result": "a cat"}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("first", "second"), list(permutations(KINDS_ASKED, 2)))
async def test_failover_crosses_dialects(upstream, first, second, streamed) -> None:
    """Both clients, both directions; a stream that breaks before its first content as well."""
    broken, good = await upstream(status=529), await upstream(**answers(second, streamed=streamed))
    broken.default = Script(status=503, body=json.dumps(OVERLOADED).encode())
    async with sdks(mixed((first, broken), (second, good))) as (own, other, door):
        assert await ask_anthropic(own, streamed=streamed) == EXPECTED
        assert await ask_openai(other, streamed=streamed) == CHAT_EXPECTED
        if streamed:
            broken.default = Script(**streaming(first, STREAMED[first][: PRELUDES[first]]))
            assert await ask_anthropic(own, streamed=True) == EXPECTED
            assert await ask_openai(other, streamed=True) == CHAT_EXPECTED
        rows = await door.gateway.records(4 if streamed else 2)
    assert {(row.selected_provider_name, row.attempt_count, row.failover_used) for row in rows} == {
        (second, 2, True)
    }
    assert (len(broken.requests), len(good.requests)) == ((4, 4) if streamed else (2, 2))


async def test_same_dialect_goes_straight_through(upstream) -> None:
    """Beta names, thinking signatures and cache control untouched; every byte but the model's."""
    body = (
        b'{ "max_tokens":1e2,"model" : "pool", "messages":[{"role":"user","content":[{"type":"text",'
        b'"text":"a\\u00e9","cache_control":{"type":"ephemeral"}}]},{"role":"assistant","content":[{"type":'
        b'"thinking","thinking":"t","signature":"c2ln=="}]}],"context_management":{"edits":[]}, "new":1.0 }'
    )
    answer = json.dumps({**MESSAGE, "new": 1}, indent=1).encode()
    up = await upstream(body=answer)
    headers = {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "a-2025,b-2026",
        "anthropic-next": "1",
        "anthropic-workspace-id": "w",
        "x-app": "cli",
        "cookie": "c=1",
    }
    async with serving(mixed(("anthropic", up))) as gateway:
        got = await gateway.call("POST", "/v1/messages?beta=true", body, headers)
    (request,) = up.requests
    assert request.body == body.replace(b'"pool"', b'"m"')
    assert got.body == answer
    kept = {name: value for name, value in request.headers.items() if name.startswith("anthropic-")}
    assert kept == {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "a-2025,b-2026",
        "anthropic-next": "1",
    }
    assert not {"x-app", "cookie", "authorization"} & set(request.headers)
    assert got.headers["request-id"] == got.headers["x-request-id"]
    assert got.gateway["provider"] == "anthropic"


@pytest.mark.parametrize("kind", KINDS_ASKED)
async def test_stream_that_breaks_ends_with_an_error_for_the_sdk(upstream, kind) -> None:
    """T57: the event has its line, so the SDK raises; no ``message_stop`` follows."""
    pieces = STREAMED[kind][: SAID[kind]]
    up = await upstream(**streaming(kind, pieces, cut_after_pieces=len(pieces)))
    async with sdks(mixed((kind, up))) as (own, _, door):
        texts: list[str] = []

        async def read() -> None:
            async with own.messages.stream(model="pool", max_tokens=9, messages=QUESTION) as stream:
                async for text in stream.text_stream:
                    texts.append(text)  # noqa: PERF401 - what came before the fault is kept

        with pytest.raises(anthropic.APIStatusError) as caught:
            await read()
        (row,) = await door.gateway.records()
    assert "".join(texts) == "Let me see."
    assert caught.value.body["error"]["type"] == "api_error"
    assert (row.outcome, row.status) == ("cut", 200)


@pytest.mark.parametrize(
    ("status", "error", "raised", "kind"),
    [
        (
            400,
            {"type": "invalid_request_error", "message": "No."},
            "BadRequestError",
            "invalid_request_error",
        ),
        (404, {"type": "not_found_error", "message": "model: m"}, "NotFoundError", "not_found_error"),
        (413, {"type": "request_too_large", "message": "No."}, "ContentTooLargeError", "request_too_large"),
        (429, {"type": "rate_limit_error", "message": "No."}, "RateLimitError", "rate_limit_error"),
        (500, {"type": "api_error", "message": "No."}, "InternalServerError", "api_error"),
        (529, {"type": "overloaded_error", "message": "No."}, "OverloadedError", "overloaded_error"),
    ],
)
async def test_errors_of_anthropic_reach_its_sdk_as_they_came(upstream, status, error, raised, kind) -> None:
    body = json.dumps({"type": "error", "error": error, "request_id": "req_theirs"}).encode()
    up = await upstream(status=status, body=body)
    async with sdks(mixed(("anthropic", up))) as (own, other, _):
        with pytest.raises(anthropic.APIStatusError) as caught:
            await own.messages.create(model="pool", max_tokens=9, messages=QUESTION)
        assert type(caught.value).__name__ == raised
        assert caught.value.body["error"] == error
        assert caught.value.body["request_id"] == caught.value.request_id
        if status not in {429, 529}:
            with pytest.raises(openai.APIStatusError) as told:
                await other.chat.completions.create(model="pool", messages=CHAT_QUESTION)
            assert (told.value.status_code, told.value.body["message"]) == (status, error["message"])
    assert error["type"] == kind


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_both_credential_headers_are_accepted(upstream, header) -> None:
    up = await upstream(**answers("anthropic", streamed=False))
    body = json.dumps({"model": "pool", "max_tokens": 9, "messages": QUESTION}).encode()
    async with serving(mixed(("anthropic", up))) as gateway:
        value = SECRET if header == "x-api-key" else f"Bearer {SECRET}"
        got = await gateway.call("POST", "/v1/messages", body, {"authorization": "", header: value})
        stranger = await gateway.call(
            "POST", "/v1/messages", body, {"authorization": "", header: "Bearer no"}
        )
    assert got.status == 200
    assert (stranger.status, stranger.json["error"]["type"]) == (401, "authentication_error")
    assert stranger.json["request_id"] == stranger.headers["request-id"]


async def test_what_no_candidate_can_say_is_refused_by_name(upstream) -> None:
    """Nothing is sent; another wire format in the pool is asked before."""
    up, own = await upstream(), await upstream(**answers("anthropic", streamed=False))
    tool = {"type": "web_search_20250305", "name": "web_search"}
    fields = {"model": "pool", "max_tokens": 9, "messages": QUESTION, "tools": [tool]}
    async with serving(mixed(("openai_compatible", up))) as gateway:
        refused = await gateway.call("POST", "/v1/messages", json.dumps(fields).encode())
    async with serving(mixed(("openai_compatible", up), ("anthropic", own))) as gateway:
        served = await gateway.call("POST", "/v1/messages", json.dumps(fields).encode())
    assert refused.status == 400
    assert refused.json["error"]["type"] == "invalid_request_error"
    assert refused.json["error"]["message"].startswith("tools[0].type: ")
    assert refused.headers["x-should-retry"] == "false"
    assert (served.status, served.gateway["provider"]) == (200, "anthropic")
    assert (len(up.requests), len(own.requests)) == (0, 1)


async def test_tokens_are_counted_by_a_provider_that_can(upstream) -> None:
    """T2: counting takes no ticket, so that the shares of the answers stay as they are."""
    up = await upstream(body=b'{"input_tokens":42}')
    other = await upstream()
    policy = PoolPolicy(strategy=Strategy.WEIGHTED_ROUND_ROBIN)
    held = mixed(("anthropic", up), ("openai_compatible", other), policy=policy)
    async with sdks(held) as (own, _, door):
        for _ in range(3):
            count = await own.messages.count_tokens(model="pool", messages=QUESTION)
            assert count.input_tokens == 42
        (row, *_) = await door.gateway.records(3)
    assert up.requests[0].path == "/v1/messages/count_tokens"
    assert up.requests[0].json == {"model": "m", "messages": QUESTION}
    assert (row.endpoint, row.selected_provider_name) == ("count_tokens", "anthropic")
    assert other.requests == []


async def test_counting_does_not_turn_the_wheel(upstream) -> None:
    """T2, T4: a count before each message, as some clients do, leaves the shares 1:1."""
    first, second = await upstream(), await upstream()
    held = mixed(("anthropic", first), policy=PoolPolicy(strategy=Strategy.WEIGHTED_ROUND_ROBIN))
    for up in (first, second):
        up.default = Script(body=json.dumps({**MESSAGE, "input_tokens": 1}).encode())
    spare = replace(held.providers["anthropic"], name="b", base_url=second.base_url)
    candidates = (*held.pools["pool"].candidates, Candidate("pool", "b", "m", priority=2))
    pool = Pool("pool", candidates, held.pools["pool"].policy)
    held = replace(held, providers={**held.providers, "b": spare}, pools={"pool": pool})
    body = json.dumps({"model": "pool", "max_tokens": 9, "messages": QUESTION}).encode()
    async with serving(held) as gateway:
        for _ in range(4):
            await gateway.call("POST", "/v1/messages/count_tokens", body)
            await gateway.call("POST", "/v1/messages", body)
    messages = [sum(one.path == "/v1/messages" for one in up.requests) for up in (first, second)]
    assert messages == [2, 2]


async def test_tokens_are_estimated_where_nobody_counts(upstream) -> None:
    up = await upstream()
    body = {"model": "pool", "messages": [{"role": "user", "content": "x" * 400}], "system": "y" * 40}
    async with serving(mixed(("openai_compatible", up))) as gateway:
        got = await gateway.call("POST", "/v1/messages/count_tokens", json.dumps(body).encode())
        unknown = await gateway.call(
            "POST", "/v1/messages/count_tokens", json.dumps({**body, "model": "none"}).encode()
        )
        gateway.switch(
            "openai_compatible",
            switch=replace(gateway.table.providers["openai_compatible"].switch, enabled=False),
        )
        blocked = await gateway.call("POST", "/v1/messages/count_tokens", json.dumps(body).encode())
        (row, *_) = await gateway.records(3)
    assert (got.status, got.headers["x-gateway-token-count"]) == (200, "estimated")
    assert got.json == {"input_tokens": 118}
    assert (unknown.status, unknown.json["error"]["type"]) == (404, "not_found_error")
    assert (blocked.status, blocked.json["error"]["type"]) == (503, "overloaded_error")
    assert (row.status, row.outcome, row.attempt_count) == (200, "ok", 0)
    assert up.requests == []


async def test_tokens_are_estimated_when_the_counter_is_not_built(upstream) -> None:
    up = await upstream(status=404, body=b"<html>no such page</html>")
    body = json.dumps({"model": "pool", "messages": QUESTION}).encode()
    async with serving(mixed(("anthropic", up))) as gateway:
        estimated = await gateway.call("POST", "/v1/messages/count_tokens", body)
        error = {"type": "error", "error": {"type": "not_found_error", "message": "model: m"}}
        up.default = Script(status=404, body=json.dumps(error).encode())
        unknown = await gateway.call("POST", "/v1/messages/count_tokens", body)
    assert (estimated.status, estimated.headers["x-gateway-token-count"]) == (200, "estimated")
    assert (unknown.status, unknown.json["error"]) == (404, error["error"])


async def test_models_list_reads_well_for_the_sdk(upstream) -> None:
    async with sdks(mixed(("anthropic", await upstream()))) as (own, _, _door):
        listed = [model async for model in await own.models.list(limit=1)]
        one = await own.models.retrieve("pool")
    assert [model.id for model in listed] == ["anthropic/m", "pool"]
    assert (one.id, one.type) == ("pool", "model")


async def test_session_of_a_messages_client_is_its_user_id(upstream) -> None:
    up = await upstream(**answers("anthropic", streamed=False))
    fields = {"model": "pool", "max_tokens": 9, "messages": QUESTION, "metadata": {"user_id": "u1"}}
    async with serving(mixed(("anthropic", up))) as gateway:
        first = await gateway.call("POST", "/v1/messages", json.dumps(fields).encode())
        again = await gateway.call("POST", "/v1/messages", json.dumps(fields).encode())
        chat = await gateway.chat(metadata={"user_id": "u1"})
    assert [got.gateway["affinity"] for got in (first, again, chat)] == ["miss", "hit", "none"]
