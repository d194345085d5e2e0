"""OpenAI's Responses at providers of every wire format: the real SDK over sockets."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import openai
import openai.lib.streaming.responses  # at the first stream it would take longer than the idle timeout
import pytest
from pydantic import BaseModel

from proxying import sse
from routing.types import FailoverPolicy, PoolPolicy
from tests.proxying.adapters.dialect_streams import chunk, numbered, response_of
from tests.proxying.gateway import SECRET, serving
from tests.proxying.test_views_messages import (
    CHAT_QUESTION,
    CHAT_TOOL,
    CONVERSE_QUESTION,
    CONVERSE_TOOL,
    GEMINI_QUESTION,
    GEMINI_TOOL,
    PICTURE,
    PRELUDES,
    QUESTION,
    STREAMED,
    TOOL,
    WHOLE,
    mixed,
    sdks,
    streaming,
)
from tests.proxying.test_views_messages import (
    SAID as TEXTS,
)
from tests.upstream import Script

pytestmark = pytest.mark.anyio

INPUT = [
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}", "detail": "auto"},
        ],
    }
]
FUNCTION = {
    "type": "function",
    "name": TOOL["name"],
    "description": TOOL["description"],
    "parameters": TOOL["input_schema"],
    "strict": False,
}
USAGE = {
    "input_tokens": 25,
    "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 32,
}
BEGUN = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "in_progress",
    "model": "m",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
SAID = {"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}
MESSAGE = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [SAID]}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "look_up",
    "arguments": '{"word":"cat"}',
}
NATIVE = {**BEGUN, "status": "completed", "output": [MESSAGE, CALL], "usage": USAGE}
PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
CALL_PLACE = {"item_id": "fc_1", "output_index": 1}
EVENTS = numbered(
    ("created", {"response": BEGUN}),
    ("in_progress", {"response": BEGUN}),
    ("output_item.added", {"output_index": 0, "item": {**MESSAGE, "status": "in_progress", "content": []}}),
    ("content_part.added", {**PLACE, "part": {**SAID, "text": ""}}),
    ("output_text.delta", {**PLACE, "delta": "Let me ", "logprobs": []}),
    ("output_text.delta", {**PLACE, "delta": "see.", "logprobs": []}),
    ("output_text.done", {**PLACE, "text": SAID["text"], "logprobs": []}),
    ("content_part.done", {**PLACE, "part": SAID}),
    ("output_item.done", {"output_index": 0, "item": MESSAGE}),
    ("output_item.added", {"output_index": 1, "item": {**CALL, "status": "in_progress", "arguments": ""}}),
    ("function_call_arguments.delta", {**CALL_PLACE, "delta": CALL["arguments"]}),
    ("function_call_arguments.done", {**CALL_PLACE, "arguments": CALL["arguments"]}),
    ("output_item.done", {"output_index": 1, "item": CALL}),
    ("completed", {"response": NATIVE}),
)
WHOLES = {**WHOLE, "openai": NATIVE}
STREAMS = {**STREAMED, "openai": EVENTS}
BEFORE_CONTENT = {**PRELUDES, "openai": 4}
# How many of a stream's events say something, up to the end of the text.
SAID_BY = {**TEXTS, "openai": 6}
KINDS_ASKED = sorted(WHOLES)
EXPECTED = {
    "text": "Let me see.",
    "call": ("look_up", {"word": "cat"}),
    "status": "completed",
    "tokens": (25, 20, 7, 32),
}


def answers(kind: str, *, streamed: bool) -> dict:
    """How a provider of a kind answers."""
    return streaming(kind, STREAMS[kind]) if streamed else {"body": json.dumps(WHOLES[kind]).encode()}


def plain(response) -> dict:
    """What counts of the SDK's response."""
    (call,) = [item for item in response.output if item.type == "function_call"]
    usage = response.usage
    return {
        "text": response.output_text,
        "call": (call.name, json.loads(call.arguments)),
        "status": response.status,
        "tokens": (
            usage.input_tokens,
            usage.input_tokens_details.cached_tokens,
            usage.output_tokens,
            usage.total_tokens,
        ),
    }


