"""Gemini's wire against anything: known names with values of every shape, from clients and from providers."""

from __future__ import annotations

import contextlib

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from proxying.adapters import ADAPTERS
from proxying.adapters.base import Target
from proxying.errors import InvalidRequestError, UpstreamError
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.effort import LONG

EFFORT = settings(max_examples=3000 if LONG else 100, deadline=None)
ADAPTER = ADAPTERS["gemini"]
TARGET = Target(Provider("g", "gemini_native", "https://up.example/v1beta"), "gemini-3-pro")
WORDS = st.sampled_from(
    [
        "user",
        "assistant",
        "tool",
        "system",
        "text",
        "image_url",
        "file",
        "input_audio",
        "function",
        "auto",
        "STOP",
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
    *("role", "content", "type", "text", "refusal", "image_url", "url", "file", "file_data", "file_id"),
    *("filename", "input_audio", "data", "format", "tool_calls", "function", "name", "arguments", "id"),
    *("tool_call_id", "extra_content", "google", "thought_signature", "function_call"),
]
CHAT_NAMES = [
    *("tools", "tool_choice", "functions", "function_call", "stop", "n", "max_tokens", "response_format"),
    *("reasoning_effort", "logprobs", "top_logprobs", "modalities", "extra_body", "generationConfig"),
    *("temperature", "logit_bias", "safety_settings", "parallel_tool_calls", "stream_options"),
]
TOOL_NAMES = [
    *("type", "function", "name", "description", "parameters", "allowed_tools", "mode", "tools"),
    *("json_schema", "schema", "google", "thinking_config"),
]
ANSWER_NAMES = [
    *("candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name"),
    *("args", "id", "inlineData", "mimeType", "data", "finishReason", "finishMessage", "index"),
    *("logprobsResult", "chosenCandidates", "topCandidates", "token", "logProbability", "promptFeedback"),
    *("blockReason", "usageMetadata", "promptTokenCount", "candidatesTokenCount", "responseId"),
    *("modelVersion", "error", "code", "message", "status", "details", "embeddings", "values"),
]
MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(MESSAGE_NAMES), shapes(MESSAGE_NAMES)) | SCALARS, max_size=3
)
FIELDS = st.dictionaries(st.sampled_from(CHAT_NAMES), shapes(TOOL_NAMES), max_size=4)
ANSWER = shapes(ANSWER_NAMES)
PARTS = st.lists(st.dictionaries(st.sampled_from(ANSWER_NAMES), shapes(ANSWER_NAMES)), max_size=3)


def candidate(parts, rest):
    return {"candidates": [{"content": {"parts": parts}, **rest}]}


ANSWERS = ANSWER | st.builds(
    candidate, PARTS, st.dictionaries(st.sampled_from(ANSWER_NAMES[-24:]), ANSWER, max_size=3)
)


@EFFORT
@given(MESSAGES | SCALARS, FIELDS)
def test_any_chat_is_written_or_refused(messages, fields):
    body = parse_body(orjson.dumps({"model": "m", "messages": messages, **fields}), Endpoint.CHAT)
    with contextlib.suppress(InvalidRequestError):
        assert orjson.loads(ADAPTER.build_request(body, TARGET, {}).body)["contents"]


@EFFORT
@given(ANSWERS, FIELDS)
def test_any_whole_answer_is_one_or_the_providers_fault(answer, fields):
    body = parse_body(orjson.dumps({"model": "m", "messages": [], **fields}), Endpoint.CHAT)
    with contextlib.suppress(UpstreamError):
        parsed = ADAPTER.parse_response(200, {}, orjson.dumps(answer), body)
        assert orjson.loads(parsed.body)["choices"]


@EFFORT
@given(st.lists(ANSWERS, max_size=4), FIELDS)
def test_any_stream_is_one_or_the_providers_fault(events, fields):
    body = parse_body(orjson.dumps({"model": "m", "stream": True, "messages": [], **fields}), Endpoint.CHAT)
    translator = ADAPTER.stream(body, TARGET)
    raw = b"".join(b"data: " + orjson.dumps(event) + b"\r\n\r\n" for event in events)
    with contextlib.suppress(UpstreamError):
        assert (translator.feed(raw) + translator.end()).endswith(b"data: [DONE]\n\n")
        assert translator.finished


@EFFORT
@given(ANSWERS, shapes(["input", "encoding_format", "dimensions"]))
def test_any_embedding_is_one_or_somebodys_fault(answer, given_input):
    raw = orjson.dumps({"model": "m", "input": given_input, "encoding_format": "base64"})
    body = parse_body(raw, Endpoint.EMBEDDINGS)
    with contextlib.suppress(InvalidRequestError, UpstreamError):
        ADAPTER.build_request(body, TARGET, {})
        assert orjson.loads(ADAPTER.parse_response(200, {}, orjson.dumps(answer), body).body)["data"]


@EFFORT
@given(st.integers(400, 599), ANSWERS)
def test_any_error_is_read(status, answer):
    assert ADAPTER.parse_error(status, {}, orjson.dumps(answer), 0.0).message
