"""Clients of Anthropic's Messages at OpenAI's format: requests field by field, answers, odd streams."""

from __future__ import annotations

import hashlib
import itertools
import json

import pytest

from proxying import sse
from proxying.adapters import ADAPTERS, reasoning_details
from proxying.adapters.base import ClientBody, Target, Usage
from proxying.adapters.gateway_thinking import SIGNATURE_TEXT
from proxying.adapters.messages_answer import messages_answer
from proxying.adapters.messages_request import chat_request
from proxying.adapters.messages_stream import MessagesEvents
from proxying.adapters.reasoning_details import thinking_blocks
from proxying.errors import InvalidRequestError, UpstreamProtocolError, UpstreamStatusError
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.proxying.adapters.dialect_streams import chunk, events_of, message_of, usage_chunk

ADAPTER = ADAPTERS["openai"]
HI = [{"role": "user", "content": "hi"}]
TOOL = {"name": "f", "input_schema": {"type": "object"}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def target(kind="openai_compatible", model="up") -> Target:
    return Target(Provider("p", kind, "https://up.example/v1", api_key="key-1"), model)


def request(**fields) -> ClientBody:
    body = {"model": "m", "max_tokens": 9, "messages": HI, **fields}
    return parse_body(json.dumps(body).encode(), Endpoint.MESSAGES)


def added(kind="openai_compatible", model="up", **fields):
    """What a field adds to the smallest request."""
    written = chat_request({"max_tokens": 9, "messages": HI, **fields}, target(kind, model))
    name = "max_completion_tokens" if kind in {"openai", "azure_openai"} else "max_tokens"
    assert (written.pop("model"), written.pop("messages"), written.pop(name)) == (model, HI, 9)
    return written


def messages_of(*messages, kind="openai_compatible", **fields):
    return chat_request({"max_tokens": 9, "messages": list(messages), **fields}, target(kind))["messages"]


# Requests


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0.4, "top_p": 0.9}, {"temperature": 0.4, "top_p": 0.9}),
        ({"top_k": 5}, {}),
        ({"stop_sequences": ["A"]}, {"stop": ["A"]}),
        ({"stop_sequences": []}, {}),
        ({"stream": True}, {"stream": True}),
        ({"seed": 1, "frequency_penalty": 0.1}, {"seed": 1, "frequency_penalty": 0.1}),
        ({"metadata": {"user_id": "u"}}, {}),
        ({"cache_control": {}, "context_management": {}, "service_tier": "auto", "of_tomorrow": 1}, {}),
        ({"tools": []}, {}),
        ({"tools": [TOOL]}, {"tools": [FUNCTION]}),
        ({"tools": [{**TOOL, "type": "custom"}]}, {"tools": [FUNCTION]}),
        ({"tools": [TOOL], "tool_choice": {"type": "auto"}}, {"tools": [FUNCTION], "tool_choice": "auto"}),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, {"tools": [FUNCTION], "tool_choice": "required"}),
        ({"tools": [TOOL], "tool_choice": {"type": "none"}}, {"tools": [FUNCTION], "tool_choice": "none"}),
        (
            {
                "tools": [TOOL],
                "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            },
            {
                "tools": [FUNCTION],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "parallel_tool_calls": False,
            },
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"a": 1}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "output", "schema": {"a": 1}, "strict": True},
                }
            },
        ),
        ({"thinking": {"type": "disabled"}}, {}),
        ({"thinking": {"type": "adaptive"}}, {}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 16000}}, {"reasoning_effort": "high"}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, {}),
    ],
)
def test_field_is_rewritten(fields, expected):
    assert added(**fields) == expected


