"""The OpenAI wire: requests out, answers and streams back, errors in every shape vendors give them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxying.adapters import ADAPTERS
from proxying.adapters.base import ClientBody, Target, Usage
from proxying.adapters.openai_stream import OpenAIStream
from proxying.errors import InvalidRequestError, UpstreamProtocolError, UpstreamStatusError
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider

DATA = Path(__file__).parent / "data"
ADAPTER = ADAPTERS["openai"]
USAGE = Usage(prompt_tokens=12, completion_tokens=5, cached_tokens=4, reasoning_tokens=2)


def target(kind="openai", **kwargs) -> Target:
    values = {"base_url": "https://up.example/v1", "api_key": "key-1", **kwargs}
    return Target(Provider("p", kind, **values), "up-model")


def body(endpoint=Endpoint.CHAT, **fields) -> ClientBody:
    return parse_body(orjson.dumps({"model": "m", **fields}), endpoint)


def stream(kind="openai", **fields) -> OpenAIStream:
    return ADAPTER.stream(body(stream=True, **fields), target(kind))


def relay(translator, raw: bytes, size: int) -> bytes:
    out = b"".join(translator.feed(raw[at : at + size]) for at in range(0, len(raw), size))
    return out + translator.end()


# Requests


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        (Endpoint.CHAT, "/chat/completions"),
        (Endpoint.COMPLETIONS, "/completions"),
        (Endpoint.EMBEDDINGS, "/embeddings"),
        (Endpoint.MODERATIONS, "/moderations"),
    ],
)
def test_build_request_addresses_the_endpoint(endpoint, path):
    request = ADAPTER.build_request(body(endpoint), target(base_url="https://up.example/v1/"), {})
    assert (request.method, request.url) == ("POST", "https://up.example/v1" + path)
    assert request.body == b'{"model":"up-model"}'


@pytest.mark.parametrize(
    ("kwargs", "url"),
    [
        ({"base_url": ""}, "https://api.openai.com/v1/chat/completions"),
        (
            {
                "base_url": "https://r.azure.example/openai/deployments/{model}",
                "options": {"api_version": "2026-01-01"},
            },
            "https://r.azure.example/openai/deployments/up-model/chat/completions?api-version=2026-01-01",
        ),
    ],
)
def test_build_request_fills_the_address(kwargs, url):
    assert ADAPTER.build_request(body(), target(**kwargs), {}).url == url


def test_build_request_sends_only_chosen_headers():
    client = {
        "authorization": "Bearer client-key",
        "x-api-key": "client-key",
        "api-key": "client-key",
        "cookie": "a=b",
        "x-forwarded-for": "10.0.0.1",
        "forwarded": "for=10.0.0.1",
        "origin": "http://x",
        "user-agent": "OpenAI/Python 3",
        "accept-encoding": "gzip",
        "host": "gateway",
        "content-length": "3",
        "openai-organization": "org-client",
        "openai-beta": "assistants=v2, x",
        "x-request-id": "req-1",
        "traceparent": "00-1-2-01",
        "idempotency-key": "i-1",
    }
    assert ADAPTER.build_request(body(), target(options={"project": "proj"}), client).headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "sluice",
        "openai-beta": "assistants=v2, x",
        "idempotency-key": "i-1",
        "traceparent": "00-1-2-01",
        "x-client-request-id": "req-1",
        "openai-project": "proj",
        "authorization": "Bearer key-1",
    }


def test_secrets_are_not_in_the_repr():
    assert "key-1" not in repr(ADAPTER.build_request(body(), target(), {}))


@pytest.mark.parametrize(
    ("kind", "fields", "sent"),
    [
        ("openai", {}, {"include_usage": True}),
        ("openai", {"stream_options": {"include_usage": True}}, {"include_usage": True}),
        ("openai", {"stream_options": {"a": 1}}, {"a": 1, "include_usage": True}),
        ("openai", {"stream_options": "odd"}, "odd"),
        ("mistral", {}, None),
        ("mistral", {"stream_options": {"include_usage": True}}, None),
    ],
)
def test_build_request_asks_for_usage(kind, fields, sent):
    request = ADAPTER.build_request(body(stream=True, **fields), target(kind), {})
    assert orjson.loads(request.body).get("stream_options") == sent
    assert request.headers["accept"] == "text/event-stream"


def test_build_request_does_not_ask_for_usage_without_stream():
    assert (
        ADAPTER.build_request(body(stream=False), target(), {}).body == b'{"model":"up-model","stream":false}'
    )


@pytest.mark.parametrize("endpoint", [Endpoint.MESSAGES, Endpoint.COUNT_TOKENS])
def test_build_request_refuses_what_it_cannot_say(endpoint):
    with pytest.raises(InvalidRequestError):
        ADAPTER.build_request(body(endpoint), target(), {})


# Streams


@pytest.mark.parametrize("name", ["chat_usage", "azure", "crlf_comments", "groq_usage", "completions"])
@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_stream_is_relayed_byte_for_byte(name, size):
    raw = (DATA / f"{name}.sse").read_bytes()
    translator = stream(stream_options={"include_usage": True})
    assert relay(translator, raw, size).rstrip(b"\r\n") == raw.rstrip(b"\r\n")
    assert (translator.has_content, translator.finished) == (True, True)


@pytest.mark.parametrize("name", ["chat_usage", "azure"])
@pytest.mark.parametrize("size", [1, 100, 100_000])
def test_stream_hides_only_the_usage_chunk_nobody_asked_for(name, size):
    raw = (DATA / f"{name}.sse").read_bytes()
    blocks = raw.split(b"\n\n")
    usage = [block for block in blocks if b'"choices":[],"usage":{' in block]
    translator = stream()
    assert relay(translator, raw, size) == b"\n\n".join(block for block in blocks if block not in usage)
    assert (len(usage), translator.usage) == (1, USAGE)


def test_stream_keeps_an_unasked_usage_chunk_of_a_kind_that_is_never_asked():
    raw = (DATA / "chat_usage.sse").read_bytes()
    assert relay(stream("mistral"), raw, 50) == raw


@pytest.mark.parametrize(
    ("name", "usage"), [("crlf_comments", USAGE), ("groq_usage", Usage(38, 4)), ("completions", Usage())]
)
def test_stream_reads_usage_where_vendors_put_it(name, usage):
    translator = stream()
    relay(translator, (DATA / f"{name}.sse").read_bytes(), 33)
    assert translator.usage == usage


def test_stream_reads_usage_inside_a_choice():
    translator = stream()
    translator.feed(
        b'data: {"choices":[{"finish_reason":"stop","usage":{"prompt_tokens":1,"cached_tokens":1}}]}\n\n'
    )
    assert translator.usage == Usage(prompt_tokens=1, cached_tokens=1)


@pytest.mark.parametrize(
    ("choice", "is_content"),
    [
        ({"delta": {"role": "assistant", "content": ""}}, False),
        ({"delta": {"role": "assistant", "content": None, "channel": "analysis"}}, False),
        ({"delta": {}}, False),
        ({"content_filter_results": {}}, False),
        ({"text": ""}, False),
        ({"delta": {"content": "a"}}, True),
        ({"delta": {"content": [{"type": "thinking"}]}}, True),
        ({"delta": {"reasoning": "a"}}, True),
        ({"delta": {"reasoning_content": "a"}}, True),
        ({"delta": {"tool_calls": [{"index": 0}]}}, True),
        ({"delta": {"function_call": {"name": "f"}}}, True),
        ({"delta": {"refusal": "no"}}, True),
        ({"delta": {"audio": {"id": "a"}}}, True),
        ({"delta": {}, "finish_reason": "stop"}, True),
        ({"text": "a"}, True),
    ],
)
def test_stream_knows_content(choice, is_content):
    """T54: a refusal, a tool call or a finish alone is content; a role is not."""
    translator = stream()
    block = b"data: " + orjson.dumps({"choices": [{"index": 0, **choice}]}) + b"\n\n"
    assert translator.feed(block) == block
    assert translator.has_content is is_content


@pytest.mark.parametrize(
    ("name", "status", "code", "message"),
    [
        ("error_event", 400, "tool_use_failed", "Tool call validation failed"),
        ("error_chunk", 502, "502", "Upstream idle timeout"),
    ],
)
def test_stream_raises_errors_of_the_provider(name, status, code, message):
    raw = (DATA / f"{name}.sse").read_bytes()
    with pytest.raises(UpstreamStatusError) as caught:
        relay(stream(), raw, 100_000)
    facts = caught.value.facts
    assert (facts.status, facts.raw_status, facts.code, facts.message) == (status, 200, code, message)
    assert raw.startswith(caught.value.partial)
    assert caught.value.partial.endswith(b"\n\n")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (b'data: {"error":"overloaded"}', 502),
        (b'data: {"error":{"type":"server_error","message":"x"}}', 500),
        (b'data: {"error":{"type":"rate_limit_exceeded","message":"x"}}', 429),
        (b'data: {"error":{"type":"overloaded_error","message":"x"}}', 503),
        (b'data: {"error":{"code":"529"}}', 503),
        (b'data: {"error":{"code":429,"message":"x"}}', 429),
        (b'event: error\ndata: {"message":"x"}', 502),
        (b'data: {"object":"error","message":"x","code":400}', 400),
        (b"event: error\ndata: {}", 502),
    ],
)
def test_stream_gives_errors_inside_it_a_status(event, status):
    with pytest.raises(UpstreamStatusError) as caught:
        stream().feed(event + b"\n\n")
    assert caught.value.facts.status == status


@pytest.mark.parametrize(
    "event",
    [
        b"data: {not json",
        b"data: [1]",
        b"data: null",
        b'data: {"choices":"x"}',
        b'data: {"choices":[1]}',
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}',
        b"data: <html></html>",
        b"data: [DONE]",
    ],
)
def test_stream_refuses_events_that_are_not_of_the_format(event):
    with pytest.raises(UpstreamProtocolError):
        stream().feed(event + b"\n\n")


def test_stream_carries_what_came_before_the_fault():
    first = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    with pytest.raises(UpstreamProtocolError) as caught:
        stream().feed(first + b"data: {\n\n")
    assert caught.value.partial == first


def test_stream_that_is_complete_but_lacks_done_gets_it():
    raw = (DATA / "chat_usage.sse").read_bytes()
    cut = raw.removesuffix(b"data: [DONE]\n\n")
    assert relay(stream(stream_options={"include_usage": True}), cut, 64) == raw
    assert relay(stream(stream_options={"include_usage": True}), raw.rstrip(b"\n"), 64) == raw
    no_usage = cut[: cut.rindex(b"data: ")]
    assert relay(stream(), no_usage + b'data: {"choices":[],"usa', 64) == no_usage + b"data: [DONE]\n\n"


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
def test_stream_that_ends_early_is_an_error(keep):
    blocks = (DATA / "chat_usage.sse").read_bytes().split(b"\n\n")[:keep]
    translator = stream()
    for block in blocks:
        translator.feed(block + b"\n\n")
    with pytest.raises(UpstreamProtocolError, match="before the answer was complete"):
        translator.end()
    assert translator.finished is False


def test_stream_finds_a_plain_error_body():
    translator = stream()
    assert translator.feed(b'{"error":{"message":"slow down","code":429}}\n') == b""
    with pytest.raises(UpstreamStatusError) as caught:
        translator.end()
    assert (caught.value.facts.status, caught.value.facts.message) == (429, "slow down")


@pytest.mark.parametrize("raw", [b"", b"<html>\n\n</html>", b'{"choices":[{"message":{}}]}'])
def test_stream_of_no_events_is_an_error(raw):
    translator = stream()
    translator.feed(raw)
    with pytest.raises(UpstreamProtocolError):
        translator.end()


def test_stream_waits_for_all_choices():
    translator = stream(n=2)
    translator.feed(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
    with pytest.raises(UpstreamProtocolError):
        translator.end()
    translator.feed(b'data: {"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}\n\n')
    assert translator.end() == b"data: [DONE]\n\n"


def test_stream_ends_with_done():
    """T56: nothing goes to the client after [DONE]."""
    translator = stream()
    raw = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    assert translator.feed(raw + b": late\n\ndata: {\n\n") == raw
    assert (translator.feed(b"data: {}\n\n"), translator.end()) == (b"", b"")


@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b"{}", b'{"choices":[{}]}', b"[DONE]"])
    )
)
def test_stream_raises_only_documented_errors(pieces):
    translator = stream()
    try:
        for piece in pieces:
            translator.feed(piece)
        translator.end()
    except (UpstreamStatusError, UpstreamProtocolError):
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "index", "finish_reason", "usage", "error", "message", "code", "details",
             "type", "detail", "metadata", "raw", "reason", "retryDelay", "x_groq", "object", "data"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


def dumped(value) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError, OverflowError):
        return b"null"


@given(JSON, st.sampled_from([b"", b"error"]))
def test_stream_takes_any_json(value, name):
    with contextlib.suppress(UpstreamStatusError, UpstreamProtocolError):
        stream().feed((b"event: error\n" if name else b"") + b"data: " + dumped(value) + b"\n\n")


# Whole answers

ANSWER = (
    b'{ "choices": [{"index":0,"message":{"content":"x"}}], "usage": {"prompt_tokens":1,"total_tokens":1}}\n'
)


@pytest.mark.parametrize(
    ("endpoint", "raw", "usage"),
    [
        (Endpoint.CHAT, ANSWER, Usage(1, 0)),
        (Endpoint.CHAT, b"\xef\xbb\xbf" + ANSWER, Usage(1, 0)),
        (Endpoint.CHAT, b'{"choices":[{"finish_reason":"content_filter"}],"error":null}', Usage()),
        (
            Endpoint.COMPLETIONS,
            b'{"choices":[{"text":"x"}],"usage":{"completion_tokens":2.0}}',
            Usage(None, 2),
        ),
        (Endpoint.EMBEDDINGS, b'{"data":[{"embedding":"AAAA"}],"usage":{"prompt_tokens":"1"}}', Usage()),
        (
            Endpoint.CHAT,
            b'{"choices":[{}],"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_cache_hit_tokens":3}}',
            Usage(5, 1, 3),
        ),
        (
            Endpoint.CHAT,
            b'{"choices":[{}],"usage":{"prompt_tokens":5,"num_cached_tokens":2}}',
            Usage(5, None, 2),
        ),
        (Endpoint.CHAT, b'{"choices":[{}],"usage":{"prompt_tokens":-1,"cached_tokens":true}}', Usage()),
    ],
)
def test_parse_response_relays_and_counts(endpoint, raw, usage):
    answer = ADAPTER.parse_response(200, {"content-type": "text/plain"}, raw, body(endpoint))
    assert (answer.body, answer.usage, answer.content_type) == (raw, usage, b"application/json")


@pytest.mark.parametrize(
    ("endpoint", "raw"),
    [
        (Endpoint.CHAT, b""),
        (Endpoint.CHAT, b" \n"),
        (Endpoint.CHAT, b"<!doctype html><html>"),
        (Endpoint.CHAT, b'{"choices":[{"message":'),
        (Endpoint.CHAT, b"[]"),
        (Endpoint.CHAT, b"null"),
        (Endpoint.CHAT, b"{}"),
        (Endpoint.CHAT, b'{"choices":[]}'),
        (Endpoint.CHAT, b'{"choices":[3]}'),
        (Endpoint.EMBEDDINGS, b'{"choices":[{}]}'),
        (Endpoint.CHAT, b"data: {}\n\n"),
        (Endpoint.CHAT, b'{"choices":[{"message":{"content":"\xff"}}]}'),
    ],
)
def test_parse_response_refuses_what_is_no_answer(endpoint, raw):
    with pytest.raises(UpstreamProtocolError):
        ADAPTER.parse_response(200, {"content-type": "application/json"}, raw, body(endpoint))


def test_parse_response_finds_an_error_in_a_200():
    raw = b'{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"slow down"}}}'
    with pytest.raises(UpstreamStatusError) as caught:
        ADAPTER.parse_response(200, {}, raw, body())
    facts = caught.value.facts
    assert (facts.status, facts.raw_status, facts.message) == (429, 200, "Provider returned error: slow down")


@given(st.binary(max_size=60) | JSON.map(dumped), st.sampled_from([Endpoint.CHAT, Endpoint.EMBEDDINGS]))
def test_parse_response_raises_only_documented_errors(raw, endpoint):
    with contextlib.suppress(UpstreamStatusError, UpstreamProtocolError):
        ADAPTER.parse_response(200, {}, raw, body(endpoint))


# Errors

UNREADABLE = "The provider answered with status %d and no readable error."
NO_MESSAGE = "The provider answered with status 500 and no message."


@pytest.mark.parametrize(
    ("status", "raw", "facts"),
    [
        # status, type, code, message, param, refused credential
        (
            404,
            b'{"error":{"message":"The model `x` does not exist","type":"invalid_request_error","param":null,'
            b'"code":"model_not_found"}}',
            (404, "invalid_request_error", "model_not_found", "The model `x` does not exist", None, False),
        ),
        (
            400,
            b'{"code":"invalid-argument","error":"Incorrect API key provided. See the console."}',
            (
                400,
                "invalid_request_error",
                "invalid-argument",
                "Incorrect API key provided. See the console.",
                None,
                True,
            ),
        ),
        (
            401,
            b'{"detail":"Invalid API Key"}',
            (401, "authentication_error", None, "Invalid API Key", None, True),
        ),
        (
            422,
            b'{"detail":[{"loc":["body","x"],"msg":"field required"},{"msg":"second"}]}',
            (422, "invalid_request_error", None, "field required; second", None, False),
        ),
        (
            400,
            b'[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT",'
            b'"details":[{"reason":"API_KEY_INVALID"}]}}]',
            (400, "invalid_request_error", "API_KEY_INVALID", "API key not valid.", None, True),
        ),
        (
            400,
            b'[{"error":{"code":400,"message":"Unknown name","status":"INVALID_ARGUMENT"}}]',
            (400, "invalid_request_error", "INVALID_ARGUMENT", "Unknown name", None, False),
        ),
        (
            403,
            b'{"error":{"message":"Key limit exceeded","code":403}}',
            (403, "permission_error", "403", "Key limit exceeded", None, False),
        ),
        (
            402,
            b'{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid"}}',
            (402, "unknown_error", "invalid", "Insufficient Balance", None, True),
        ),
        (
            429,
            b'{"error":{"message":"Quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}',
            (429, "insufficient_quota", "insufficient_quota", "Quota", None, True),
        ),
        (
            400,
            b'{"object":"error","message":"too long","type":"BadRequestError","param":"messages","code":400}',
            (400, "BadRequestError", "400", "too long", "messages", False),
        ),
        (
            529,
            b"<html>overloaded</html>",
            (503, "overloaded_error", None, UNREADABLE % 529, None, False),
        ),
        (
            522,
            b"",
            (502, "api_error", None, UNREADABLE % 522, None, False),
        ),
        (
            401,
            b"",
            (401, "authentication_error", None, UNREADABLE % 401, None, True),
        ),
        (
            500,
            b'{"error":{}}',
            (500, "api_error", None, NO_MESSAGE, None, False),
        ),
        (
            500,
            b'{"error":{"code":"invalid_api_key"}}',
            (500, "api_error", "invalid_api_key", NO_MESSAGE, None, False),
        ),
    ],
)
def test_parse_error_reads_every_shape(status, raw, facts):
    """T31: the provider's own model codes and words survive, so that policies can recognise them."""
    got = ADAPTER.parse_error(status, {"content-type": "application/json"}, raw, 0.0)
    assert (got.status, got.type, got.code, got.message, got.param, got.refused_credential) == facts
    assert got.raw_status == status


