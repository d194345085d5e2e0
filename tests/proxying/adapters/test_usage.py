"""Token counts that no answer can have are none: they fit no column, and their sum no JSON writer."""

from __future__ import annotations

import json

import pytest

from proxying import sse
from proxying.adapters import adapter_for
from proxying.adapters.base import MOST_TOKENS, Target, Usage, token_count
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.proxying.adapters.converse_streams import streamed

CHAT = parse_body(
    b'{"model":"m","max_tokens":9,"stream_options":{"include_usage":true},'
    b'"messages":[{"role":"user","content":"hi"}]}',
    Endpoint.CHAT,
)
MESSAGES = parse_body(
    b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}', Endpoint.MESSAGES
)
RESPONSES = parse_body(b'{"model":"m","input":"hi"}', Endpoint.RESPONSES)
OPENAI_CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}


def openai_answer(count):
    return {
        "choices": [OPENAI_CHOICE],
        "usage": {
            "prompt_tokens": count,
            "completion_tokens": count,
            "prompt_tokens_details": {"cached_tokens": count, "cache_write_tokens": count},
            "completion_tokens_details": {"reasoning_tokens": count},
        },
    }


def anthropic_answer(count):
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    usage = {**dict.fromkeys(names, count), "output_tokens_details": {"thinking_tokens": count}}
    return {"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": usage}


def gemini_answer(count):
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount")
    candidate = {"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": dict.fromkeys(names, count)}


def bedrock_answer(count):
    names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    message = {"role": "assistant", "content": [{"text": "hi"}]}
    return {"output": {"message": message}, "stopReason": "end_turn", "usage": dict.fromkeys(names, count)}


ANSWERS = {
    "openai_compatible": openai_answer,
    "anthropic": anthropic_answer,
    "gemini_native": gemini_answer,
    "bedrock": bedrock_answer,
}
ABSURD = (MOST_TOKENS + 1, 2**63, 2**64 - 1, 1e300)


def streamed_answer(kind, answer):
    """The same as a stream, where the wire format has the counts of a stream elsewhere than an answer's."""
    if kind == "bedrock":
        return b"".join(streamed(answer))
    if kind == "gemini_native":
        return sse.encode_event(json.dumps(answer).encode())
    if kind == "openai_compatible":
        chunk = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
        counts = {"choices": [], "usage": answer["usage"]}
        return b"".join(sse.encode_event(json.dumps(one).encode()) for one in (chunk, counts)) + sse.DONE
    ending = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": answer["usage"]}
    events = ({"type": "message_start", "message": {"content": []}}, ending, {"type": "message_stop"})
    return b"".join(sse.encode_event(json.dumps(one).encode(), one["type"].encode()) for one in events)


@pytest.mark.parametrize("count", ABSURD)
@pytest.mark.parametrize("body", [CHAT, MESSAGES, RESPONSES], ids=["chat", "messages", "responses"])
@pytest.mark.parametrize("kind", ANSWERS)
def test_absurd_counts_are_none_and_the_answer_is_written(kind, body, count):
    provider = Provider("p", kind, "https://up.example/v1")
    adapter, answer = adapter_for(provider, body.endpoint), ANSWERS[kind](count)
    whole = adapter.parse_response(200, {}, json.dumps(answer).encode(), body)
    stream = adapter.stream(body, Target(provider, "m"))
    relayed = stream.feed(streamed_answer(kind, answer)) + stream.end()
    assert (whole.usage, stream.usage) == (Usage(), Usage())
    assert b"hi" in whole.body
    assert relayed


def test_largest_counts_and_their_sums_fit_a_record():
    adapter = adapter_for(Provider("p", "anthropic", "https://up.example/v1"), Endpoint.MESSAGES)
    answer = json.dumps(anthropic_answer(MOST_TOKENS)).encode()
    usage = adapter.parse_response(200, {}, answer, MESSAGES).usage
    assert usage.prompt_tokens == 3 * MOST_TOKENS
    assert usage.prompt_tokens < 2**31  # what PostgreSQL's integer holds


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), (7, 7), (7.0, 7), (7.5, None), (-1, None), (True, None), ("7", None), (None, None), ([], None)],
)
def test_token_count_is_a_whole_number_from_zero(value, count):
    assert token_count(value) == count
