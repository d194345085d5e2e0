"""Gemini's wire, inward: whole answers, streams, errors, embeddings; and the way there and back."""

from __future__ import annotations

import base64
import contextlib
import struct

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxying.adapters import ADAPTERS
from proxying.adapters.base import Target, Usage
from proxying.adapters.gemini import GeminiAdapter
from proxying.adapters.gemini_stream import GeminiStream
from proxying.errors import UpstreamProtocolError, UpstreamStatusError
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider

ADAPTER = GeminiAdapter(clock=lambda: 1234.5)
TARGET = Target(Provider("g", "gemini_native", "https://up.example/v1beta"), "gemini-x")
USAGE = {
    "promptTokenCount": 12,
    "toolUsePromptTokenCount": 3,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 2,
    "totalTokenCount": 22,
}
COUNTS = {
    "prompt_tokens": 15,
    "completion_tokens": 7,
    "total_tokens": 22,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
SIGNED = {"google": {"thought_signature": "sig"}}


def chat(**fields):
    return parse_body(orjson.dumps({"model": "pool", "messages": [], **fields}), Endpoint.CHAT)


def answer(*parts, finish="STOP", index=0, **fields):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": index}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": "gemini-9", **fields}


def whole(data, **fields):
    raw = data if isinstance(data, bytes) else orjson.dumps(data)
    return ADAPTER.parse_response(200, {}, raw, chat(**fields))


def choice(data, **fields):
    (found,) = orjson.loads(whole(data, **fields).body)["choices"]
    return found


def stream(**fields) -> GeminiStream:
    return ADAPTER.stream(chat(stream=True, **fields), TARGET)


def sse(*events) -> bytes:
    return b"".join(b"data: " + orjson.dumps(event) + b"\r\n\r\n" for event in events)


def chunks(raw: bytes):
    """The chunks of a complete stream, and nothing behind its ``[DONE]``."""
    *events, done, rest = raw.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [orjson.loads(event.removeprefix(b"data: ")) for event in events]


# Whole answers


def test_whole_answer_is_a_chat_completion():
    parsed = whole(answer({"text": "Hel"}, {"text": "lo"}, usageMetadata=USAGE))
    assert orjson.loads(parsed.body) == {
        "id": "chatcmpl-r1",
        "object": "chat.completion",
        "created": 1234,
        "model": "gemini-9",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": COUNTS,
    }
    assert parsed.usage == Usage(15, 7, 4, 2)


def test_thoughts_images_and_signatures_have_their_places():
    parts = [
        {"text": "hm", "thought": True},
        {"inlineData": {"mimeType": "image/png", "data": "AA"}},
        {"text": "so", "thoughtSignature": "sig"},
        {"executableCode": {"code": "1"}},
    ]
    assert choice(answer(*parts))["message"] == {
        "role": "assistant",
        "content": "so",
        "reasoning_content": "hm",
        "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}],
        "extra_content": SIGNED,
        "refusal": None,
    }


def test_calls_have_ids_arguments_and_signatures():
    parts = [
        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "given"}, "thoughtSignature": "sig"},
        {"functionCall": {"name": "f", "args": {}}},
        {"functionCall": {"name": "f"}},
    ]
    found = choice(answer(*parts))
    first, *others = found["message"]["tool_calls"]
    assert (found["finish_reason"], found["message"]["content"]) == ("tool_calls", None)
    assert first == {
        "id": "given",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a":1}'},
        "extra_content": SIGNED,
    }
    assert [call["function"]["arguments"] for call in others] == ["{}", "{}"]
    assert len({call["id"] for call in others} - {""}) == 2


def test_invented_ids_differ_between_answers():
    data = answer({"functionCall": {"name": "f", "args": {}}})
    ids = [
        choice({**data, "responseId": name})["message"]["tool_calls"][0]["id"] for name in ("r1", "r2", "r1")
    ]
    assert (ids[0] == ids[2], ids[0] == ids[1]) == (True, False)


def test_one_call_is_kept_for_a_client_that_wants_no_parallel_ones():
    parts = [{"functionCall": {"name": name, "args": {}}} for name in "ab"]
    found = choice(answer(*parts), parallel_tool_calls=False)
    assert [call["function"]["name"] for call in found["message"]["tool_calls"]] == ["a"]


