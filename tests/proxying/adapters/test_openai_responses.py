"""OpenAI's own Responses, straight through: what goes up, what is read of whole and streamed answers."""

from __future__ import annotations

import json

import pytest

from proxying import sse
from proxying.adapters import ADAPTERS, adapter_for
from proxying.adapters.base import ClientBody, Target, Usage
from proxying.adapters.gateway_reasoning import packed
from proxying.adapters.openai import OpenAIAdapter
from proxying.adapters.openai_responses import ResponsesStream
from proxying.errors import InvalidRequestError, UpstreamProtocolError, UpstreamStatusError
from proxying.schemas import parse_body
from routing.kinds import CONVERSATIONS, KINDS
from routing.types import Endpoint, Provider
from routing.upstreams import speaks
from tests.proxying.adapters.dialect_streams import numbered

ADAPTER = OpenAIAdapter()
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "in_progress",
    "model": "m-2026",
    "output": [],
    "error": None,
    "usage": None,
}
USAGE = {
    "input_tokens": 25,
    "input_tokens_details": {"cached_tokens": 20},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 32,
}
ITEM = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
PART = {"type": "output_text", "text": "", "annotations": []}
PRELUDE = [
    ("created", {"response": RESPONSE}),
    ("in_progress", {"response": RESPONSE}),
    ("output_item.added", {"output_index": 0, "item": ITEM}),
    ("content_part.added", {**PLACE, "part": PART}),
]
TEXT = ("output_text.delta", {**PLACE, "delta": "Hello"})
COMPLETED = ("completed", {"response": {**RESPONSE, "status": "completed", "usage": USAGE}})
FAILED = {**RESPONSE, "status": "failed"}


def provider(kind="openai", base_url="https://up.example/v1", **options) -> Provider:
    return Provider("p", kind, base_url, api_key="key-1", options=options)


def request(raw=b'{"model":"m","input":"hi"}') -> ClientBody:
    return parse_body(raw, Endpoint.RESPONSES)


def fed(*pieces: bytes) -> tuple[ResponsesStream, bytes]:
    stream = ResponsesStream()
    return stream, b"".join(map(stream.feed, pieces))


# Who speaks it


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (provider(), True),
        (provider("azure_openai", "https://a.openai.azure.com/openai/v1"), True),
        (provider("azure_openai", "https://a.openai.azure.com/openai/deployments/{model}"), False),
        (provider("xai"), True),
        (provider("groq"), True),
        (provider("vllm"), False),
        (provider("vllm", responses="native"), True),
        (provider("openai", responses="translated"), False),
        (provider("openai_compatible"), False),
        (provider("anthropic", responses="native"), False),
        (provider("gemini_native"), False),
    ],
)
def test_responses_go_straight_where_they_are_spoken(asked, expected):
    assert speaks(asked, Endpoint.RESPONSES) is expected
    adapter = adapter_for(asked, Endpoint.RESPONSES)
    assert (adapter is ADAPTERS[KINDS[asked.kind].wire].native) is expected


@pytest.mark.parametrize("kind", sorted(name for name, row in KINDS.items() if row.endpoints & CONVERSATIONS))
def test_whoever_can_talk_serves_every_dialect(kind):
    row = KINDS[kind]
    assert row.serves - row.endpoints == CONVERSATIONS - row.endpoints
    path = adapter_for(provider(kind), Endpoint.RESPONSES).build_request(
        request(), Target(provider(kind), "up"), {}
    )
    assert path.url.startswith("https://up.example/v1/")


# Requests


def test_only_the_model_is_changed():
    raw = (
        b'{ "input":[{"type":"item_reference","id":"a\\u00e9"}],"model" : "m","of_tomorrow":1.0,"store":true}'
    )
    sent = ADAPTER.build_request(request(raw), Target(provider(), "up"), {"openai-beta": "b", "cookie": "c"})
    assert sent.body == raw.replace(b'"m"', b'"up"')
    assert (sent.url, sent.headers["openai-beta"], "cookie" in sent.headers) == (
        "https://up.example/v1/responses",
        "b",
        False,
    )


