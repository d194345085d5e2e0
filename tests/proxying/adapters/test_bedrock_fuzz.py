"""Bedrock's wire against anything: known names with values of every shape, from both sides."""

from __future__ import annotations

import contextlib

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from proxying.adapters import ADAPTERS
from proxying.adapters.base import Target
from proxying.errors import InvalidRequestError, UpstreamError
from proxying.eventstream import encode
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.effort import LONG

EFFORT = settings(max_examples=3000 if LONG else 100, deadline=None)
ADAPTER = ADAPTERS["bedrock"]
PROVIDER = Provider("b", "bedrock", "https://bedrock-runtime.us-east-1.amazonaws.com")
TARGET = Target(PROVIDER, "anthropic.claude-opus-4-6-v1")
WORDS = st.sampled_from(
    [
        *("user", "assistant", "tool", "system", "text", "image_url", "file", "input_audio", "function"),
        *("auto", "required", "none", "end_turn", "tool_use", "max_tokens", "high", "s3://b/a.png"),
        *("data:image/png;base64,aGk=", "a.pdf", "mp3", "json_schema", "server_tool_use"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | WORDS


def shapes(names):
    """JSON whose objects have these names."""
    return st.recursive(
        SCALARS | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=4)
        ),
        max_leaves=12,
    )


MESSAGE_NAMES = [
    *("role", "content", "type", "text", "refusal", "image_url", "video_url", "url", "file", "file_data"),
    *("file_id", "filename", "input_audio", "data", "format", "tool_calls", "function", "name", "arguments"),
    *("id", "tool_call_id", "function_call", "reasoning_details", "signature", "cache_control", "ttl"),
    *("image", "cachePoint", "is_error"),
]
CHAT_NAMES = [
    *("tools", "tool_choice", "functions", "function_call", "stop", "n", "max_tokens", "response_format"),
    *("reasoning_effort", "logprobs", "top_k", "thinking", "inferenceConfig", "outputConfig", "temperature"),
    *("additionalModelRequestFields", "guardrailConfig", "parallel_tool_calls", "stream_options", "top_p"),
]
TOOL_NAMES = [
    *("type", "function", "name", "description", "parameters", "allowed_tools", "mode", "tools"),
    *("json_schema", "schema", "toolSpec", "cache_control", "strict"),
]
ANSWER_NAMES = [
    *("output", "message", "content", "text", "toolUse", "toolUseId", "name", "input", "type", "image"),
    *("reasoningContent", "reasoningText", "signature", "redactedContent", "citationsContent", "citations"),
    *("location", "web", "url", "title", "source", "bytes", "format", "stopReason", "usage", "inputTokens"),
    *("outputTokens", "cacheReadInputTokens", "start", "delta", "contentBlockIndex", "citation"),
    *("originalStatusCode", "originalMessage", "__type", "code"),
]
KINDS = st.sampled_from(
    [
        *("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"),
        *("metadata", "novelty"),
    ]
)
MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(MESSAGE_NAMES), shapes(MESSAGE_NAMES)) | SCALARS, max_size=3
)
FIELDS = st.dictionaries(st.sampled_from(CHAT_NAMES), shapes(TOOL_NAMES), max_size=4)
ANSWER = shapes(ANSWER_NAMES)
OBJECT = st.dictionaries(st.sampled_from(ANSWER_NAMES), ANSWER, max_size=4)


def answer(blocks, rest):
    return {"output": {"message": {"content": blocks}}, **rest}


ANSWERS = ANSWER | st.builds(answer, st.lists(OBJECT | ANSWER, max_size=3), OBJECT)


def message(kind, name, data):
    return encode({"message-type": kind, f"{kind}-type": name}, orjson.dumps(data))


EVENTS = st.builds(
    message,
    st.sampled_from(["event"] * 8 + ["exception", "error", "novelty"]),
    KINDS,
    ANSWER | st.builds(lambda held, index: {**held, "contentBlockIndex": index}, OBJECT, st.integers(0, 2)),
)


@EFFORT
@given(MESSAGES | SCALARS, FIELDS)
def test_any_chat_is_written_or_refused(messages, fields):
    body = parse_body(orjson.dumps({"model": "m", "messages": messages, **fields}), Endpoint.CHAT)
    with contextlib.suppress(InvalidRequestError):
        assert orjson.loads(ADAPTER.build_request(body, TARGET, {}).body)["messages"]


@EFFORT
@given(ANSWERS, FIELDS)
def test_any_whole_answer_is_one_or_the_providers_fault(data, fields):
    body = parse_body(orjson.dumps({"model": "m", "messages": [], **fields}), Endpoint.CHAT)
    with contextlib.suppress(UpstreamError):
        parsed = ADAPTER.parse_response(200, {}, orjson.dumps(data), body)
        assert orjson.loads(parsed.body)["choices"]


@EFFORT
@given(st.lists(EVENTS, max_size=6), FIELDS, st.integers(1, 200), st.none() | st.integers(0, 2000))
def test_any_stream_is_one_or_the_providers_fault(events, fields, size, damaged):
    body = parse_body(orjson.dumps({"model": "m", "stream": True, "messages": [], **fields}), Endpoint.CHAT)
    translator = ADAPTER.stream(body, TARGET)
    raw = bytearray(b"".join(events))
    if damaged is not None and damaged < len(raw):
        raw[damaged] ^= 0x10
    with contextlib.suppress(UpstreamError):
        out = b"".join(translator.feed(bytes(raw[at : at + size])) for at in range(0, len(raw), size))
        assert (out + translator.end()).endswith(b"data: [DONE]\n\n")
        assert translator.finished


@EFFORT
@given(st.integers(400, 599), ANSWERS, st.text(max_size=9))
def test_any_error_is_read(status, data, kind):
    headers = {"x-amzn-errortype": kind} if kind else {}
    assert ADAPTER.parse_error(status, headers, orjson.dumps(data), 0.0).message