async def ask(client, *, streamed: bool, **fields) -> dict:
    """A question with picture and tool."""
    asked = {"model": "pool", "input": INPUT, "tools": [FUNCTION], **fields}
    if not streamed:
        return plain(await client.responses.create(**asked))
    async with client.responses.stream(**asked) as stream:
        return plain(await stream.get_final_response())


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS_ASKED)
async def test_sdk_gets_its_answer_from_any_provider(upstream, kind, streamed) -> None:
    up = await upstream(**answers(kind, streamed=streamed))
    async with sdks(mixed((kind, up))) as (_, client, door):
        assert await ask(client, streamed=streamed) == EXPECTED
        (row,) = await door.gateway.records()
    (sent,) = up.requests
    if kind == "openai":
        assert (sent.json["input"], sent.json["tools"], sent.path) == (INPUT, [FUNCTION], "/v1/responses")
    elif kind == "anthropic":
        assert (sent.json["messages"], sent.json["tools"]) == (QUESTION, [TOOL])
    elif kind == "gemini_native":
        assert (sent.json["contents"], sent.json["tools"]) == (GEMINI_QUESTION, [GEMINI_TOOL])
    elif kind == "bedrock":
        assert (sent.json["messages"], sent.json["toolConfig"]["tools"]) == (
            CONVERSE_QUESTION,
            [CONVERSE_TOOL],
        )
    else:
        assert (sent.json["messages"], sent.json["tools"]) == (CHAT_QUESTION, [CHAT_TOOL])
        assert sent.path == "/v1/chat/completions"
    assert SECRET not in str(sent.headers)
    assert (row.endpoint, row.outcome) == ("responses", "ok")
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens) == (25, 20, 7)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("first", "second"), list(permutations(KINDS_ASKED, 2)))
async def test_failover_crosses_wires(upstream, first, second, streamed) -> None:
    """T38: a stream that breaks before its first content as well."""
    error = json.dumps({"error": {"type": "overloaded_error", "message": "Overloaded"}}).encode()
    broken, good = (
        await upstream(status=503, body=error),
        await upstream(**answers(second, streamed=streamed)),
    )
    async with sdks(mixed((first, broken), (second, good))) as (_, client, door):
        assert await ask(client, streamed=streamed) == EXPECTED
        if streamed:
            broken.default = Script(**streaming(first, STREAMS[first][: BEFORE_CONTENT[first]]))
            assert await ask(client, streamed=True) == EXPECTED
        rows = await door.gateway.records(1 + streamed)
    assert {(row.selected_provider_name, row.attempt_count, row.failover_used) for row in rows} == {
        (second, 2, True)
    }
    assert (len(broken.requests), len(good.requests)) == (1 + streamed, 1 + streamed)


async def test_error_in_a_native_stream_before_content_fails_over(upstream) -> None:
    """With the status that its code means, where nobody else is left."""
    failed = {**BEGUN, "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow."}}
    broken = await upstream(pieces=[*EVENTS[:4], *numbered(("failed", {"response": failed}))])
    good = await upstream(**answers("anthropic", streamed=True))
    async with sdks(mixed(("openai", broken), ("anthropic", good))) as (_, client, _):
        assert await ask(client, streamed=True) == EXPECTED
    async with sdks(mixed(("openai", broken))) as (_, client, _):
        with pytest.raises(openai.RateLimitError) as told:
            await ask(client, streamed=True)
    assert told.value.code == "rate_limit_exceeded"


async def gather(stream, seen: list) -> None:
    async for event in stream:
        seen.append(event)  # noqa: PERF401 - what came before the error is wanted


@pytest.mark.parametrize("kind", KINDS_ASKED)
async def test_stream_that_breaks_after_content_raises_in_the_sdk(upstream, kind) -> None:
    up = await upstream(**streaming(kind, STREAMS[kind][: SAID_BY[kind]]))
    async with sdks(mixed((kind, up))) as (_, client, door):
        stream = await client.responses.create(model="pool", input="hi", stream=True)
        seen: list = []
        with pytest.raises(openai.APIError) as told:
            await gather(stream, seen)
        (row,) = await door.gateway.records()
    assert seen[-1].type != "response.completed"
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert (told.value.code, row.outcome) == ("upstream_protocol_error", "cut")