@pytest.mark.parametrize(
    ("kind", "model", "fields", "expected"),
    [
        ("vllm", "up", {"top_k": 5}, {"top_k": 5}),
        ("mistral", "up", {"output_config": {"effort": "low"}}, {}),
        ("openai", "gpt-4o", {"output_config": {"effort": "low"}, "temperature": 1}, {"temperature": 1}),
        (
            "openai",
            "gpt-5-mini",
            {"output_config": {"effort": "max"}, "temperature": 1, "top_p": 1},
            {"reasoning_effort": "xhigh"},
        ),
        (
            "azure_openai",
            "o3",
            {"metadata": {"user_id": "u"}},
            {"safety_identifier": hashlib.sha256(b"u").hexdigest()},
        ),
    ],
)
def test_kinds_get_what_they_take(kind, model, fields, expected):
    assert added(kind, model, **fields) == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"system": 7}, "system"),
        ({"mcp_servers": [{"url": "u"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL], "tool_choice": {"type": "some"}}, "tool_choice"),
        ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url"}}]}]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "s"}]}]},
            "messages[0].content[0]",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(fields, param):
    with pytest.raises(InvalidRequestError) as refused:
        chat_request({"max_tokens": 9, "messages": HI, **fields}, target())
    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")


def test_counting_cannot_be_sent_to_this_wire():
    body = parse_body(b'{"model":"m","messages":[]}', Endpoint.COUNT_TOKENS)
    with pytest.raises(InvalidRequestError):
        ADAPTER.build_request(body, target(), {})


def test_request_asks_for_usage_and_says_nothing_of_anthropic():
    client = {"anthropic-version": "2023-06-01", "anthropic-beta": "b", "x-api-key": "c", "x-request-id": "r"}
    sent = ADAPTER.build_request(request(stream=True), target(), client)
    assert json.loads(sent.body)["stream_options"] == {"include_usage": True}
    assert sent.url == "https://up.example/v1/chat/completions"
    assert sent.headers == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": "sluice",
        "x-client-request-id": "r",
        "authorization": "Bearer key-1",
    }
    plain = ADAPTER.build_request(request(stream=True), target("mistral"), {})
    assert "stream_options" not in json.loads(plain.body)


def test_instructions_come_first_and_in_place():
    system = [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "b"},
    ]
    got = messages_of(*HI, {"role": "system", "content": "later"}, system=system)
    assert got == [{"role": "system", "content": "a\nb"}, *HI, {"role": "system", "content": "later"}]


def test_results_stand_before_the_words_and_their_pictures_after():
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    sent = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    got = messages_of(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {
                    "type": "tool_result",
                    "tool_use_id": "a",
                    "content": [{"type": "text", "text": "1"}, picture],
                },
                {"type": "tool_result", "tool_use_id": "b", "content": "no", "is_error": True},
                {"type": "tool_result", "tool_use_id": "c"},
            ],
        }
    )
    assert got == [
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: no"},
        {"role": "tool", "tool_call_id": "c", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "look"}, sent]},
    ]


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        ),
        (
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
            },
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        ),
    ],
)
def test_block_becomes_a_part(block, part):
    assert messages_of({"role": "user", "content": [block]}) == [{"role": "user", "content": [part]}]


def test_text_document_becomes_text():
    source = {"type": "text", "media_type": "text/plain", "data": "words"}
    block = {"type": "document", "title": "T", "source": source}
    assert messages_of({"role": "user", "content": [block]}) == [{"role": "user", "content": "T\n\nwords"}]


@pytest.mark.parametrize(("kind", "extra"), [("vllm", {}), ("deepseek", {"reasoning_content": "hm"})])
def test_thinking_goes_back_only_to_who_wants_it(kind, extra):
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    ]
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (got,) = messages_of({"role": "assistant", "content": content}, kind=kind)
    assert got == {"role": "assistant", "content": "a", "tool_calls": [call], **extra}


# Answers


def whole(message: dict, finish: str = "stop", **fields) -> dict:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return messages_answer({"id": "c.1", "model": "m", "choices": [choice], **fields}, lambda: "new")


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("content_filter", "refusal"),
        ("eos", "end_turn"),
        (None, "end_turn"),
    ],
)
def test_finish_reason_becomes_a_stop_reason(finish, expected):
    assert whole({"content": "a"}, finish)["stop_reason"] == expected


