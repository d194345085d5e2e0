"""Replays every recorded chat completion, of all vendors, for clients of OpenAI's Responses."""

from __future__ import annotations

import json

import pytest

from proxying.adapters import ADAPTERS
from proxying.adapters.base import ClientBody, Target
from proxying.errors import InvalidRequestError
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.conformance.recordings import recordings
from tests.conformance.test_fixtures_messages import CHATS, cases
from tests.conformance.test_fixtures_openai import ADAPTER, relay, target_of
from tests.proxying.adapters.dialect_streams import events_of, response_of

pytestmark = pytest.mark.recordings

OWN = [one for one in recordings("openai") if one.path.endswith("/responses") and one.request]
# What a wire cannot say of a recording, and the field that is named.
REFUSED = dict.fromkeys(
    [("openai/responses-stream-logprobs", wire) for wire in ("anthropic", "bedrock")], "include"
)
ENDS = {"length": "incomplete", "content_filter": "incomplete"}


def request() -> ClientBody:
    return parse_body(b'{"model":"m","input":"hi","stream":true}', Endpoint.RESPONSES)


def calls_of(answer: dict) -> list[tuple]:
    return [
        (one["name"], json.loads(one["arguments"]))
        for one in answer["output"]
        if one["type"] == "function_call"
    ]


def text_of(answer: dict) -> str:
    parts = [part for one in answer["output"] if one["type"] == "message" for part in one["content"]]
    return "".join(part.get("text", part.get("refusal")) for part in parts)


@pytest.mark.parametrize("recording", cases([one for one in CHATS if not one.is_stream]))
def test_whole_answer_becomes_a_response(recording):
    answer = json.loads(ADAPTER.parse_response(200, {}, recording.response, request()).body)
    sent = json.loads(recording.response)
    choice = sent["choices"][0]
    said = choice.get("message") or {}
    calls = said.get("tool_calls") or []
    assert (answer["object"], answer["model"], answer["store"]) == ("response", sent["model"], False)
    assert answer["status"] == ENDS.get(choice["finish_reason"], "completed")
    assert calls_of(answer) == [
        (call["function"]["name"], json.loads(call["function"]["arguments"] or "{}")) for call in calls
    ]
    if isinstance(said.get("content"), str):
        assert text_of(answer) == said["content"] + (said.get("refusal") or "")
    counts = answer["usage"] or {"input_tokens": 0}
    assert counts["input_tokens"] == (sent.get("usage") or {}).get("prompt_tokens", 0)


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("recording", cases([one for one in CHATS if one.is_stream]))
def test_stream_becomes_numbered_events(recording, size):
    translator = ADAPTER.stream(request(), target_of(recording))
    out, error = relay(translator, recording.response, size)
    assert error is None
    answer = response_of(out)
    deltas = [
        choice.get("delta") or {}
        for found in events_of(recording.response.rstrip() + b"\n\n")
        if found.data != b"[DONE]"
        for choice in json.loads(found.data).get("choices") or ()
        if choice.get("index", 0) == 0
    ]
    texts = [delta["content"] for delta in deltas if isinstance(delta.get("content"), str)]
    refusals = [delta["refusal"] for delta in deltas if delta.get("refusal")]
    assert text_of(answer) == "".join(texts + refusals)
    names = [
        call["function"]["name"]
        for delta in deltas
        for call in delta.get("tool_calls") or ()
        if (call.get("function") or {}).get("name")
    ]
    assert [name for name, _ in calls_of(answer)] == names
    counts = answer["usage"] or {"output_tokens": 0}
    assert counts["output_tokens"] == (translator.usage.completion_tokens or 0)


@pytest.mark.parametrize("wire", sorted(ADAPTERS))
@pytest.mark.parametrize("recording", cases(OWN))
def test_recorded_request_can_be_sent_to_every_wire(recording, wire):
    kinds = {"openai": "openai_compatible", "gemini": "gemini_native"}
    where = Target(Provider("p", kinds.get(wire, wire), "https://up.example/v1"), "exact-model")
    body = parse_body(recording.request, Endpoint.RESPONSES)
    if (recording.name, wire) in REFUSED:
        with pytest.raises(InvalidRequestError) as refused:
            ADAPTERS[wire].build_request(body, where, {})
        assert refused.value.param == REFUSED[recording.name, wire]
        return
    sent = json.loads(ADAPTERS[wire].build_request(body, where, {}).body)
    tools = sent.get("tools") or sent.get("toolConfig", {}).get("tools") or []
    declared = [tool for group in tools for tool in group.get("functionDeclarations", [group])]
    assert len(declared) == len(body.data.get("tools") or [])
    if wire == "openai":
        roles = {message["role"] for message in sent["messages"]}
        assert roles <= {"system", "user", "assistant", "tool"}
        assert sent["model"] == "exact-model"