async def test_error_event_is_followed_by_a_failed_response(upstream) -> None:
    """Codex ignores ``error`` and reads the reason from ``response.failed``."""
    up = await upstream(pieces=[chunk({"content": "one "})])
    body = b'{"model":"pool","input":"hi","stream":true,"instructions":"Be brief."}'
    async with serving(mixed(("openai_compatible", up))) as gateway:
        got = await gateway.call("POST", "/v1/responses", body)
    *_, before, error, failed, end = got.body.split(b"\n\n")
    numbers = [
        json.loads(block.split(b"\ndata: ")[1])["sequence_number"] for block in (before, error, failed)
    ]
    ending = json.loads(failed.removeprefix(b"event: response.failed\ndata: "))["response"]
    assert (numbers[1:], end) == ([numbers[0] + 1, numbers[0] + 2], b"")
    assert (ending["id"], ending["status"], ending["instructions"]) == ("resp_c1", "failed", "Be brief.")
    assert ending["error"]["code"] == "upstream_protocol_error"


class Word(BaseModel):
    word: str


async def test_sdk_parses_what_was_asked_for_in_a_schema(upstream) -> None:
    up = await upstream(pieces=None)
    text = '{"word":"cat"}'
    message = {"role": "assistant", "content": text}
    whole = {
        **WHOLE["openai_compatible"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    up.default = Script(body=json.dumps(whole).encode())
    async with sdks(mixed(("openai_compatible", up))) as (_, client, _):
        parsed = await client.responses.parse(model="pool", input="hi", text_format=Word)
    assert parsed.output_parsed == Word(word="cat")
    form = up.requests[0].json["response_format"]
    assert (form["type"], form["json_schema"]["name"], form["json_schema"]["strict"]) == (
        "json_schema",
        "Word",
        True,
    )


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS_ASKED)
async def test_conversation_goes_on_with_what_the_sdk_sends_back(upstream, kind, streamed) -> None:
    """The output of one answer is the input of the next, at any other provider."""
    up = await upstream(**answers(kind, streamed=streamed))
    fields = {"model": "pool", "tools": [FUNCTION], "stream": streamed}
    async with sdks(mixed((kind, up))) as (_, client, _):
        first = await client.responses.create(input=INPUT, **fields)
        if streamed:
            (first,) = [event.response async for event in first if event.type == "response.completed"]
        output = [item.model_dump(exclude_none=True) for item in first.output]
        result = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "a cat"}
        for other in KINDS_ASKED:
            held = await upstream(**answers(other, streamed=False))
            body = {"model": "pool", "input": [*INPUT, *output, result]}
            async with serving(mixed((other, held))) as gateway:
                got = await gateway.call("POST", "/v1/responses", json.dumps(body).encode())
            assert (got.status, len(held.requests)) == (200, 1)
            sent = held.requests[0].json
            if other == "openai_compatible":
                called = sent["messages"][1]
                assert (called["content"], called["tool_calls"][0]["function"]["name"]) == (
                    "Let me see.",
                    "look_up",
                )
                assert sent["messages"][2]["content"] == "a cat"


async def test_codex_request_is_served_by_chat(upstream) -> None:
    """The body of Codex 0.169 as it came, shortened."""
    raw = (Path(__file__).parent / "adapters/data/codex_request.json").read_bytes()
    up = await upstream(**answers("openai_compatible", streamed=True))
    async with serving(mixed(("openai_compatible", up))) as gateway:
        headers = {"originator": "codex_exec", "accept": "text/event-stream", "x-codex-turn-metadata": "{}"}
        got = await gateway.call("POST", "/v1/responses", raw, headers)
        (row,) = await gateway.records()
    answer = response_of(got.body)
    assert (answer["status"], answer["store"], row.affinity) == ("completed", False, "miss")
    sent = up.requests[0].json
    names = [tool["function"]["name"] for tool in sent["tools"]]
    assert [message["role"] for message in sent["messages"]] == ["system", "system", "user", "user"]
    assert {type(message["content"]) for message in sent["messages"]} == {str}
    assert names == [
        *("exec_command", "view_image"),
        *("multi_agent_v1__close_agent", "multi_agent_v1__resume_agent"),
    ]
    assert sent.keys() == {
        *("model", "messages", "tools", "tool_choice", "stream", "stream_options"),
    }
    assert up.requests[0].headers.keys() & {"originator", "x-codex-turn-metadata"} == set()


