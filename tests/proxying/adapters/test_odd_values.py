"""Something else than expected in every place of requests, answers, streams and errors.

It is the client's fault or the provider's, and never an exception that nobody expects: that would be a 500
for the client, and a provider's slot that is never given back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from proxying import eventstream, sse
from proxying.adapters import adapter_for
from proxying.adapters.base import Target
from proxying.adapters.gateway_thinking import SIGNATURE_TEXT
from proxying.errors import (
    GatewayError,
    InvalidRequestError,
    UpstreamError,
    UpstreamStatusError,
    render,
    render_event,
    scrub_error,
)
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.proxying.adapters.converse_streams import delta, ending, streamed

MODELS = {
    "openai_compatible": "m",
    "openai": "gpt-5",
    "openrouter": "anthropic/claude",
    "anthropic": "claude-sonnet-4-6",
    "gemini_native": "gemini-3-pro",
    "bedrock": "anthropic.claude-sonnet-4-6-v1:0",
}
DEEP = json.loads("[" * 600 + "1" + "]" * 600)
ODD = [True, 7, "x", [{}], {"type": []}, DEEP, {"a": DEEP}]

SIGNED = [
    {"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic-claude-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "d", "format": "anthropic-claude-v1", "index": 1},
]
GOOGLE = {"google": {"thought_signature": "s"}}
CALL = {
    "id": "1",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
    "extra_content": GOOGLE,
}
CHAT = {
    "model": "m",
    "max_tokens": 2000,
    "stop": ["a"],
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "messages": [
        {
            "role": "system",
            "content": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "file", "file": {"filename": "a", "file_data": "data:application/pdf;base64,AA"}},
            ],
        },
        {"role": "assistant", "content": "c", "reasoning_details": SIGNED, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "r"}]},
    ],
}
MESSAGES = {
    "model": "m",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "f"},
    "metadata": {"user_id": "u"},
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
                {"type": "document", "title": "t", "source": {"type": "text", "data": "AA"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": SIGNATURE_TEXT},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{}]}]},
    ],
}
RESPONSES = {
    "model": "m",
    "instructions": "i",
    "max_output_tokens": 100,
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
    "tools": [{"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "g"}]}],
    "input": [
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "x"}], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "r"}]},
    ],
}
REQUESTS = [(Endpoint.CHAT, CHAT), (Endpoint.MESSAGES, MESSAGES), (Endpoint.RESPONSES, RESPONSES)]

OPENAI_MESSAGE = {
    "content": "hi",
    "refusal": "no",
    "reasoning_content": "t",
    "reasoning_details": SIGNED,
    "annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}],
    "tool_calls": [{"index": 0, **CALL}],
}
ENDS = {"index": 0, "finish_reason": "stop"}
ANTHROPIC_BLOCKS = [
    {"type": "thinking", "thinking": "t", "signature": "s"},
    {"type": "redacted_thinking", "data": "d"},
    {"type": "text", "text": "x", "citations": [{"url": "u", "title": "t"}]},
    {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
]
GEMINI_PARTS = [
    {"text": "t", "thought": True, "thoughtSignature": "s"},
    {"text": "x"},
    {"inlineData": {"mimeType": "image/png", "data": "AA"}},
    {"functionCall": {"name": "f", "args": {"a": 1}}},
]
CHOSEN = {"chosenCandidates": [{"token": "a"}], "topCandidates": [{"candidates": [{"token": "a"}]}]}
CITED = {"content": [{"text": "c"}], "citations": [{"location": {"web": {"url": "u"}}}]}
CONVERSE_BLOCKS = [
    {"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}},
    {"text": "x"},
    {"citationsContent": CITED},
    {"toolUse": {"toolUseId": "1", "name": "f", "input": {"a": 1}}},
]
CONVERSE = {"output": {"message": {"content": CONVERSE_BLOCKS}}, "stopReason": "end_turn", "usage": {}}
ANSWERS = {
    "openai_compatible": {"id": "c", "model": "m", "choices": [{**ENDS, "message": OPENAI_MESSAGE}]},
    "anthropic": {"id": "c", "model": "m", "content": ANTHROPIC_BLOCKS, "stop_reason": "end_turn"},
    "gemini_native": {
        "responseId": "r",
        "candidates": [
            {"content": {"parts": GEMINI_PARTS}, "finishReason": "STOP", "logprobsResult": CHOSEN}
        ],
    },
    "bedrock": CONVERSE,
}


def events_of_anthropic() -> list[Any]:
    events: list[Any] = [{"type": "message_start", "message": {"id": "i", "model": "m", "usage": {}}}]
    deltas = [
        {"type": "thinking_delta", "thinking": "x"},
        {"type": "signature_delta", "signature": "x"},
        {"type": "citations_delta", "citation": {"url": "u"}},
        {"type": "input_json_delta", "partial_json": "{}"},
    ]
    for index, block in enumerate(ANTHROPIC_BLOCKS):
        events += [
            {"type": "content_block_start", "index": index, "content_block": block},
            {"type": "content_block_delta", "index": index, "delta": deltas[index]},
            {"type": "content_block_stop", "index": index},
        ]
    ending = {"stop_reason": "end_turn", "stop_details": {"explanation": "e"}}
    return [*events, {"type": "message_delta", "delta": ending, "usage": {}}, {"type": "message_stop"}]


STREAMS = {
    "openai_compatible": [
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": OPENAI_MESSAGE}]},
        {"choices": [{**ENDS, "delta": {}}], "x_groq": {"usage": {}}},
        {"choices": [], "usage": {}},
    ],
    "openai": [
        {"type": "response.created", "sequence_number": 0, "response": {"id": "r"}},
        {"type": "response.output_item.added", "sequence_number": 1, "item": {"type": "message"}},
        {"type": "response.output_text.delta", "sequence_number": 2, "delta": "x"},
        {"type": "response.completed", "sequence_number": 3, "response": {"usage": {}}},
    ],
    "anthropic": events_of_anthropic(),
    "gemini_native": [ANSWERS["gemini_native"]],
}
ERRORS = [
    {"error": {"message": "m", "type": "t", "code": "c", "details": [{"reason": "X", "retryDelay": "3s"}]}},
    {"type": "error", "error": {"type": "invalid_request_error", "message": "m", "details": {}}},
    {"detail": [{"msg": "x"}]},
    {"code": "c", "error": "text"},
    {"message": "m", "__type": "ThrottlingException", "originalStatusCode": 400},
]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a value but the value itself."""
    if place:
        yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in pairs:
        yield from places(held, (*place, key))


