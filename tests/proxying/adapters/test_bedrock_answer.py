"""Converse's wire, inward: whole answers, streams, errors; and the way there and back."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxying.adapters.base import Target, Usage
from proxying.adapters.bedrock import BedrockAdapter
from proxying.adapters.bedrock_request import converse_request
from proxying.adapters.bedrock_stream import BedrockStream
from proxying.errors import UpstreamProtocolError, UpstreamStatusError
from proxying.eventstream import encode
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.proxying.adapters.converse_streams import delta, ending, event, exception, start, stop, streamed
from tests.proxying.adapters.dialect_streams import completion_of

ADAPTER = BedrockAdapter(clock=lambda: 1234.5, new_id=lambda: "n1")
MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
TARGET = Target(Provider("b", "bedrock", "https://bedrock-runtime.us-east-1.amazonaws.com"), MODEL)
COUNTED = {
    "inputTokens": 5,
    "outputTokens": 7,
    "totalTokens": 22,
    "cacheReadInputTokens": 8,
    "cacheWriteInputTokens": 2,
}
COUNTS = {
    "prompt_tokens": 15,
    "completion_tokens": 7,
    "total_tokens": 22,
    "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2},
}
SIGNED = {"reasoningContent": {"reasoningText": {"text": "Hm, well.", "signature": "sig"}}}
REDACTED = {"reasoningContent": {"redactedContent": "ZGF0YQ=="}}
WEATHER = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}}
TIME = {"toolUse": {"toolUseId": "t2", "name": "time", "input": {}}}
CALLS = [
    {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
    {"id": "t2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
]


def chat(**fields):
    return parse_body(orjson.dumps({"model": "pool", "messages": [], **fields}), Endpoint.CHAT)


def answer(*blocks, reason="end_turn", **fields):
    message = {"role": "assistant", "content": list(blocks)}
    return {"output": {"message": message}, "stopReason": reason, "metrics": {"latencyMs": 1}, **fields}


def whole(data, **fields):
    raw = data if isinstance(data, bytes) else orjson.dumps(data)
    return ADAPTER.parse_response(200, {}, raw, chat(**fields))


def choice(data, **fields):
    (found,) = orjson.loads(whole(data, **fields).body)["choices"]
    return found


def stream(**fields) -> BedrockStream:
    return ADAPTER.stream(chat(stream=True, **fields), TARGET)


def read(events, size=2**16, **fields) -> bytes:
    translator = stream(**fields)
    raw = b"".join(events)
    out = b"".join(translator.feed(raw[at : at + size]) for at in range(0, len(raw), size))
    assert translator.finished
    return out + translator.end()


# Whole answers


def test_whole_answer():
    parsed = whole(answer({"text": "one "}, {"text": "two"}, usage=COUNTED))
    assert orjson.loads(parsed.body) == {
        "id": "chatcmpl-n1",
        "object": "chat.completion",
        "created": 1234,
        "model": "pool",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "one two", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": COUNTS,
    }
    assert parsed.usage == Usage(15, 7, cached_tokens=8)


def test_calls_and_thoughts():
    found = choice(answer(SIGNED, REDACTED, {"text": "So."}, WEATHER, TIME, reason="tool_use"))
    form = {"format": "anthropic-claude-v1"}
    assert found["message"] == {
        "role": "assistant",
        "content": "So.",
        "refusal": None,
        "reasoning_content": "Hm, well.",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "Hm, well.", "signature": "sig", **form, "index": 0},
            {"type": "reasoning.encrypted", "data": "ZGF0YQ==", **form, "index": 1},
        ],
        "tool_calls": CALLS,
    }
    assert found["finish_reason"] == "tool_calls"


def test_one_call_and_the_old_form():
    data = answer(WEATHER, TIME, reason="tool_use")
    only = choice(data, parallel_tool_calls=False)
    assert (only["message"]["tool_calls"], only["finish_reason"]) == (CALLS[:1], "tool_calls")
    old = choice(data, functions=[{"name": "weather"}])
    assert old["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "function_call": {"name": "weather", "arguments": '{"city":"Oslo"}'},
    }
    assert old["finish_reason"] == "function_call"


def test_cited_text_pictures_and_tools_that_bedrock_ran():
    cited = {
        "content": [{"text": "It is warm."}],
        "citations": [
            {"title": "Weather", "location": {"web": {"url": "https://w.example"}}},
            {"title": "Paper", "location": {"documentPage": {"documentIndex": 0}}},
        ],
    }
    ran = {"toolUse": {"toolUseId": "s", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}}
    made = {"image": {"format": "png", "source": {"bytes": "aGk="}}}
    shown = answer(ran, {"toolResult": {"toolUseId": "s", "content": []}}, {"citationsContent": cited}, made)
    message = choice(shown)["message"]
    place = {"url": "https://w.example", "title": "Weather", "start_index": 0, "end_index": 11}
    assert message == {
        "role": "assistant",
        "content": "It is warm.",
        "refusal": None,
        "annotations": [{"type": "url_citation", "url_citation": place}],
        "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}],
    }


@pytest.mark.parametrize(
    ("reason", "blocks", "finish"),
    [
        ("end_turn", [{"text": "a"}], "stop"),
        ("stop_sequence", [{"text": "a"}], "stop"),
        ("max_tokens", [{"text": "a"}], "length"),
        ("max_tokens", [WEATHER], "length"),
        ("model_context_window_exceeded", [{"text": "a"}], "length"),
        ("guardrail_intervened", [{"text": "Sorry."}], "content_filter"),
        ("content_filtered", [], "content_filter"),
        ("tool_use", [WEATHER], "tool_calls"),
        ("end_turn", [WEATHER], "tool_calls"),
        ("tool_use", [{"text": "a"}], "stop"),
        ("malformed_tool_use", [{"text": "a"}], "stop"),
        ("something_new", [{"text": "a"}], "stop"),
        ("end_turn", [], "stop"),
    ],
)
def test_finish_reasons(reason, blocks, finish):
    data = answer(*blocks, reason=reason)
    assert choice(data)["finish_reason"] == finish
    last = read(streamed(data)).split(b"\n\n")[-3]
    assert json.loads(last[6:])["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"output":5}',
        b'{"output":{"message":{"content":"a"}}}',
        orjson.dumps(answer(5)),
        orjson.dumps(answer({"toolUse": {"name": "a"}})),
        orjson.dumps(answer(reason="malformed_model_output")),
    ],
)
def test_answer_that_is_none_is_the_providers_fault(body):
    with pytest.raises(UpstreamProtocolError):
        whole(body)


# Streams


def test_stream_is_written_chunk_by_chunk():
    translator = stream()
    head = {"id": "chatcmpl-n1", "object": "chat.completion.chunk", "created": 1234, "model": "pool"}

    def chunk(held, finish=None):
        choices = [{"index": 0, "delta": held, "logprobs": None, "finish_reason": finish}]
        return b"data: " + orjson.dumps({**head, "choices": choices}) + b"\n\n"

    assert translator.feed(event("messageStart", role="assistant")) == b""
    assert not translator.has_content
    assert translator.feed(delta(0, text="hi")) == chunk({"role": "assistant", "content": "hi"})
    assert translator.has_content
    assert translator.feed(delta(0, text="")) == b""
    assert translator.feed(event("somethingNew")) == b""
    assert translator.feed(stop(0)) == b""
    stopped, counted = ending(usage=COUNTED)
    assert translator.feed(stopped) == chunk({}, "stop")
    assert not translator.finished
    assert translator.feed(counted) == b"data: [DONE]\n\n"
    assert translator.finished
    assert translator.feed(delta(0, text="late")) == b""
    assert translator.end() == b""
    assert translator.usage == Usage(15, 7, cached_tokens=8)
    assert translator.usage.pieces == 1


def test_usage_comes_last_where_it_is_asked_for():
    data = answer({"text": "one two"}, usage=COUNTED)
    out = read(streamed(data), stream_options={"include_usage": True})
    *events, last, done, rest = out.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    assert json.loads(last[6:])["choices"] == []
    assert json.loads(last[6:])["usage"] == COUNTS
    assert {json.loads(one[6:])["usage"] for one in events} == {None}


def test_call_is_streamed_piece_by_piece():
    out = read(
        [
            start(0, toolUse={"toolUseId": "t1", "name": "weather"}),
            delta(0, toolUse={"input": ""}),
            delta(0, toolUse={"input": '{"city"'}),
            delta(0, toolUse={"input": ':"Oslo"}'}),
            stop(0),
            start(1, toolUse={"toolUseId": "t2", "name": "time"}),
            delta(1, toolUse={"input": ""}),
            stop(1),
            *ending("tool_use"),
        ]
    )
    events = [json.loads(one[6:])["choices"][0]["delta"] for one in out.split(b"\n\n")[:-3]]
    assert [one["tool_calls"][0] for one in events] == [
        {"index": 0, "id": "t1", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city"'}},
        {"index": 0, "function": {"arguments": ':"Oslo"}'}},
        {"index": 1, "id": "t2", "type": "function", "function": {"name": "time", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]


def test_stream_of_the_old_form_and_of_one_call():
    events = streamed(answer(WEATHER, TIME, reason="tool_use"), cut=99)
    old = read(events, functions=[{"name": "weather"}]).split(b"\n\n")[:-2]
    said = [json.loads(one[6:])["choices"][0] for one in old]
    assert [one["delta"].get("function_call") for one in said] == [
        {"name": "weather", "arguments": ""},
        {"arguments": '{"city":"Oslo"}'},
        None,
    ]
    assert said[-1]["finish_reason"] == "function_call"
    only = completion_of(read(events, parallel_tool_calls=False))
    assert only["choices"][0]["message"]["tool_calls"] == CALLS[:1]


def test_pictures_and_citations_in_a_stream():
    web = {"title": "W", "location": {"web": {"url": "https://w.example"}}}
    out = read(
        [
            delta(0, text="warm"),
            delta(0, citation=web),
            delta(0, citation={"location": {"documentPage": {}}}),
            start(1, image={"format": "webp"}),
            delta(1, image={"source": {"bytes": "aGk="}}),
            delta(1, image={"error": {"message": "no"}}),
            start(2, toolUse={"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use"}),
            delta(2, toolUse={"input": "{}"}),
            stop(2),
            *ending(),
        ]
    )
    events = [json.loads(one[6:])["choices"][0]["delta"] for one in out.split(b"\n\n")[:-3]]
    place = {"url": "https://w.example", "title": "W", "start_index": 0, "end_index": 4}
    assert events[1:] == [
        {"annotations": [{"type": "url_citation", "url_citation": place}]},
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/webp;base64,aGk="}}]},
    ]


def test_stream_without_its_counts_is_complete():
    translator = stream(stream_options={"include_usage": True})
    translator.feed(delta(0, text="hi") + ending()[0])
    assert translator.end().endswith(b"data: [DONE]\n\n")
    assert translator.usage.prompt_tokens is None


@pytest.mark.parametrize("rest", [b"", delta(0, text="more")[:-3]])
def test_cut_stream_is_the_providers_fault(rest):
    translator = stream()
    translator.feed(delta(0, text="hi") + rest)
    with pytest.raises(UpstreamProtocolError):
        translator.end()


@pytest.mark.parametrize(
    "fault",
    [
        b'{"message": "no stream at all"}',
        delta(0, text="more")[:-1] + b"\x00",
        encode({"message-type": "event", "event-type": "contentBlockDelta"}, b"{broken"),
        encode({"message-type": "event", "event-type": "contentBlockDelta"}, b"[]"),
        encode({"message-type": "novelty"}, b"{}"),
        start(1, toolUse={"name": "a"}),
    ],
    ids=["text", "checksum", "no JSON", "list", "type", "call"],
)
def test_fault_hands_over_what_came_before_it(fault):
    """T53."""
    translator = stream()
    with pytest.raises(UpstreamProtocolError) as caught:
        translator.feed(delta(0, text="hi") + fault)
    assert json.loads(caught.value.partial[6:])["choices"][0]["delta"]["content"] == "hi"


def test_what_follows_a_complete_answer_takes_nothing_from_it():
    translator = stream()
    out = translator.feed(
        delta(0, text="hi") + ending()[0] + exception("internalServerException", message="no")
    )
    assert out.endswith(b"data: [DONE]\n\n")
    assert translator.finished


@pytest.mark.parametrize(
    ("kind", "data", "facts"),
    [
        (
            "throttlingException",
            {"message": "Slow"},
            (429, "rate_limit_error", "rate_limit_exceeded", "Slow"),
        ),
        ("internalServerException", {"message": "No"}, (500, "api_error", "internalServerException", "No")),
        ("serviceUnavailableException", {"message": "No"}, (503, "overloaded_error", "overloaded", "No")),
        ("modelStreamErrorException", {"message": "No"}, (502, "api_error", "model_error", "No")),
        (
            "modelStreamErrorException",
            {"originalMessage": "Big", "originalStatusCode": 400},
            (400, "invalid_request_error", "model_error", "Big"),
        ),
        (
            "validationException",
            {"message": "Input is too long for requested model."},
            (
                400,
                "invalid_request_error",
                "context_length_exceeded",
                "Input is too long for requested model.",
            ),
        ),
        ("somethingNew", {}, (500, "api_error", "somethingNew", None)),
    ],
)
def test_exception_in_a_stream(kind, data, facts):
    with pytest.raises(UpstreamStatusError) as caught:
        stream().feed(event("messageStart", role="assistant") + exception(kind, **data))
    found = caught.value.facts
    said = facts[3] or "The provider answered with status 500 and no readable error."
    assert (found.status, found.type, found.code, found.message) == (*facts[:3], said)
    assert found.raw_status == 200


def test_error_message_in_a_stream():
    raw = encode({"message-type": "error", "error-code": "InternalFailure", "error-message": "Broken"}, b"")
    with pytest.raises(UpstreamStatusError) as caught:
        stream().feed(raw)
    assert (caught.value.status, caught.value.message) == (500, "Broken")


# Errors


@pytest.mark.parametrize(
    ("status", "kind", "body", "facts"),
    [
        (400, "ValidationException", {"message": "Bad field."}, (400, "ValidationException", False)),
        (400, "", {"message": "Bad field."}, (400, None, False)),
        (
            400,
            "ValidationException",
            {"message": "The provided model identifier is invalid."},
            (404, "model_not_found", False),
        ),
        (
            400,
            "ValidationException",
            {
                "message": "Invocation of model ID a.b with on-demand throughput isn’t supported. "  # noqa: RUF001
                "Retry your request with the ID or ARN of an inference profile that contains this model."
            },
            (404, "model_not_found", False),
        ),
        (
            400,
            "ValidationException",
            {"message": "The model returned the following errors: Input Tokens Exceeded: Number"},
            (400, "context_length_exceeded", False),
        ),
        (404, "ResourceNotFoundException", {"message": "Could not resolve"}, (404, "model_not_found", False)),
        (
            403,
            "AccessDeniedException",
            {"message": "You don't have access to the model with the specified model ID."},
            (403, "access_denied", False),
        ),
        (403, "ExpiredTokenException", {"message": "expired"}, (403, "ExpiredTokenException", True)),
        (
            403,
            "UnrecognizedClientException:http://internal.amazon.com/coral/",
            {"message": "invalid"},
            (403, "UnrecognizedClientException", True),
        ),
        (403, "InvalidSignatureException", {"message": "no"}, (403, "InvalidSignatureException", True)),
        (403, "", {"message": "The security token included in the request is expired"}, (403, None, True)),
        (
            403,
            "",
            {"Message": "Authentication failed: Please make sure your API Key is valid."},
            (403, None, True),
        ),
        (401, "", {"message": "no"}, (401, None, True)),
        (429, "ThrottlingException", {"message": "Too many requests"}, (429, "rate_limit_exceeded", False)),
        (429, "ModelNotReadyException", {"message": "Warming"}, (429, "model_not_ready", False)),
        (400, "ServiceQuotaExceededException", {"message": "Quota"}, (429, "rate_limit_exceeded", False)),
        (408, "ModelTimeoutException", {"message": "Slow"}, (504, "timeout", False)),
        (424, "ModelErrorException", {"message": "Failed"}, (502, "model_error", False)),
        (
            424,
            "ModelErrorException",
            {"message": "Too many tokens", "originalStatusCode": 429},
            (429, "model_error", False),
        ),
        (500, "InternalServerException", {"message": "No"}, (500, "InternalServerException", False)),
        (503, "ServiceUnavailableException", {"message": "No"}, (503, "overloaded", False)),
        (529, "", {"message": "No"}, (503, None, False)),
    ],
)
def test_error(status, kind, body, facts):
    headers = {"x-amzn-errortype": kind} if kind else {}
    found = ADAPTER.parse_error(status, headers, json.dumps(body).encode(), 0.0)
    assert (found.status, found.code, found.refused_credential) == facts
    assert (found.raw_status, found.message) == (status, body.get("message") or body.get("Message"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"no"', b'{"message":5}'])
def test_unreadable_error(body):
    found = ADAPTER.parse_error(502, {"retry-after": "7"}, body, 0.0)
    assert (found.status, found.code, found.retry_after_s) == (502, None, 7.0)
    assert found.message == "The provider answered with status 502 and no readable error."


def test_type_in_the_body_counts_where_no_header_has_it():
    body = b'{"__type":"com.amazon.coral.service#ThrottlingException","message":"Slow"}'
    assert ADAPTER.parse_error(400, {}, body, 0.0).status == 429


# There and back


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).map(lambda t: f"w{t}w")
OBJECTS = st.dictionaries(WORDS, st.none() | st.booleans() | st.integers(-9, 9) | WORDS, max_size=3)
USES = st.builds(
    lambda name, held: {"toolUse": {"toolUseId": "t", "name": name, "input": held}},
    st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
    OBJECTS,
)
THOUGHTS = st.builds(
    lambda text, signature: {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}},
    WORDS,
    WORDS,
) | st.builds(lambda data: {"reasoningContent": {"redactedContent": data}}, WORDS)


@st.composite
def answers(draw):
    said = draw(st.lists(WORDS, max_size=1))
    used = draw(st.lists(USES, min_size=0 if said else 1, max_size=3))
    for number, block in enumerate(used):
        block["toolUse"] = {**block["toolUse"], "toolUseId": f"t{number}"}
    blocks = [*draw(st.lists(THOUGHTS, max_size=2)), *({"text": text} for text in said), *used]
    counts = dict(zip(COUNTED, draw(st.tuples(*[st.integers(0, 999)] * 5)), strict=True))
    return answer(*blocks, reason="tool_use" if used else "end_turn", usage=counts)


@given(answers(), st.integers(1, 9), st.integers(1, 300))
def test_stream_says_what_the_whole_answer_says(data, cut, size):
    fields = {"stream_options": {"include_usage": True}}
    back = completion_of(read(streamed(data, cut), size, **fields))
    expected = orjson.loads(whole(data).body)
    message = expected["choices"][0]["message"]
    message["content"] = message["content"] or ""
    del message["refusal"]
    assert back["choices"][0]["message"] == message
    assert back["choices"][0]["finish_reason"] == expected["choices"][0]["finish_reason"]
    assert (back["usage"], back["model"]) == (expected["usage"], "pool")


@given(answers())
def test_answer_that_is_sent_back_is_what_bedrock_said(data):
    """Thinking with its signatures included."""
    message = choice(data)["message"]
    calls = message.get("tool_calls", [])
    results = [{"role": "tool", "tool_call_id": one["id"], "content": "x"} for one in calls]
    asked = [{"role": "user", "content": "hi"}, message, *results, {"role": "user", "content": "go on"}]
    tools = [{"type": "function", "function": {"name": "x"}}]
    body = converse_request({"messages": asked, "tools": tools}, MODEL)
    assert body["messages"][1]["content"] == data["output"]["message"]["content"]
