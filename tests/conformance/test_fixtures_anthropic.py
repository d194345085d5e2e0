"""Replays every recording of the Messages format: straight, and for clients of chat completions."""

from __future__ import annotations

import json

import pytest

from proxying import sse
from proxying.adapters import ADAPTERS
from proxying.adapters.base import ClientBody, Target
from proxying.errors import UpstreamStatusError, render, render_event
from proxying.schemas import parse_body
from routing.discovery import read_page
from routing.types import Endpoint, Provider
from tests.conformance.recordings import Recording, recordings

pytestmark = pytest.mark.recordings

ADAPTER = ADAPTERS["anthropic"]
ENDPOINTS = {"/messages": Endpoint.MESSAGES, "/messages/count_tokens": Endpoint.COUNT_TOKENS}
MIDSTREAM_ERROR = "anthropic/stream-error-overloaded-midstream"
EXPECTED_ERRORS = {
    "anthropic/error-400-context-length": (400, 400, "context_length_exceeded"),
    "anthropic/error-400-effort-unsupported": (400, 400, None),
    "anthropic/error-400-invalid-request": (400, 400, None),
    "anthropic/error-401-authentication": (401, 502, None),
    "anthropic/error-404-model": (404, 404, "model_not_found"),
    "anthropic/error-413-too-large": (413, 413, "request_too_large"),
    "anthropic/error-429-rate-limit": (429, 429, "rate_limit_exceeded"),
    "anthropic/error-500-api-error": (500, 500, None),
}
FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

ALL = recordings("anthropic")


def endpoint_of(recording: Recording) -> Endpoint | None:
    return next((value for path, value in ENDPOINTS.items() if recording.path.endswith(path)), None)


def cases(wanted):
    chosen = [pytest.param(recording, id=recording.name) for recording in ALL if wanted(recording)]
    return chosen or [pytest.param(None, id="not here")]


ERRORS = cases(lambda one: one.status >= 400)
MODELS = cases(lambda one: one.path.endswith("/models"))
STREAMS = cases(lambda one: one.is_stream and one.status == 200)
COMPLETE = cases(lambda one: one.is_stream and one.status == 200 and one.name != MIDSTREAM_ERROR)
WHOLE = cases(lambda one: one.status == 200 and not one.is_stream and endpoint_of(one) is Endpoint.MESSAGES)
COUNTS = cases(lambda one: endpoint_of(one) is Endpoint.COUNT_TOKENS)
REQUESTS = cases(lambda one: one.request is not None)


def target() -> Target:
    return Target(Provider("p", "anthropic", "https://up.example/v1", api_key="k"), "exact-model")


def own_request(recording: Recording) -> ClientBody:
    endpoint = endpoint_of(recording)
    assert endpoint is not None
    return parse_body(recording.request or b'{"model":"m"}', endpoint)


def chat_request(*, include_usage: bool = True) -> ClientBody:
    fields = {"model": "m", "stream": True, "stream_options": {"include_usage": include_usage}}
    return parse_body(json.dumps(fields).encode(), Endpoint.CHAT)


def relay(translator, raw: bytes, size: int) -> tuple[bytes, UpstreamStatusError | None]:
    out = b""
    try:
        for at in range(0, len(raw), size):
            out += translator.feed(raw[at : at + size])
        return out + translator.end(), None
    except UpstreamStatusError as error:
        return out + error.partial, error


def events(raw: bytes) -> list[dict]:
    found = [sse.parse_event(block) for block in sse.Splitter().feed(raw)]
    return [json.loads(one.data) for one in found if one is not None and one.data != b"[DONE]"]


def test_every_recording_is_replayed():
    groups = (ERRORS, MODELS, STREAMS, WHOLE, COUNTS)
    counted = {case.id for group in groups for case in group}
    assert counted == {recording.name for recording in ALL}


@pytest.mark.parametrize("recording", REQUESTS)
def test_request_goes_up_with_only_the_model_changed(recording):
    body = own_request(recording)
    sent = ADAPTER.build_request(body, target(), {}).body
    name = json.dumps(json.loads(body.raw)["model"]).encode()
    assert sent == body.raw.replace(name, b'"exact-model"')


@pytest.mark.parametrize("recording", WHOLE + COUNTS)
def test_whole_answer_is_relayed_byte_for_byte(recording):
    answer = ADAPTER.parse_response(200, recording.headers, recording.response, own_request(recording))
    usage = json.loads(recording.response).get("usage") or {}
    assert answer.body == recording.response
    assert answer.usage.completion_tokens == usage.get("output_tokens")
    assert answer.usage.cached_tokens == usage.get("cache_read_input_tokens")


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
@pytest.mark.parametrize("recording", STREAMS)
def test_stream_is_relayed_byte_for_byte(recording, size):
    """T57: nothing of it is touched, so every event keeps its line."""
    translator = ADAPTER.stream(own_request(recording), target())
    out, error = relay(translator, recording.response, size)
    if recording.name == MIDSTREAM_ERROR:
        assert recording.response.startswith(out)
        assert (error.facts.status, error.facts.raw_status, error.facts.code) == (503, 200, "overloaded")
        told = events(render_event(error, "anthropic", "r"))[0]
        assert told == {**events(recording.response)[-1], "request_id": "r"}
        return
    assert error is None
    assert out == recording.response
    assert (translator.has_content, translator.finished) == (True, True)
    last = next(one["usage"] for one in reversed(events(out)) if one["type"] == "message_delta")
    assert translator.usage.completion_tokens == last["output_tokens"]