def test_call_is_in_the_old_form_for_a_client_of_it():
    found = choice(answer({"functionCall": {"name": "f", "args": {}}}), functions=[{"name": "f"}])
    assert found["finish_reason"] == "function_call"
    assert found["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert "tool_calls" not in found["message"]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("OTHER", "stop"),
        ("MALFORMED_FUNCTION_CALL", "stop"),
        ("SOMETHING_NEW", "stop"),
    ],
)
def test_finish_has_a_word(reason, finish):
    assert choice(answer({"text": "a"}, finish=reason))["finish_reason"] == finish


@pytest.mark.parametrize("reason", ["OTHER", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_model_that_breaks_off_without_a_word_has_not_answered(reason):
    with pytest.raises(UpstreamProtocolError, match=reason):
        whole(answer(finish=reason))


@pytest.mark.parametrize("content", [{}, {"role": "model"}, {"parts": []}, None])
@pytest.mark.parametrize(
    ("reason", "finish"), [("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("STOP", "stop")]
)
def test_finish_without_content_is_an_answer(content, reason, finish):
    """T54: a finish alone passes."""
    found = choice({"candidates": [{"content": content, "finishReason": reason}]})
    assert (found["finish_reason"], found["message"]["content"]) == (finish, None)


@pytest.mark.parametrize(
    ("feedback", "said"),
    [
        ({"blockReason": "SAFETY"}, "The provider blocked the prompt (SAFETY)."),
        ({"blockReason": "OTHER", "blockReasonMessage": "No."}, "No."),
    ],
)
def test_blocked_prompt_is_a_refusal(feedback, said):
    found = choice({"promptFeedback": feedback})
    assert (found["finish_reason"], found["message"]["refusal"]) == ("content_filter", said)


def test_several_choices_stand_in_order():
    data = answer()
    data["candidates"] = [answer({"text": t}, index=i)["candidates"][0] for i, t in ((1, "b"), (0, "a"))]
    choices = orjson.loads(whole(data, n=2).body)["choices"]
    assert [(one["index"], one["message"]["content"]) for one in choices] == [(0, "a"), (1, "b")]


def test_logprobs_are_rewritten():
    data = answer({"text": "a"})
    data["candidates"][0]["logprobsResult"] = {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5, "tokenId": 1}],
        "topCandidates": [{"candidates": [{"token": "é"}]}],
    }
    assert choice(data)["logprobs"] == {
        "content": [
            {
                "token": "a",
                "logprob": -0.5,
                "bytes": [97],
                "top_logprobs": [{"token": "é", "logprob": 0.0, "bytes": [195, 169]}],
            }
        ],
        "refusal": None,
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"{}",
        b'{"candidates":3}',
        b'{"candidates":[3]}',
        b'{"candidates":[{"content":{"parts":3}}]}',
        b'{"candidates":[{"content":{"parts":[3]}}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}',
        b'{"usageMetadata":{"promptTokenCount":1}}',
    ],
)
def test_answer_that_is_none_is_a_protocol_error(raw):
    with pytest.raises(UpstreamProtocolError):
        whole(raw)


def test_error_in_an_answer_keeps_its_status():
    with pytest.raises(UpstreamStatusError) as caught:
        whole({"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}})
    assert (caught.value.status, caught.value.code) == (503, "UNAVAILABLE")


# Streams


def test_stream_is_chunks():
    translator = stream(stream_options={"include_usage": True})
    raw = translator.feed(sse(answer({"text": "Hel"}, finish=None, usageMetadata={"promptTokenCount": 15})))
    assert (translator.has_content, translator.finished) == (True, False)
    raw += translator.feed(sse(answer({"text": "lo"}, usageMetadata=USAGE)))
    assert (translator.finished, translator.usage, translator.end()) == (True, Usage(15, 7, 4, 2), b"")
    head = {"id": "chatcmpl-r1", "object": "chat.completion.chunk", "created": 1234, "model": "gemini-9"}
    said = [
        ({"role": "assistant", "content": "Hel"}, None),
        ({"content": "lo"}, None),
        ({}, "stop"),
    ]
    assert chunks(raw) == [
        *(
            {
                **head,
                "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
                "usage": None,
            }
            for delta, finish in said
        ),
        {**head, "choices": [], "usage": COUNTS},
    ]


def test_stream_without_wish_for_usage_has_none():
    found = chunks(stream().feed(sse(answer({"text": "a"}, usageMetadata=USAGE))))
    assert [sorted(chunk) for chunk in found] == [["choices", "created", "id", "model", "object"]] * 2


def test_stream_counts_calls_across_events():
    """Gemini says STOP in an event of its own, behind calls that came whole."""
    call = {"functionCall": {"name": "f", "args": {"a": 1}}}
    found = chunks(
        stream().feed(sse(answer(call, finish=None), answer(call, finish=None), answer({"text": ""})))
    )
    deltas = [chunk["choices"][0]["delta"] for chunk in found]
    assert [delta["tool_calls"][0]["index"] for delta in deltas[:2]] == [0, 1]
    assert deltas[0]["tool_calls"][0]["id"] != deltas[1]["tool_calls"][0]["id"]
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_stream_of_several_choices_ends_with_the_last():
    translator = stream(n=2)
    assert translator.feed(sse(answer({"text": "a"}))).endswith(b'"finish_reason":"stop"}]}\n\n')
    assert not translator.finished
    assert translator.feed(sse(answer({"text": "b"}, index=1))).endswith(b"data: [DONE]\n\n")
    assert translator.finished


def test_stream_with_fewer_choices_than_asked_for_is_complete():
    translator = stream(n=3)
    translator.feed(sse(answer({"text": "a"})))
    assert (translator.end(), translator.finished) == (b"data: [DONE]\n\n", True)


def test_stream_of_a_blocked_prompt_is_complete():
    translator = stream(n=2)
    found = chunks(translator.feed(sse({"promptFeedback": {"blockReason": "SAFETY"}})))
    assert (translator.has_content, translator.finished) == (True, True)
    assert found[-1]["choices"][0]["finish_reason"] == "content_filter"


def test_stream_keeps_what_came_with_the_finish():
    """Events behind the finish, in the same piece, still count; what follows is not waited for."""
    translator = stream()
    translator.feed(sse(answer({"text": "a"}), {"usageMetadata": USAGE}))
    assert translator.usage.prompt_tokens == 15
    assert translator.feed(b"data: {broken\n\n") == b""


def test_stream_passes_over_the_end_mark_of_another_format():
    translator = stream(n=2)
    raw = translator.feed(sse(answer({"text": "a"})) + b"data: [DONE]\n\n") + translator.end()
    assert raw.count(b"[DONE]") == 1


def test_stream_that_breaks_off_has_counted_its_pieces():
    translator = stream()
    known = {"usageMetadata": {"promptTokenCount": 15, "totalTokenCount": 15}}
    translator.feed(sse(*(answer({"text": text}, finish=None, **known) for text in ("a", "b"))))
    translator.usage.broke_off()
    assert translator.usage == Usage(prompt_tokens=15, completion_tokens=2)


def test_count_that_never_came_is_none_at_the_end():
    translator = stream()
    translator.feed(sse(answer({"text": "a"}, usageMetadata={"promptTokenCount": 15})))
    assert translator.usage == Usage(prompt_tokens=15, completion_tokens=0)


def test_stream_without_content_shows_none():
    translator = stream()
    assert (
        translator.feed(b": ping\r\n\r\n" + sse({"usageMetadata": USAGE}, answer({"text": ""}, finish=None)))
        == b""
    )
    assert not translator.has_content


def test_stream_whose_last_event_lacks_its_blank_line_is_complete():
    translator = stream()
    assert translator.feed(sse(answer({"text": "a"})).rstrip()) == b""
    assert len(chunks(translator.end())) == 2


@pytest.mark.parametrize("raw", [b"", sse(answer({"text": "a"}, finish=None)), b"data: {", b"<html>"])
def test_stream_that_is_cut_does_not_end_well(raw):
    translator = stream()
    with contextlib.suppress(UpstreamProtocolError):
        translator.feed(raw)
    with pytest.raises(UpstreamProtocolError):
        translator.end()
    assert not translator.finished


@pytest.mark.parametrize("event", [b"data: {\n\n", b"data: 3\n\n", b'data: {"candidates":[3]}\n\n'])
def test_stream_that_breaks_hands_over_what_came_before(event):
    translator = stream()
    with pytest.raises(UpstreamProtocolError) as caught:
        translator.feed(sse(answer({"text": "a"}, finish=None)) + event)
    assert b'"content":"a"' in caught.value.partial


@pytest.mark.parametrize(
    "wrap", [lambda raw: b"data: " + raw + b"\r\n\r\n", lambda raw: raw, lambda raw: b"[" + raw + b"]"]
)
def test_error_in_a_stream_keeps_its_status(wrap):
    """As an event, or as the plain body that comes where a stream was asked for."""
    translator = stream()
    error = {"error": {"code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED"}}
    with pytest.raises(UpstreamStatusError) as caught:  # noqa: PT012 - a plain body is known at its end
        translator.feed(wrap(orjson.dumps(error)))
        translator.end()
    assert (caught.value.status, caught.value.code) == (429, "RESOURCE_EXHAUSTED")


# Errors


@pytest.mark.parametrize(
    ("status", "error", "facts"),
    [
        (
            400,
            {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]},
            (400, "API_KEY_INVALID", True, None),
        ),
        (401, {"status": "UNAUTHENTICATED"}, (401, "UNAUTHENTICATED", True, None)),
        (403, {"status": "PERMISSION_DENIED"}, (403, "PERMISSION_DENIED", False, None)),
        (
            429,
            {
                "status": "RESOURCE_EXHAUSTED",
                "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}],
            },
            (429, "RESOURCE_EXHAUSTED", False, 34.5),
        ),
        (404, {"status": "NOT_FOUND"}, (404, "model_not_found", False, None)),
        (
            400,
            {
                "status": "INVALID_ARGUMENT",
                "message": "The input token count (9) exceeds the maximum number of tokens allowed (5).",
            },
            (400, "context_length_exceeded", False, None),
        ),
        (400, {"status": "INVALID_ARGUMENT"}, (400, "INVALID_ARGUMENT", False, None)),
        (503, {"status": "UNAVAILABLE"}, (503, "UNAVAILABLE", False, None)),
    ],
)
def test_error_is_read(status, error, facts):
    body = orjson.dumps({"error": {"code": status, "message": "m", **error}})
    found = ADAPTER.parse_error(status, {}, body, 0)
    assert (found.status, found.code, found.refused_credential, found.retry_after_s) == facts


# Embeddings


def embed(data, **fields):
    body = parse_body(orjson.dumps({"model": "pool", "input": ["a", "b"], **fields}), Endpoint.EMBEDDINGS)
    return ADAPTER.parse_response(200, {}, orjson.dumps(data), body)


def test_embeddings_are_a_list():
    parsed = embed({"embeddings": [{"values": [0.5, 1]}, {"values": [0.25]}]})
    assert orjson.loads(parsed.body) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, 1]},
            {"object": "embedding", "index": 1, "embedding": [0.25]},
        ],
        "model": "pool",
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }
    assert parsed.usage == Usage()