def test_odd_answers_become_messages():
    """Gemini's calls without id that end with ``stop``, Mistral's lists, refusals, Azure's filter."""
    function = {"name": "f", "arguments": ""}
    gemini = whole({"content": None, "tool_calls": [{"id": "", "function": function}]})
    listed = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "a"},
    ]
    mistral = whole({"content": listed})
    refused = whole({"content": None, "refusal": "No."})
    filtered = messages_answer({"choices": [{"finish_reason": "content_filter"}]}, lambda: "new")
    assert gemini["content"] == [{"type": "tool_use", "id": "toolu_new", "name": "f", "input": {}}]
    assert (gemini["stop_reason"], gemini["id"]) == ("tool_use", "msg_c_1")
    assert mistral["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": SIGNATURE_TEXT},
        {"type": "text", "text": "a"},
    ]
    assert (refused["content"], refused["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")
    assert (filtered["content"], filtered["stop_reason"], filtered["id"]) == ([], "refusal", "msg_new")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", {}), ("{}", {}), ({"a": 1}, {"a": 1}), ("[1]", {"value": [1]}), ("{a", {"invalid_json": "{a"})],
)
def test_arguments_become_an_object(arguments, expected):
    answer = whole({"tool_calls": [{"id": "t", "function": {"name": "f", "arguments": arguments}}]})
    assert answer["content"][0]["input"] == expected


# Streams


def streamed(*deltas: dict, finish: str = "stop", **usage) -> dict:
    """The message of a stream of these deltas."""
    ids = map(str, itertools.count(1))
    writer = MessagesEvents(lambda: next(ids))
    raw = b"".join(map(chunk, deltas)) + chunk({}, finish)
    raw += (usage_chunk(**usage) if usage else b"") + sse.DONE
    return message_of(b"".join(writer.write(one) for one in events_of(raw)))


def piece(arguments: str = "", **fields) -> dict:
    function = {"arguments": arguments}
    if "name" in fields:
        function["name"] = fields.pop("name")
    return {"tool_calls": [{**fields, "function": function}]}


def inputs(message: dict) -> list[tuple]:
    return [(one["id"], one["name"], one["input"]) for one in message["content"]]


def test_calls_without_index_are_told_apart():
    """Gemini's endpoint leaves it out, and some of its models the id too."""
    message = streamed(
        piece('{"a":1}', id="", name="f"), piece('{"b":', id="", name="g"), piece("2}"), finish="stop"
    )
    assert inputs(message) == [("toolu_1", "f", {"a": 1}), ("toolu_2", "g", {"b": 2})]
    assert message["stop_reason"] == "tool_use"


def test_calls_that_all_say_index_zero_are_told_apart():
    message = streamed(
        piece('{"a":1}', index=0, id="x", name="f"), piece('{"b":2}', index=0, id="y", name="g")
    )
    assert inputs(message) == [("x", "f", {"a": 1}), ("y", "g", {"b": 2})]


def test_interleaved_calls_wait_for_each_other():
    message = streamed(
        piece(index=0, id="x", name="f"),
        piece(index=1, id="y", name="g"),
        piece('{"b":', index=1),
        piece('{"a":', index=0),
        piece("2}", index=1),
        piece("1}", index=0),
        finish="tool_calls",
    )
    assert inputs(message) == [("x", "f", {"a": 1}), ("y", "g", {"b": 2})]


def test_second_call_is_not_held_back_when_the_first_is_complete():
    writer = MessagesEvents(lambda: "n")
    first = chunk(piece('{"a":1}', index=0, id="x", name="f"))
    second = chunk(piece('{"b"', index=1, id="y", name="g"))
    writer.write(events_of(first)[0])
    written = [json.loads(one.data) for one in events_of(writer.write(events_of(second)[0]))]
    assert [one["type"] for one in written] == [
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
    ]
    assert written[2]["delta"] == {"type": "input_json_delta", "partial_json": '{"b"'}


def test_blocks_follow_the_order_of_what_was_said():
    message = streamed(
        {"role": "assistant", "content": ""},
        {"reasoning": "hm"},
        {"content": "a"},
        piece(index=0, id="x", name="f"),
        {"content": "b"},
        finish="tool_calls",
        prompt_tokens=30,
        completion_tokens=4,
        prompt_tokens_details={"cached_tokens": 10},
    )
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": SIGNATURE_TEXT},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "x", "name": "f", "input": {}},
        {"type": "text", "text": "b"},
    ]
    assert message["usage"] == {
        "input_tokens": 20,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 10,
        "output_tokens": 4,
    }


def test_streamed_refusal_is_a_refusal():
    message = streamed({"refusal": "No"}, {"refusal": "."})
    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")


def test_finish_alone_is_an_answer():
    """T54: nothing was said, and the message is complete."""
    assert (streamed()["content"], streamed()["stop_reason"]) == ([], "end_turn")


@pytest.mark.parametrize("size", [1, 1 << 16])
def test_stream_goes_through_the_adapter_with_its_usage(size):
    """The usage chunk that the gateway asked for is not shown as an event, and is counted."""
    azure = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
    raw = sse.encode_event(json.dumps(azure).encode()) + chunk({"content": "a"}) + chunk({}, "stop")
    raw += usage_chunk(prompt_tokens=3, completion_tokens=1, total_tokens=4) + sse.DONE
    translator = ADAPTER.stream(request(stream=True), target())
    out = b"".join(translator.feed(raw[at : at + size]) for at in range(0, len(raw), size))
    message = message_of(out)
    assert (message["id"], message["model"], message["usage"]["input_tokens"]) == ("msg_c1", "m", 3)
    assert (translator.usage, translator.finished) == (Usage(prompt_tokens=3, completion_tokens=1), True)


def test_stream_without_done_is_closed_and_a_cut_one_is_a_fault():
    translator = ADAPTER.stream(request(stream=True), target())
    out = translator.feed(chunk({"content": "a"}) + chunk({}, "stop"))
    assert message_of(out + translator.end())["stop_reason"] == "end_turn"
    cut = ADAPTER.stream(request(stream=True), target())
    cut.feed(chunk({"content": "a"}))
    with pytest.raises(UpstreamProtocolError):
        cut.end()


def test_error_in_a_stream_carries_what_came_before_as_events():
    translator = ADAPTER.stream(request(stream=True), target())
    with pytest.raises(UpstreamStatusError) as caught:
        translator.feed(chunk({"content": "a"}) + b'data: {"error":{"message":"No.","code":503}}\n\n')
    names = [one.name for one in events_of(caught.value.partial)]
    assert names == [b"message_start", b"content_block_start", b"content_block_delta"]
    assert caught.value.status == 503


# Claude's marks, at providers that take them


MARK = {"cache_control": {"type": "ephemeral"}}
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
HIDDEN = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
GATEWAYS = {"type": "thinking", "thinking": "Mine.", "signature": "gateway:unsigned"}
TALK = {
    "system": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be brief.", **MARK}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a", **MARK}]},
        {"role": "assistant", "content": [SIGNED, HIDDEN, GATEWAYS, {"type": "text", "text": "b", **MARK}]},
        {"role": "user", "content": "c"},
    ],
}


