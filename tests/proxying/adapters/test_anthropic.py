"""Anthropic's wire: straight for its own clients, errors as facts, answers as chat completions."""

from __future__ import annotations

import json

import pytest

from proxying import sse
from proxying.adapters import ADAPTERS
from proxying.adapters.anthropic_answer import chat_answer
from proxying.adapters.base import ClientBody, Target, Usage
from proxying.adapters.gateway_thinking import SIGNATURE_TEXT
from proxying.errors import InvalidRequestError, UpstreamProtocolError, UpstreamStatusError, render
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.proxying.adapters.dialect_streams import completion_of, event, events_of

ADAPTER = ADAPTERS["anthropic"]
USAGE = {"input_tokens": 5, "output_tokens": 1}
START = event("message_start", message={"id": "msg_1", "model": "m", "content": [], "usage": USAGE})
TEXT = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
HELLO = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})
STOPPED = event("content_block_stop", index=0)
ENDING = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
STOP = event("message_stop")
WHOLE = START + TEXT + HELLO + STOPPED + ENDING + STOP


def target(**values) -> Target:
    return Target(
        Provider("p", "anthropic", "https://up.example/v1/", **{"api_key": "key-1", **values}), "up"
    )


def own(endpoint=Endpoint.MESSAGES, **fields) -> ClientBody:
    return parse_body(json.dumps({"model": "m", "messages": [], **fields}).encode(), endpoint)


def chat(**fields) -> ClientBody:
    messages = [{"role": "user", "content": "hi"}]
    return parse_body(json.dumps({"model": "m", "messages": messages, **fields}).encode(), Endpoint.CHAT)


def chunks(*events: bytes, **fields) -> list[dict]:
    """The deltas that a chat client gets for these events inside a stream."""
    translator = ADAPTER.stream(chat(stream=True, **fields), target())
    out = translator.feed(START)
    first = len(out)
    out += b"".join(translator.feed(one) for one in events)
    return [json.loads(one.data)["choices"][0]["delta"] for one in events_of(out[first:])]


# Requests


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [(Endpoint.MESSAGES, "/messages"), (Endpoint.COUNT_TOKENS, "/messages/count_tokens")],
)
def test_build_request_addresses_the_endpoint(endpoint, path):
    request = ADAPTER.build_request(own(endpoint), target(), {})
    assert request.url == "https://up.example/v1" + path
    assert request.headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "sluice",
        "anthropic-version": "2023-06-01",
        "x-api-key": "key-1",
    }
    default = ADAPTER.build_request(own(), Target(Provider("p", "anthropic", ""), "up"), {})
    assert default.url == "https://api.anthropic.com/v1/messages"
    assert "key-1" not in repr(request)


def test_translated_request_says_the_version_that_takes_sampling():
    """What a client says to OpenAI, or to Anthropic by chance, is not said here."""
    client = {
        "anthropic-version": "2026-10-21",
        "openai-beta": "x",
        "openai-organization": "o",
        "traceparent": "00-1",
        "x-request-id": "r-1",
    }
    headers = ADAPTER.build_request(chat(stream=True), target(), client).headers
    assert headers == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": "sluice",
        "anthropic-version": "2023-06-01",
        "traceparent": "00-1",
        "x-client-request-id": "r-1",
        "x-api-key": "key-1",
    }


@pytest.mark.parametrize("endpoint", [Endpoint.EMBEDDINGS, Endpoint.COMPLETIONS])
def test_other_endpoints_are_refused(endpoint):
    body = parse_body(b'{"model":"m","input":"x"}', endpoint)
    with pytest.raises(InvalidRequestError):
        ADAPTER.build_request(body, target(), {})


def test_thinking_that_the_gateway_made_does_not_go_to_anthropic():
    made = {"type": "thinking", "thinking": "t", "signature": SIGNATURE_TEXT}
    true = {"type": "thinking", "thinking": "t", "signature": "c2ln"}
    said = {"type": "text", "text": "a"}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [made, true, said]},
        {"role": "assistant", "content": [made]},
        {"role": "user", "content": f"what is {SIGNATURE_TEXT}?"},
    ]
    sent = json.loads(ADAPTER.build_request(own(messages=messages), target(), {}).body)["messages"]
    assert sent == [messages[0], {"role": "assistant", "content": [true, said]}, messages[3]]
    untouched = own(messages=[messages[3]])
    assert ADAPTER.build_request(untouched, target(), {}).body == untouched.raw.replace(b'"m"', b'"up"', 1)