def test_embeddings_are_packed_where_the_client_asks():
    data = {"embeddings": [{"values": [0.5, -2]}] * 2, "usageMetadata": {"promptTokenCount": 6}}
    parsed = embed(data, encoding_format="base64")
    rows = orjson.loads(parsed.body)["data"]
    assert [struct.unpack("<2f", base64.b64decode(row["embedding"])) for row in rows] == [(0.5, -2.0)] * 2
    assert parsed.usage.prompt_tokens == 6


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"embeddings": [{"values": [1]}]},
        {"embeddings": [{"values": [1]}, {}]},
        {"embeddings": [{"values": [1]}, {"values": ["x"]}]},
        {"embeddings": [{"values": [1]}, {"values": [1e300]}]},
    ],
)
def test_embeddings_that_are_not_are_a_protocol_error(data):
    with pytest.raises(UpstreamProtocolError):
        embed(data, encoding_format="base64")


# Clients of Messages


def test_client_of_messages_is_answered():
    """By way of chat completions: the request, the whole answer, the stream."""
    wire = ADAPTERS["gemini"]
    asked = {
        "model": "pool",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "top_k": 3,
    }
    body = parse_body(orjson.dumps(asked), Endpoint.MESSAGES)
    assert orjson.loads(wire.build_request(body, TARGET, {}).body) == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "tools": [
            {"functionDeclarations": [{"name": "weather", "parametersJsonSchema": {"type": "object"}}]}
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {"maxOutputTokens": 50, "topK": 3},
    }
    call = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}
    parts = [{"text": "hm", "thought": True}, {"text": "Let me see."}, call, call]
    raw = orjson.dumps(answer(*parts, usageMetadata=USAGE))
    message = orjson.loads(wire.parse_response(200, {}, raw, body).body)
    kinds = [block["type"] for block in message["content"]]
    assert (kinds, message["stop_reason"]) == (["thinking", "text", "tool_use"], "tool_use")
    assert message["content"][2]["input"] == {"city": "Oslo"}
    translator = wire.stream(body, TARGET)
    out = translator.feed(sse(*(answer(part, finish=None) for part in parts), answer(usageMetadata=USAGE)))
    events = [orjson.loads(line[6:]) for line in out.splitlines() if line.startswith(b"data:")]
    assert [one["content_block"]["type"] for one in events if one["type"] == "content_block_start"] == kinds
    assert (translator.finished, events[-1]["type"]) == (True, "message_stop")
    assert events[-2]["usage"] == message["usage"]