# What one provider keeps


async def test_what_is_stored_is_asked_of_native_candidates_once(upstream) -> None:
    """Those that cannot have it are passed over unasked; the error is the provider's own, not another's."""
    chat, first, second = await upstream(), await upstream(status=503, body=b"{}"), await upstream()
    held = mixed(("openai_compatible", chat), ("openai", first), ("xai", second))
    body = b'{"model":"pool","input":"hi","previous_response_id":"resp_1"}'
    async with serving(held) as gateway:
        got = await gateway.call("POST", "/v1/responses", body)
    assert (got.status, got.gateway["provider"], got.gateway["attempts"]) == (503, "openai", "1")
    assert [len(up.requests) for up in (chat, first, second)] == [0, 1, 0]


async def test_what_is_stored_is_refused_where_nobody_keeps_it(upstream) -> None:
    up = await upstream()
    body = b'{"model":"pool","input":"hi","previous_response_id":"resp_1"}'
    async with serving(mixed(("openai_compatible", up))) as gateway:
        got = await gateway.call("POST", "/v1/responses", body)
    assert (got.status, got.error["param"], got.error["code"], got.headers["x-should-retry"]) == (
        400,
        "previous_response_id",
        "unsupported_value",
        "false",
    )
    assert up.requests == []


async def test_session_leads_back_to_the_provider_that_keeps_the_answer(upstream) -> None:
    first, second = (
        await upstream(status=503, body=b"{}"),
        await upstream(**answers("openai", streamed=False)),
    )
    policy = PoolPolicy(failover=FailoverPolicy(enabled=True))
    async with serving(mixed(("xai", first), ("openai", second), policy=policy)) as gateway:
        body = {"model": "pool", "input": "hi", "prompt_cache_key": "s"}
        await gateway.call("POST", "/v1/responses", json.dumps(body).encode())
        body["previous_response_id"] = "resp_1"
        got = await gateway.call("POST", "/v1/responses", json.dumps(body).encode())
    assert (got.status, got.gateway["provider"], got.gateway["affinity"]) == (200, "openai", "hit")
    assert (len(first.requests), second.requests[1].json["previous_response_id"]) == (1, "resp_1")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1/responses/compact"),
    ],
)
async def test_stored_responses_are_not_found(upstream, method, path) -> None:
    async with serving(mixed(("openai", await upstream()))) as gateway:
        got = await gateway.call(method, path)
        stranger = await gateway.call(method, path, headers={"authorization": "Bearer no"})
    assert (got.status, got.error["code"], got.headers["x-should-retry"]) == (
        404,
        "response_not_stored",
        "false",
    )
    assert path in got.error["message"]
    assert (stranger.status, stranger.error["code"]) == (401, "invalid_api_key")


async def test_candidate_that_cannot_talk_is_not_selected(upstream) -> None:
    up = await upstream()
    held = mixed(("openai", up))
    mute = {name: replace(one, endpoints=frozenset()) for name, one in held.providers.items()}
    async with serving(replace(held, providers=mute)) as gateway:
        got = await gateway.call("POST", "/v1/responses", b'{"model":"pool","input":"hi"}')
    assert (got.status, got.error["code"]) == (400, "unsupported_endpoint")
    assert up.requests == []


async def test_done_of_chat_is_not_passed_on(upstream) -> None:
    """T56: the stream ends with its last event."""
    up = await upstream(pieces=[*STREAMED["openai_compatible"]])
    async with serving(mixed(("openai_compatible", up))) as gateway:
        got = await gateway.call("POST", "/v1/responses", b'{"model":"pool","input":"hi","stream":true}')
    assert sse.DONE not in got.body
    assert response_of(got.body)["usage"] == USAGE