# Whole answers


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (Endpoint.MESSAGES, b""),
        (Endpoint.MESSAGES, b"<html>"),
        (Endpoint.MESSAGES, b"[]"),
        (Endpoint.MESSAGES, b'{"type":"message"}'),
        (Endpoint.COUNT_TOKENS, b'{"input_tokens":"7"}'),
    ],
)
def test_unusable_answer_is_the_providers_fault(endpoint, body):
    with pytest.raises(UpstreamProtocolError):
        ADAPTER.parse_response(200, {}, body, own(endpoint))
    if endpoint is Endpoint.MESSAGES:
        with pytest.raises(UpstreamProtocolError):
            ADAPTER.parse_response(200, {}, body, chat())


def test_error_inside_a_whole_answer_is_an_error():
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}'
    with pytest.raises(UpstreamStatusError) as caught:
        ADAPTER.parse_response(200, {}, body, chat())
    facts = caught.value.facts
    assert (facts.status, facts.raw_status, facts.code) == (429, 200, "rate_limit_exceeded")


@pytest.mark.parametrize("block", [{"type": "text", "text": ["a"]}, {"type": "thinking", "thinking": 1}])
def test_words_that_are_none_are_a_fault_of_the_provider(block):
    body = json.dumps({"type": "message", "content": [block]}).encode()
    with pytest.raises(UpstreamProtocolError):
        ADAPTER.parse_response(200, {}, body, chat())


def answer(*content: dict, **fields) -> dict:
    return {"id": "msg_1", "model": "m", "content": list(content), "usage": USAGE, **fields}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("compaction", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("of_tomorrow", "stop"),
        (None, "stop"),
    ],
)
def test_stop_reason_becomes_a_finish_reason(reason, expected):
    assert chat_answer(answer(stop_reason=reason), 1)["choices"][0]["finish_reason"] == expected


def test_what_a_chat_client_cannot_answer_is_left_out():
    """Tools that the provider runs itself; the text around them stays, with its web citations."""
    cited = {"type": "web_search_result_location", "url": "https://a.example", "title": "A"}
    message = chat_answer(
        answer(
            {"type": "text", "text": "Let me search. "},
            {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}},
            {"type": "web_search_tool_result", "tool_use_id": "srv", "content": []},
            {"type": "text", "text": "Found.", "citations": [cited, {"type": "page_location"}]},
        ),
        1,
    )["choices"][0]["message"]
    citation = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 21}
    assert message == {
        "role": "assistant",
        "content": "Let me search. Found.",
        "refusal": None,
        "annotations": [{"type": "url_citation", "url_citation": citation}],
    }