# There and back


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(texts, values, max_size=3)
signatures = st.none() | st.from_regex(r"[A-Za-z0-9+/]{4,20}", fullmatch=True)


@st.composite
def called(draw):
    held = {"name": draw(names), "arguments": orjson.dumps(draw(arguments)).decode()}
    signature = draw(signatures)
    extra = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
    return {"id": draw(texts), "type": "function", "function": held, **extra}


@st.composite
def said(draw):
    """An assistant's message: words, calls, or both."""
    content, calls = draw(st.none() | texts), draw(st.lists(called(), max_size=3))
    if content is None and not calls:
        content = draw(texts)
    return {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}


@given(said(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_message_survives_the_way_to_gemini_and_back(message, prompt, completion):
    sent = ADAPTER.build_request(chat(messages=[{"role": "user", "content": "u"}, message]), TARGET, {})
    parts = orjson.loads(sent.body)["contents"][1]["parts"]
    for part in parts:  # what stands in for a signature is not the client's
        if part.get("thoughtSignature") == "skip_thought_signature_validator":
            del part["thoughtSignature"]
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": completion}
    parsed = whole(answer(*parts, usageMetadata=counts))
    (found,) = orjson.loads(parsed.body)["choices"]
    assert found["message"] == {**message, "refusal": None}
    assert found["finish_reason"] == ("tool_calls" if message.get("tool_calls") else "stop")
    assert (parsed.usage.prompt_tokens, parsed.usage.completion_tokens) == (prompt, completion)


@given(
    st.lists(
        st.sampled_from(["user", "assistant"]).flatmap(lambda role: st.tuples(st.just(role), texts)),
        min_size=1,
    )
)
def test_order_of_turns_survives(turns):
    messages = [{"role": role, "content": text} for role, text in turns]
    found = orjson.loads(ADAPTER.build_request(chat(messages=messages), TARGET, {}).body)["contents"]
    roles = {"user": "user", "model": "assistant"}
    assert [(roles[turn["role"]], turn["parts"][0]["text"]) for turn in found] == turns


@st.composite
def part(draw):
    kind = draw(st.sampled_from(["text", "thought", "call"]))
    if kind == "call":
        held = {"functionCall": {"name": draw(names), "args": draw(arguments)}}
    else:
        held = {"text": draw(texts | st.just("")), **({"thought": True} if kind == "thought" else {})}
    signature = draw(signatures)
    return {**held, "thoughtSignature": signature} if signature else held


def joined(found):
    """The message that a client puts together from chunks."""
    message = {"role": "assistant", "content": None, "refusal": None}
    for chunk in found:
        for one in chunk["choices"]:
            delta = one["delta"]
            for name in ("content", "reasoning_content"):
                if delta.get(name):
                    message[name] = (message.get(name) or "") + delta[name]
            for call in delta.get("tool_calls", []):
                message.setdefault("tool_calls", []).append({k: v for k, v in call.items() if k != "index"})
            if "extra_content" in delta:
                message["extra_content"] = delta["extra_content"]
    return message


@given(st.lists(part(), max_size=6), st.integers(1, 300), st.booleans(), st.booleans())
def test_whole_equals_the_stream_put_together(parts, size, ends_alone, one_call):
    """However the answer is cut: into events, and into pieces of bytes."""
    fields = {"stream_options": {"include_usage": True}, "parallel_tool_calls": not one_call}
    events = [answer(one, finish=None) for one in parts]
    if events and not ends_alone:
        events[-1]["candidates"][0]["finishReason"] = "STOP"
    else:
        events.append(answer())
    events[-1]["usageMetadata"] = USAGE
    raw = sse(*events)
    translator = stream(**fields)
    out = b"".join(translator.feed(raw[at : at + size]) for at in range(0, len(raw), size)) + translator.end()
    found = chunks(out)
    expected = orjson.loads(whole(answer(*parts, usageMetadata=USAGE), **fields).body)
    assert joined(found) == expected["choices"][0]["message"]
    finishes = [one["finish_reason"] for chunk in found for one in chunk["choices"] if one["finish_reason"]]
    assert finishes == [expected["choices"][0]["finish_reason"]]
    assert (found[-1]["usage"], found[-1]["id"]) == (expected["usage"], expected["id"])
    assert translator.usage == Usage(15, 7, 4, 2)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_garbage_is_an_upstream_error_or_nothing(raw, size):
    translator = stream()
    with contextlib.suppress(UpstreamProtocolError, UpstreamStatusError):
        for at in range(0, len(raw), size):
            translator.feed(raw[at : at + size])
        translator.end()
    assert not translator.finished