def with_odd(value: Any, place: tuple[Any, ...], odd: Any) -> Any:
    """The value with something odd at a place."""
    if not place:
        return odd
    copy = value.copy()
    copy[place[0]] = with_odd(value[place[0]], place[1:], odd)
    return copy


def variants(value: Any) -> Iterator[Any]:
    return (with_odd(value, place, odd) for place in places(value) for odd in ODD)


def target(kind: str) -> Target:
    return Target(Provider("p", kind, "https://up.example/v1"), MODELS[kind])


def bodies() -> list[Any]:
    return [parse_body(json.dumps(body).encode(), endpoint) for endpoint, body in REQUESTS]


def tell(error: UpstreamError) -> None:
    """What becomes of every error of a provider's."""
    scrub_error(error, "sk-1234567890", "http://up.example:1/v1")
    for dialect in ("openai", "anthropic", "responses"):
        assert render(error, dialect, "r")[2]
        assert render_event(error, dialect, "r")


@pytest.mark.parametrize(("endpoint", "body"), REQUESTS, ids=[str(endpoint) for endpoint, _ in REQUESTS])
@pytest.mark.parametrize("kind", MODELS)
def test_odd_request_is_sent_or_refused(kind, endpoint, body):
    adapter = adapter_for(target(kind).provider, endpoint)
    for odd in variants(body):
        try:
            given = parse_body(json.dumps(odd).encode(), endpoint)
        except GatewayError:
            continue
        with suppress(InvalidRequestError):
            assert adapter.build_request(given, target(kind), {}).body


@pytest.mark.parametrize("kind", ANSWERS)
def test_odd_answer_is_relayed_or_the_providers_fault(kind):
    for body in bodies():
        adapter = adapter_for(target(kind).provider, body.endpoint)
        for odd in variants(ANSWERS[kind]):
            try:
                assert adapter.parse_response(200, {}, json.dumps(odd).encode(), body).body
            except UpstreamError as error:
                tell(error)


def raw_stream(events: list[Any]) -> bytes:
    raw = b""
    for event in events:
        kind = event.get("type") if isinstance(event, dict) else None
        raw += sse.encode_event(json.dumps(event).encode(), kind.encode() if isinstance(kind, str) else b"")
    return raw


def relay(kind: str, raw: bytes, body: Any) -> None:
    stream = adapter_for(target(kind).provider, body.endpoint).stream(body, target(kind))
    try:
        stream.feed(raw)
        stream.end()
    except UpstreamError as error:
        tell(error)


@pytest.mark.parametrize("kind", STREAMS)
def test_odd_stream_is_relayed_or_the_providers_fault(kind):
    for body in bodies() if kind != "openai" else bodies()[-1:]:
        for number, event in enumerate(STREAMS[kind]):
            for odd in variants(event):
                events = [*STREAMS[kind][:number], odd, *STREAMS[kind][number + 1 :]]
                relay(kind, raw_stream(events) + sse.DONE * (kind == "openai_compatible"), body)


def test_odd_stream_of_converse_is_relayed_or_the_providers_fault():
    answer = with_odd(CONVERSE, ("output", "message", "content"), CONVERSE_BLOCKS[:2] + CONVERSE_BLOCKS[3:])
    events = [*streamed(answer)[:-2], delta(1, citation=CITED["citations"][0]), *ending()]
    messages = list(eventstream.Splitter().feed(b"".join(events)))
    for body in bodies():
        for number, message in enumerate(messages):
            for odd in variants(json.loads(message.payload)):
                sent = [
                    eventstream.encode(one.headers, json.dumps(odd).encode() if n == number else one.payload)
                    for n, one in enumerate(messages)
                ]
                relay("bedrock", b"".join(sent), body)


@pytest.mark.parametrize("kind", MODELS)
def test_odd_error_is_told(kind):
    adapter = adapter_for(target(kind).provider, Endpoint.CHAT)
    for error in ERRORS:
        for odd in variants(error):
            raw = json.dumps(odd).encode()
            for status in (400, 401, 529):
                tell(UpstreamStatusError(adapter.parse_error(status, {}, raw, 0.0)))