def test_refusal_keeps_its_explanation():
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    choice = chat_answer(answer(stop_reason="refusal", stop_details=details), 1)["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "Not this."}
    ended = event("message_delta", delta={"stop_reason": "refusal", "stop_details": details}, usage={})
    assert chunks(ended) == [{"refusal": "Not this."}, {}]


# Streams


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_stream_without_event_lines_gets_them(size):
    """T57: Anthropic's SDKs drop an event without its line."""
    bare = b"".join(line + b"\n\n" for line in WHOLE.splitlines() if line.startswith(b"data:"))
    translator = ADAPTER.stream(own(stream=True), target())
    out = b"".join(translator.feed(bare[at : at + size]) for at in range(0, len(bare), size))
    assert out == WHOLE
    assert translator.usage == Usage(prompt_tokens=5, completion_tokens=3)


def test_stream_that_lacks_its_stop_gets_it():
    """A stop reason says that the answer is complete."""
    translator = ADAPTER.stream(own(stream=True), target())
    cut = WHOLE.removesuffix(STOP)
    assert translator.feed(cut + b"event: mess") == cut
    assert translator.end() == sse.encode_event(b'{"type":"message_stop"}', b"message_stop")
    assert (translator.finished, translator.end(), translator.feed(STOP)) == (True, b"", b"")


@pytest.mark.parametrize("body", [own(stream=True), chat(stream=True)], ids=["messages", "chat"])
@pytest.mark.parametrize("pieces", [b"", START, START + TEXT + HELLO, START + TEXT + HELLO[:-9]])
def test_stream_that_ends_early_is_a_fault(body, pieces):
    translator = ADAPTER.stream(body, target())
    translator.feed(pieces)
    with pytest.raises(UpstreamProtocolError):
        translator.end()


@pytest.mark.parametrize("body", [own(stream=True), chat(stream=True)], ids=["messages", "chat"])
def test_error_in_a_stream_carries_what_came_before(body):
    translator = ADAPTER.stream(body, target())
    before = translator.feed(START + TEXT)
    error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    with pytest.raises(UpstreamStatusError) as caught:
        translator.feed(HELLO + error)
    facts = caught.value.facts
    assert (facts.status, facts.raw_status, facts.type, facts.code) == (
        503,
        200,
        "overloaded_error",
        "overloaded",
    )
    assert b"Hello" in caught.value.partial
    assert b"Hello" not in before


def test_plain_error_body_instead_of_a_stream_is_an_error():
    translator = ADAPTER.stream(own(stream=True), target())
    translator.feed(b'{"type":"error","error":{"type":"api_error","message":"Broken."}}')
    with pytest.raises(UpstreamStatusError) as caught:
        translator.end()
    assert (caught.value.facts.status, caught.value.message) == (500, "Broken.")


@pytest.mark.parametrize(
    "data",
    [b"{", b"[]", b'{"type":"message_stop"}'],
    ids=["not JSON", "no object", "an end without content"],
)
def test_event_that_is_not_of_the_format_is_a_fault(data):
    translator = ADAPTER.stream(own(stream=True), target())
    with pytest.raises(UpstreamProtocolError):
        translator.feed(START + sse.encode_event(data, b"x"))


@pytest.mark.parametrize(
    ("one", "has_content"),
    [
        (TEXT, False),
        (event("ping"), False),
        (event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}), False),
        (event("content_block_start", index=0, content_block={"type": "tool_use", "id": "t"}), True),
        (event("content_block_start", index=0, content_block={"type": "redacted_thinking"}), True),
        (HELLO, True),
        (ENDING, True),
    ],
)
def test_first_content_is_what_says_something(one, has_content):
    """T54: a finish alone is content too."""
    translator = ADAPTER.stream(own(stream=True), target())
    translator.feed(START + one)
    assert translator.has_content == has_content


def test_calls_of_a_stream_are_counted_from_zero_and_have_arguments():
    """Their block index counts texts too; a call without arguments still gets an object."""
    uses = [
        event(
            "content_block_start",
            index=1,
            content_block={"type": "tool_use", "id": "a", "name": "f", "input": {}},
        ),
        event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": ""}),
        event("content_block_stop", index=1),
        event(
            "content_block_start", index=2, content_block={"type": "server_tool_use", "id": "s", "name": "w"}
        ),
        event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '{"q":1}'}),
        event("content_block_stop", index=2),
        event(
            "content_block_start",
            index=3,
            content_block={"type": "tool_use", "id": "b", "name": "g", "input": {"x": 1}},
        ),
        event("content_block_stop", index=3),
    ]
    assert chunks(TEXT, HELLO, STOPPED, *uses)[1:] == [
        {
            "tool_calls": [
                {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x":1}'}}
            ]
        },
    ]


def test_thinking_of_a_stream_keeps_its_signature():
    deltas = chunks(
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "Hm."}),
        event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"}),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={"type": "redacted_thinking", "data": "x"}),
    )
    text = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    assert deltas == [
        {"reasoning_content": "Hm.", "reasoning_details": [{**text, "text": "Hm.", "signature": None}]},
        {"reasoning_details": [{**text, "text": "", "signature": "c2ln"}]},
        {
            "reasoning_details": [
                {"type": "reasoning.encrypted", "data": "x", "format": "anthropic-claude-v1", "index": 1}
            ]
        },
    ]


