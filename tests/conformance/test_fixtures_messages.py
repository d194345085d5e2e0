"""Replays every recorded chat completion, of all vendors, for clients of Anthropic's Messages."""

from __future__ import annotations

import json

import pytest

from proxying.adapters.base import ClientBody
from proxying.errors import InvalidRequestError
from proxying.schemas import parse_body
from routing.types import Endpoint
from tests.conformance.recordings import recordings
from tests.conformance.test_fixtures_anthropic import ALL as OWN
from tests.conformance.test_fixtures_anthropic import endpoint_of
from tests.conformance.test_fixtures_openai import ADAPTER, IN_STREAM_ERRORS, relay, target_of
from tests.proxying.adapters.dialect_streams import events_of, message_of

pytestmark = pytest.mark.recordings

CHATS = [
    one
    for one in recordings("openai")
    if one.status == 200 and one.path.endswith("/chat/completions") and one.name not in IN_STREAM_ERRORS
]
# Requests of recordings that only Anthropic can serve: tools it runs itself.
ANTHROPIC_ONLY = {
    "anthropic/server-tool-use": "tools[0].type",
    "anthropic/stream-server-tool-web-search": "tools[0].type",
    "anthropic/stream-tool-single": "tools[0].type",
}


def cases(chosen):
    return [pytest.param(one, id=one.name) for one in chosen] or [pytest.param(None, id="not here")]


def request() -> ClientBody:
    return parse_body(b'{"model":"m","max_tokens":9,"stream":true}', Endpoint.MESSAGES)


def uses_of(message: dict) -> list[tuple]:
    return [(one["name"], one["input"]) for one in message["content"] if one["type"] == "tool_use"]


def text_of(message: dict) -> str:
    return "".join(one["text"] for one in message["content"] if one["type"] == "text")


@pytest.mark.parametrize("recording", cases([one for one in CHATS if not one.is_stream]))
def test_whole_answer_becomes_a_message(recording):
    message = json.loads(ADAPTER.parse_response(200, {}, recording.response, request()).body)
    sent = json.loads(recording.response)
    said = sent["choices"][0].get("message") or {}
    calls = said.get("tool_calls") or []
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", sent["model"])
    assert uses_of(message) == [
        (call["function"]["name"], json.loads(call["function"]["arguments"] or "{}")) for call in calls
    ]
    ids = [one["id"] for one in message["content"] if one["type"] == "tool_use"]
    assert len(set(ids)) == len(calls)
    assert all(ids)
    if isinstance(said.get("content"), str):
        assert text_of(message) == said["content"] + (said.get("refusal") or "")
    usage, counted = sent.get("usage") or {}, message["usage"]
    prompt = (
        counted["input_tokens"] + counted["cache_read_input_tokens"] + counted["cache_creation_input_tokens"]
    )
    assert prompt == usage.get("prompt_tokens", 0)
    assert (message["stop_reason"] == "tool_use") == bool(calls)


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("recording", cases([one for one in CHATS if one.is_stream]))
def test_stream_becomes_events(recording, size):
    """T57: every event has its line, blocks never interleave, ``message_stop`` ends it."""
    translator = ADAPTER.stream(request(), target_of(recording))
    out, error = relay(translator, recording.response, size)
    assert error is None
    message = message_of(out)
    deltas = [
        choice.get("delta") or {}
        for found in events_of(recording.response.rstrip() + b"\n\n")
        if found.data != b"[DONE]"
        for choice in json.loads(found.data).get("choices") or ()
        if choice.get("index", 0) == 0
    ]
    texts = [delta["content"] for delta in deltas if isinstance(delta.get("content"), str)]
    refusals = [delta["refusal"] for delta in deltas if delta.get("refusal")]
    assert text_of(message) == "".join(texts + refusals)
    names = [
        call["function"]["name"]
        for delta in deltas
        for call in delta.get("tool_calls") or ()
        if (call.get("function") or {}).get("name")
    ]
    assert [name for name, _ in uses_of(message)] == names
    assert message["usage"]["output_tokens"] == (translator.usage.completion_tokens or 0)


@pytest.mark.parametrize(
    "recording",
    cases(
        [one for one in OWN if one.request and one.status == 200 and endpoint_of(one) is Endpoint.MESSAGES]
    ),
)
def test_recorded_message_request_can_be_sent_to_openai_format(recording):
    body = parse_body(recording.request, Endpoint.MESSAGES)
    where = target_of(recordings("openai")[0])
    if recording.name in ANTHROPIC_ONLY:
        with pytest.raises(InvalidRequestError) as refused:
            ADAPTER.build_request(body, where, {})
        assert refused.value.param == ANTHROPIC_ONLY[recording.name]
        return
    sent = json.loads(ADAPTER.build_request(body, where, {}).body)
    assert sent["model"] == "exact-model"
    assert {message["role"] for message in sent["messages"]} <= {"system", "user", "assistant", "tool"}
    assert len(sent.get("tools", [])) == len(body.data.get("tools", []))