def test_parse_error_shows_short_plain_text_only():
    headers = {"content-type": "text/plain; charset=utf-8"}
    assert ADAPTER.parse_error(503, headers, b"no healthy upstream", 0.0).message == "no healthy upstream"


@pytest.mark.parametrize(
    ("headers", "raw", "seconds"),
    [
        ({"retry-after": "25"}, b'{"error":{"message":"try again in 3s"}}', 25.0),
        ({}, b'{"error":{"message":"Please try again in 3s."}}', 3.0),
        ({}, b'[{"error":{"details":[{"retryDelay":"48s"}]}}]', 48.0),
        ({"retry-after": "7"}, b"", 7.0),
        ({}, b"", None),
    ],
)
def test_parse_error_finds_the_waiting_time(headers, raw, seconds):
    assert ADAPTER.parse_error(429, headers, raw, 0.0).retry_after_s == seconds


@given(
    st.integers(100, 999),
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "content-type"]), st.text(max_size=30)),
    st.binary(max_size=60) | JSON.map(dumped),
)
def test_parse_error_never_raises(status, headers, raw):
    facts = ADAPTER.parse_error(status, headers, raw, 0.0)
    assert 400 <= facts.status <= 599
    assert facts.message


def test_error_is_read_behind_a_byte_order_mark():
    body = b'\xef\xbb\xbf{"error":{"message":"No such model.","code":"model_not_found"}}'
    facts = ADAPTER.parse_error(404, {}, body, 0.0)
    assert (facts.code, facts.message) == ("model_not_found", "No such model.")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (
            400,
            {"message": "This model's maximum context length is 9 tokens.", "code": "invalid_request_error"},
        ),
        (
            400,
            {"message": "This model's maximum context length is 9.", "type": "BadRequestError", "code": 400},
        ),
        (400, {"message": "prompt too long; exceeded max context length by 9 tokens"}),
        (400, {"message": "This model's maximum prompt length is 9 but the request contains 10."}),
        (422, {"message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 9"}),
        (400, {"message": "exceeds the available context size", "type": "exceed", "code": "exceed"}),
    ],
)
def test_request_that_is_too_long_has_the_code_that_clients_know(status, error):
    facts = ADAPTER.parse_error(status, {}, orjson.dumps({"error": error}), 0.0)
    assert (facts.status, facts.code) == (status, "context_length_exceeded")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "maximum context length", "code": "string_above_max_length"}),
        (429, {"message": "maximum context length", "code": "tokens"}),
        (400, {"message": "max_tokens is too large", "code": None}),
    ],
)
def test_exact_codes_and_other_errors_stay(status, error):
    assert ADAPTER.parse_error(status, {}, orjson.dumps({"error": error}), 0.0).code == error["code"]