def test_stream_is_not_asked_for_usage():
    raw = b'{"model":"m","input":"hi","stream":true}'
    sent = ADAPTER.build_request(request(raw), Target(provider(), "up"), {})
    assert sent.body == raw.replace(b'"m"', b'"up"')


def test_reasoning_of_the_gateways_making_stays_here():
    """Nobody else can read it: the vendor would refuse the whole request."""
    ours = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": packed([])}
    theirs = {**ours, "encrypted_content": "gAAAA"}
    raw = json.dumps({"model": "m", "input": ["hi", ours, theirs]}).encode()
    sent = json.loads(ADAPTER.build_request(request(raw), Target(provider(), "up"), {}).body)
    assert sent == {"model": "up", "input": ["hi", theirs]}


def test_background_is_refused():
    raw = b'{"model":"m","input":"hi","background":true}'
    with pytest.raises(InvalidRequestError) as refused:
        ADAPTER.build_request(request(raw), Target(provider(), "up"), {})
    assert (refused.value.param, refused.value.code) == ("background", "unsupported_value")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"previous_response_id": None}, False),
        ({"previous_response_id": "resp_1"}, True),
        ({"conversation": "conv_1"}, True),
    ],
)
def test_body_knows_whether_it_goes_on_from_what_is_stored(fields, expected):
    raw = json.dumps({"model": "m", "input": "hi", **fields}).encode()
    assert request(raw).goes_on_from_stored is expected
    assert parse_body(raw, Endpoint.CHAT).goes_on_from_stored is False


# Whole answers


def test_whole_answer_is_relayed_and_counted():
    raw = b" " + json.dumps({**RESPONSE, "status": "completed", "usage": USAGE}).encode()
    answer = ADAPTER.parse_response(200, {}, raw, request())
    assert answer.body == raw
    assert answer.usage == Usage(25, 7, 20, 3)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "No."}}, 500, "server_error"),
        ({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "N"}}, 429, None),
        ({"status": "failed", "error": {"code": "invalid_prompt", "message": "No."}}, 400, None),
        ({"status": "failed", "error": {"code": "image_too_large", "message": "No."}}, 400, None),
        ({"status": "failed"}, 502, None),
    ],
)
def test_whole_answer_that_failed_is_a_failure(fields, status, code):
    with pytest.raises(UpstreamStatusError) as failed:
        ADAPTER.parse_response(200, {}, json.dumps({**RESPONSE, **fields}).encode(), request())
    assert failed.value.facts.status == status
    assert code in (None, failed.value.code)


@pytest.mark.parametrize("raw", [b'{"object":"response"}', b'{"choices":[{"index":0}]}', b"", b"[]"])
def test_what_is_no_answer_is_a_protocol_error(raw):
    with pytest.raises(UpstreamProtocolError):
        ADAPTER.parse_response(200, {}, raw, request())


# Streams


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_stream_is_relayed_byte_for_byte(size):
    raw = b": warm\n\n" + b"".join(numbered(*PRELUDE, TEXT, COMPLETED))
    stream, got = fed(*(raw[at : at + size] for at in range(0, len(raw), size)))
    assert got + stream.end() == raw
    assert (stream.finished, stream.usage) == (True, Usage(25, 7, 20, 3))
    assert (stream.usage.pieces, stream.progress.next_number) == (1, 6)


def test_stream_ends_with_its_last_event():
    """T56: whatever follows is not waited for; a vendor's ``[DONE]`` is none of this dialect."""
    stream, got = fed(b"".join([*numbered(*PRELUDE, TEXT, COMPLETED), sse.DONE]))
    assert (got.endswith(b"}\n\n"), stream.feed(b"data: more\n\n"), stream.end()) == (True, b"", b"")


def test_last_event_may_lack_its_blank_line():
    *events, last = numbered(*PRELUDE, TEXT, COMPLETED)
    stream, _ = fed(*events, last[:-2])
    assert stream.end() == last