def test_unknown_events_and_deltas_are_passed_over_and_pings_are_comments():
    unknown = [
        event("of_tomorrow"),
        event("content_block_delta", index=0, delta={"type": "of_tomorrow"}),
        event("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {"url": "u"}}),
    ]
    (cited,) = chunks(TEXT, *unknown)
    assert cited["annotations"][0]["url_citation"]["url"] == "u"
    translator = ADAPTER.stream(chat(stream=True), target())
    assert translator.feed(START + event("ping")).endswith(b"\n\n: ping\n\n")


@pytest.mark.parametrize("asked", [True, False])
def test_usage_is_sent_only_when_asked_for(asked):
    translator = ADAPTER.stream(chat(stream=True, stream_options={"include_usage": asked}), target())
    out = translator.feed(WHOLE)
    usage = completion_of(out)["usage"]
    assert (usage or {}).get("total_tokens") == (8 if asked else None)
    assert (b'"usage"' in out) == asked
    assert translator.usage == Usage(prompt_tokens=5, completion_tokens=3)


# Errors


@pytest.mark.parametrize(
    ("status", "kind", "expected", "openai_type", "code"),
    [
        (400, "invalid_request_error", 400, "invalid_request_error", None),
        (401, "authentication_error", 502, "upstream_error", "upstream_auth_error"),
        (402, "billing_error", 502, "upstream_error", "upstream_auth_error"),
        (403, "permission_error", 403, "permission_error", None),
        (404, "not_found_error", 404, "not_found_error", None),
        (413, "request_too_large", 413, "invalid_request_error", "request_too_large"),
        (429, "rate_limit_error", 429, "rate_limit_error", "rate_limit_exceeded"),
        (500, "api_error", 500, "api_error", None),
        (504, "timeout_error", 504, "api_error", "timeout"),
        (529, "overloaded_error", 503, "overloaded_error", "overloaded"),
    ],
)
def test_every_status_becomes_the_right_openai_error(status, kind, expected, openai_type, code):
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "Said."}}).encode()
    facts = ADAPTER.parse_error(status, {}, body, 0.0)
    shown_status, _, written = render(UpstreamStatusError(facts), "openai", "r")
    error = json.loads(written)["error"]
    assert (facts.raw_status, shown_status, error["type"], error["code"]) == (
        status,
        expected,
        openai_type,
        code,
    )
    own_status, _, _ = render(UpstreamStatusError(facts), "anthropic", "r")
    assert own_status == (529 if status == 529 else expected)


def test_unpaid_account_is_the_providers_fault():
    message = "Your credit balance is too low to access the Anthropic API."
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    assert ADAPTER.parse_error(400, {}, json.dumps(body).encode(), 0.0).refused_credential


def test_error_code_is_taken_from_the_details():
    error = {"type": "rate_limit_error", "message": "No.", "details": {"error_code": "spend_cap"}}
    facts = ADAPTER.parse_error(429, {}, json.dumps({"type": "error", "error": error}).encode(), 0.0)
    assert (facts.code, facts.retry_after_s) == ("spend_cap", None)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "1970-01-01T00:00:20Z",
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "1970-01-01T00:00:40Z",
                "anthropic-ratelimit-tokens-remaining": "9",
                "anthropic-ratelimit-tokens-reset": "1970-01-01T00:01:40Z",
            },
            30.0,
        ),
        ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "soon"}, None),
        ({}, None),
    ],
)
def test_rate_limit_headers_say_how_long_to_wait(headers, expected):
    assert ADAPTER.parse_error(429, headers, b"{}", 10.0).retry_after_s == expected


@pytest.mark.parametrize("request_of", [own, chat])
def test_stream_that_breaks_off_counts_what_was_said_and_not_what_its_start_announced(request_of):
    stream = ADAPTER.stream(request_of(stream=True), target())
    start = event("message_start", message={"id": "msg_1", "usage": {"input_tokens": 9, "output_tokens": 1}})
    said = [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in "abcd"
    ]
    stream.feed(b"".join((start, *said)))
    stream.usage.broke_off()
    assert (stream.usage.prompt_tokens, stream.usage.completion_tokens) == (9, 4)


def test_count_of_the_start_stands_when_the_end_has_none():
    stream = ADAPTER.stream(own(stream=True), target())
    usage = {"input_tokens": 9, "output_tokens": 3}
    stream.feed(event("message_start", message={"id": "msg_1", "usage": usage}))
    stream.feed(event("message_delta", delta={"stop_reason": "end_turn"}) + event("message_stop"))
    assert stream.usage == Usage(9, 3)