@pytest.mark.parametrize("recording", ERRORS)
def test_error_becomes_the_right_one_in_both_dialects(recording):
    facts = ADAPTER.parse_error(recording.status, recording.headers, recording.response, 0.0)
    status, shown_status, code = EXPECTED_ERRORS[recording.name]
    assert (facts.status, facts.code) == (status, code)
    assert facts.refused_credential == (status == 401)
    sent = json.loads(recording.response)["error"]
    openai_status, headers, openai_body = render(UpstreamStatusError(facts), "openai", "r")
    anthropic_status, _, own_body = render(UpstreamStatusError(facts), "anthropic", "r")
    assert (openai_status, anthropic_status) == (shown_status, shown_status)
    assert ((b"retry-after", b"25") in headers) == (status == 429)
    if status != 401:
        assert json.loads(own_body) == {"type": "error", "error": sent, "request_id": "r"}
        told = json.loads(openai_body)["error"]
        assert (told["message"], told["code"]) == (sent["message"], code)


@pytest.mark.parametrize("recording", MODELS)
def test_models_list_is_read(recording):
    provider = Provider("p", "anthropic", "https://up.example/v1")
    page = read_page(provider, 200, recording.response)
    sent = json.loads(recording.response)
    assert list(page.result.models) == [row["id"] for row in sent["data"]]
    assert all(info.created > 1_600_000_000 for info in page.result.models.values())


@pytest.mark.parametrize("recording", WHOLE)
def test_whole_answer_becomes_a_chat_completion(recording):
    parsed = ADAPTER.parse_response(200, recording.headers, recording.response, chat_request())
    answer, sent = json.loads(parsed.body), json.loads(recording.response)
    (choice,) = answer["choices"]
    texts = [block["text"] for block in sent["content"] if block["type"] == "text"]
    uses = [block for block in sent["content"] if block["type"] == "tool_use"]
    assert (answer["id"], answer["model"], answer["object"]) == (sent["id"], sent["model"], "chat.completion")
    assert choice["message"]["content"] == ("".join(texts) if texts else None)
    assert choice["finish_reason"] == FINISH_REASONS[sent["stop_reason"]]
    assert [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in choice["message"].get("tool_calls", [])
    ] == [(use["id"], use["name"], use["input"]) for use in uses]
    usage = sent["usage"]
    cached = usage.get("cache_read_input_tokens", 0)
    stored = usage.get("cache_creation_input_tokens", 0)
    assert answer["usage"]["prompt_tokens"] == usage["input_tokens"] + cached + stored
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": cached, "cache_write_tokens": stored}
    assert answer["usage"]["completion_tokens"] == usage["output_tokens"]


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("recording", COMPLETE)
def test_stream_becomes_chunks(recording, size):
    """T56: it ends with ``[DONE]``; one finish, usage last and only once."""
    translator = ADAPTER.stream(chat_request(), target())
    out, error = relay(translator, recording.response, size)
    assert error is None
    assert out.endswith(sse.DONE)
    chunks, sent = events(out), events(recording.response)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    text = "".join(one["delta"].get("text", "") for one in sent if one["type"] == "content_block_delta")
    assert "".join(delta.get("content") or "" for delta in deltas) == text
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
    stopped = next(one["delta"]["stop_reason"] for one in reversed(sent) if one["type"] == "message_delta")
    assert [reason for reason in reasons if reason] == [FINISH_REASONS[stopped]]
    uses = [
        one["content_block"]
        for one in sent
        if one["type"] == "content_block_start" and one["content_block"]["type"] == "tool_use"
    ]
    assert [(call["id"], call["function"]["name"]) for call in calls(deltas)] == [
        (use["id"], use["name"]) for use in uses
    ]
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls(deltas))
    assert [call["index"] for call in calls(deltas)] == list(range(len(uses)))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == translator.usage.completion_tokens
    assert chunks[-1]["usage"]["prompt_tokens"] == translator.usage.prompt_tokens
    assert {chunk["id"] for chunk in chunks} == {sent[0]["message"]["id"]}


def calls(deltas: list[dict]) -> list[dict]:
    """The calls of a stream, put together as clients do it: by index."""
    found: dict[int, dict] = {}
    for delta in deltas:
        for call in delta.get("tool_calls", []):
            if call["index"] not in found:
                found[call["index"]] = json.loads(json.dumps(call))
            else:
                found[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return list(found.values())


def test_usage_is_the_last_that_is_known():
    """The stream revises its input tokens from 43 to 61."""
    recording = next((one for one in ALL if one.name == "anthropic/stream-late-input-tokens"), None)
    translator = ADAPTER.stream(chat_request(), target())
    relay(translator, recording.response, 1 << 20)
    assert translator.usage.prompt_tokens == 61