@pytest.mark.parametrize(
    ("event", "content"),
    [
        (("queued", {"response": RESPONSE}), False),
        (("output_item.added", {"output_index": 0, "item": {"type": "reasoning", "summary": []}}), False),
        (("reasoning_summary_part.added", {"part": {"type": "summary_text", "text": ""}}), False),
        (("output_item.added", {"output_index": 0, "item": {"type": "function_call"}}), True),
        (("output_item.added", {"output_index": 0, "item": {"type": "web_search_call"}}), True),
        (("reasoning_summary_text.delta", {"delta": "Hm."}), True),
        (("function_call_arguments.delta", {"delta": "{"}), True),
        (("refusal.delta", {"delta": "No"}), True),
        (("output_item.added", {"output_index": 0, "item": {"type": ["message"]}}), True),
        (("of_tomorrow.delta", {"delta": "x"}), True),
        (COMPLETED, True),
        (("incomplete", {"response": {**RESPONSE, "status": "incomplete"}}), True),
    ],
)
def test_first_content_is_what_says_something(event, content):
    """T54: an end without content is content."""
    stream, _ = fed(*numbered(*PRELUDE))
    assert stream.has_content is False
    stream.feed(numbered(event)[0])
    assert stream.has_content is content


ERROR = {"code": "rate_limit_exceeded", "message": "Slow down."}


@pytest.mark.parametrize(
    ("block", "status", "code"),
    [
        (sse.encode_event(json.dumps({"type": "error", **ERROR}).encode(), b"error"), 429, ERROR["code"]),
        (sse.encode_event(json.dumps({"type": "error", "error": ERROR}).encode()), 429, ERROR["code"]),
        (sse.encode_event(json.dumps({"error": {**ERROR, "type": "requests"}}).encode()), 429, ERROR["code"]),
        (numbered(("failed", {"response": {**FAILED, "error": ERROR}}))[0], 429, ERROR["code"]),
        (numbered(("failed", {"response": FAILED}))[0], 502, None),
        (sse.encode_event(b'{"type":"error","code":null,"message":"?"}', b"error"), 502, None),
    ],
)
def test_error_in_a_stream_is_an_error_with_its_status(block, status, code):
    stream, before = fed(*numbered(*PRELUDE))
    delta = numbered(TEXT)[0]
    with pytest.raises(UpstreamStatusError) as failed:
        stream.feed(delta + block)
    assert (failed.value.facts.status, failed.value.code, failed.value.partial) == (status, code, delta)
    assert failed.value.type != "error"
    assert before


@pytest.mark.parametrize("rest", [b"", b"event: response.comp", b'data: {"type":"response.comp'])
def test_stream_that_ends_early_is_cut(rest):
    stream, _ = fed(*numbered(*PRELUDE, TEXT), rest)
    with pytest.raises(UpstreamProtocolError):
        stream.end()
    assert stream.finished is False


@pytest.mark.parametrize("block", [b"data: {oops\n\n", b"data: [1]\n\n", b"data: {}\n\n", sse.DONE])
def test_event_that_is_none_breaks_the_stream(block):
    stream, _ = fed(*numbered(*PRELUDE))
    with pytest.raises(UpstreamProtocolError):
        stream.feed(block)


def test_plain_error_body_for_a_stream_is_that_error():
    stream, _ = fed(json.dumps({"error": ERROR}).encode())
    with pytest.raises(UpstreamStatusError) as failed:
        stream.end()
    assert failed.value.facts.status == 429


def test_broken_stream_counts_its_pieces():
    stream, _ = fed(*numbered(*PRELUDE, TEXT, TEXT))
    stream.usage.broke_off()
    assert stream.usage.completion_tokens == 2


def test_chats_stream_is_another():
    body = parse_body(b'{"model":"m","stream":true}', Endpoint.CHAT)
    assert isinstance(ADAPTER.stream(body, Target(provider(), "up")), ResponsesStream) is False