def test_marks_go_along_where_they_are_understood():
    """A mark on the assistant's words stands on its message; thinking that the gateway made stays here."""
    where = Target(Provider("b", "bedrock", "https://b.example"), "m")
    system, first, said, last = chat_request({**TALK, "max_tokens": 9}, where)["messages"]
    assert system["content"] == TALK["system"]
    assert first["content"] == [{"type": "text", "text": "a", **MARK}]
    assert (said["content"], said["cache_control"]) == ("b", MARK["cache_control"])
    assert thinking_blocks(said["reasoning_details"]) == [SIGNED, HIDDEN]
    assert last == {"role": "user", "content": "c"}


def test_marks_stay_where_they_are_not_understood():
    where = Target(Provider("o", "openai_compatible", "https://o.example"), "m")
    assert chat_request({**TALK, "max_tokens": 9}, where)["messages"] == [
        {"role": "system", "content": "Be kind.\nBe brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]


def test_signed_thoughts_of_a_stream_are_blocks_of_their_own():
    """One whose words are left out, one nobody may read, two in a row, and one of another vendor's."""

    def detail(block, index):
        return {"reasoning_details": [reasoning_details.detail(block, index)]}

    raw = b"".join(
        [
            chunk(detail({"type": "thinking", "signature": "s0"}, 0)),
            chunk(detail(HIDDEN, 1)),
            chunk({"reasoning_content": "one"}),
            chunk(detail({"type": "thinking", "signature": "s2"}, 2)),
            chunk({"reasoning_content": "two", "reasoning_details": [{"format": "other", "signature": "x"}]}),
            chunk({"content": "So."}),
            chunk({}, "stop"),
            b"data: [DONE]\n\n",
        ]
    )
    writer = MessagesEvents(lambda: "x")
    assert message_of(b"".join(writer.write(one) for one in events_of(raw)))["content"] == [
        {"type": "thinking", "thinking": "", "signature": "s0"},
        HIDDEN,
        {"type": "thinking", "thinking": "one", "signature": "s2"},
        {"type": "thinking", "thinking": "two", "signature": "gateway:unsigned"},
        {"type": "text", "text": "So."},
    ]
