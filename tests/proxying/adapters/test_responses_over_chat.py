"""Clients of OpenAI's Responses at chat completions: requests field by field, answers, odd streams."""

from __future__ import annotations

import base64
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxying import sse
from proxying.adapters import ADAPTERS
from proxying.adapters.base import ClientBody, Target
from proxying.adapters.gateway_reasoning import packed
from proxying.adapters.responses_answer import responses_answer
from proxying.adapters.responses_request import chat_request
from proxying.adapters.responses_stream import ResponsesEvents
from proxying.errors import InvalidRequestError
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.proxying.adapters.dialect_streams import chunk, event, events_of, response_of, usage_chunk

ADAPTER = ADAPTERS["openai"]
HI = [{"role": "user", "content": "hi"}]
TOOL = {
    "type": "function",
    "name": "f",
    "description": "F.",
    "parameters": {"type": "object"},
    "strict": True,
}
FUNCTION = {"type": "function", "function": {name: TOOL[name] for name in TOOL if name != "type"}}
OTHER = {"type": "function", "name": "g"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "done"}
DETAILS = [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "index": 0}]


def target(kind="openai_compatible", model="up", **options) -> Target:
    return Target(Provider("p", kind, "https://up.example/v1", api_key="key-1", options=options), model)


def request(**fields) -> ClientBody:
    return parse_body(json.dumps({"model": "m", "input": "hi", **fields}).encode(), Endpoint.RESPONSES)


def added(kind="openai_compatible", **fields):
    """What a field adds to the smallest request."""
    written = chat_request({"input": "hi", **fields}, target(kind))
    assert (written.pop("model"), written.pop("messages")) == ("up", HI)
    return written


def messages_of(*items, kind="openai_compatible", **fields):
    return chat_request({"input": list(items), **fields}, target(kind))["messages"]


# Requests


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 9}, {"max_tokens": 9}),
        ({"temperature": 0.4, "top_p": 0.9, "user": "u"}, {"temperature": 0.4, "top_p": 0.9}),
        ({"seed": 1, "stop": ["A"]}, {"seed": 1, "stop": ["A"]}),
        ({"stream": True, "stream_options": {"include_obfuscation": False}}, {"stream": True}),
        ({"store": True, "metadata": {"a": "b"}, "truncation": "auto", "include": ["x"]}, {}),
        ({"prompt_cache_key": "k", "safety_identifier": "s", "service_tier": "auto"}, {}),
        ({"background": False, "previous_response_id": None, "client_metadata": {"a": "b"}}, {}),
        ({"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}, {}),
        ({"tools": [TOOL], "parallel_tool_calls": True}, {"tools": [FUNCTION]}),
        (
            {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
            {"tools": [FUNCTION], "tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"tools": [TOOL, OTHER], "tool_choice": {"type": "function", "name": "f"}},
            {
                "tools": [FUNCTION, {"type": "function", "function": {"name": "g"}}],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
            },
        ),
        (
            {
                "tools": [TOOL, OTHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "f"}],
                },
            },
            {"tools": [FUNCTION], "tool_choice": "required"},
        ),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"a": 1}, "strict": True}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"a": 1}, "strict": True},
                }
            },
        ),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": "minimal"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": "xhigh"}}, {"reasoning_effort": "high"}),
        ({"reasoning": {"effort": "none"}}, {}),
        ({"reasoning": {"effort": None}}, {}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    ],
)
def test_field_is_rewritten(fields, expected):
    assert added(**fields) == expected


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("vllm", {"top_k": 5}, {"top_k": 5}),
        ("openai_compatible", {"top_k": 5}, {}),
        ("mistral", {"reasoning": {"effort": "low"}}, {}),
        ("azure_openai", {"max_output_tokens": 9}, {"max_completion_tokens": 9}),
        ("azure_openai", {"reasoning": {"effort": "xhigh"}}, {"reasoning_effort": "xhigh"}),
        ("anthropic", {"reasoning": {"effort": "minimal"}}, {"reasoning_effort": "minimal"}),
        ("azure_openai", {"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        (
            "azure_openai",
            {"prompt_cache_key": "k", "safety_identifier": "s", "service_tier": "auto", "metadata": {}},
            {"prompt_cache_key": "k", "safety_identifier": "s", "service_tier": "auto"},
        ),
        ("anthropic", {"safety_identifier": "s", "user": "u"}, {"safety_identifier": "s", "user": "u"}),
    ],
)
def test_kinds_get_what_they_take(kind, fields, expected):
    assert added(kind, **fields) == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"instructions": ["x"]}, "instructions"),
        ({"text": "json"}, "text"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"tools": {}}, "tools"),
        ({"tools": [TOOL, {"type": "web_search"}]}, "tools[1].type"),
        ({"tools": [{"type": "web_search", "external_web_access": True}]}, "tools[0].type"),
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]},
            "tools[0].tools[0].type",
        ),
        ({"tools": ["f"]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [TOOL], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"input": ["hi"]}, "input[0].type"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [*HI, {"type": "web_search_call", "id": "ws_1"}]}, "input[1].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_video"}]}]},
            "input[0].content[0]",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://a"}]}]},
            "input[0].content[0].file_url",
        ),
        ({"input": [{**CALL, "call_id": None}]}, "input[0].call_id"),
        ({"input": [CALL, {**OUTPUT, "call_id": ""}]}, "input[1].call_id"),
        ({"input": [CALL, {**OUTPUT, "output": None}]}, "input[1].output"),
    ],
)
def test_what_cannot_be_said_is_refused(fields, param):
    with pytest.raises(InvalidRequestError) as refused:
        ADAPTER.build_request(request(**fields), target(), {})
    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")


def test_what_could_not_be_repeated_is_refused():
    deep: dict = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(InvalidRequestError):
        ADAPTER.build_request(request(metadata=deep), target(), {})


def test_hosted_tools_are_left_out_where_the_provider_says_so():
    fields = {"tools": [{"type": "web_search"}, TOOL, {"type": "local_shell"}]}
    body = request(**fields, tool_choice="auto")
    sent = json.loads(ADAPTER.build_request(body, target(hosted_tools="drop"), {}).body)
    assert sent["tools"] == [FUNCTION]


def test_search_that_may_not_reach_the_web_is_left_out():
    assert added(tools=[{"type": "web_search", "external_web_access": False}]) == {}


GROUP = {
    "type": "namespace",
    "name": "agents",
    "description": "A.",
    "tools": [TOOL, {**OTHER, "name": "x" * 64}],
}
PATCH = {
    "type": "custom",
    "name": "patch",
    "description": "Patch.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
}


def test_namespaces_and_custom_tools_are_functions_of_chat():
    function = {**FUNCTION["function"], "name": "agents__f"}
    first, second, third = added(tools=[GROUP, PATCH])["tools"]
    assert first == {"type": "function", "function": function}
    assert (len(second["function"]["name"]), second["function"]["name"][:11]) == (64, "agents__xxx")
    assert third["function"] == {
        "name": "patch",
        "description": "Patch.\n\nThe input must follow this lark grammar:\nstart: x",
        "parameters": {
            "type": "object",
            "properties": {"input": {"type": "string"}},
            "required": ["input"],
            "additionalProperties": False,
        },
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "custom", "name": "patch"}, "patch"),
        ({"type": "function", "name": "f", "namespace": "agents"}, "agents__f"),
    ],
)
def test_choice_of_such_a_tool_has_its_name(choice, expected):
    fields = added(tools=[GROUP, PATCH], tool_choice=choice)
    assert fields["tool_choice"] == {"type": "function", "function": {"name": expected}}


def test_calls_of_such_tools_go_back_under_their_names():
    items = (
        {**CALL, "namespace": "agents"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "a\nb"},
        OUTPUT,
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "patched"},
    )
    called, *results = messages_of(*items)
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in called["tool_calls"]] == [
        ("agents__f", '{"a":1}'),
        ("patch", '{"input":"a\\nb"}'),
    ]
    assert [(result["tool_call_id"], result["content"]) for result in results] == [
        ("c1", "done"),
        ("c2", "patched"),
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"a": {"b": 1}}, '{"a":{"b":1}}'), ({}, "{}"), ("", "{}"), (None, "{}"), ("[", "[")],
)
def test_arguments_that_a_client_has_parsed_are_sent_as_text(arguments, text):
    (message,) = messages_of({**CALL, "arguments": arguments})
    assert message["tool_calls"][0]["function"]["arguments"] == text


def test_arguments_that_are_no_object_are_refused():
    with pytest.raises(InvalidRequestError) as refused:
        messages_of({**CALL, "arguments": [1]})
    assert refused.value.param == "input[0].arguments"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [('{"input":"a\\nb"}', "a\nb"), ("*** Begin", "*** Begin"), ('{"input":1}', '{"input":1}'), ("", "")],
)
def test_answers_name_such_tools_as_the_client_does(arguments, expected):
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "agents__f", "arguments": "{}"}},
        {"id": "c2", "type": "function", "function": {"name": "patch", "arguments": arguments}},
    ]
    pieces = [
        call_start(0, "c1", "agents__f"),
        call_delta(0, "{}"),
        call_start(1, "c2", "patch"),
        *(call_delta(1, letter) for letter in arguments),
        chunk({}, "tool_calls"),
    ]
    called, patched = answer_of(completion("tool_calls", tool_calls=calls), tools=[GROUP, PATCH])["output"]
    assert (called["type"], called["name"], called["namespace"]) == ("function_call", "f", "agents")
    assert patched == {
        "id": "ctc_1_1",
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "c2",
        "name": "patch",
        "input": expected,
    }
    assert streamed(*pieces, tools=[GROUP, PATCH])["output"] == [
        {**called, "id": "fc_c1_0"},
        {**patched, "id": "ctc_c1_1"},
    ]


def test_instructions_and_roles_of_openai():
    items = ({"role": "developer", "content": "b"}, {"role": "system", "content": "c"}, *HI)
    assert [m["role"] for m in messages_of(*items, instructions="a")] == ["system"] * 3 + ["user"]
    assert [m["role"] for m in messages_of(*items, instructions="a", kind="azure_openai")] == [
        *["developer"] * 3,
        "user",
    ]


def test_parts_are_rewritten():
    parts = [
        {"type": "input_text", "text": "See"},
        {"type": "input_image", "image_url": "https://a/b.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "original"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        {"type": "input_file", "file_data": "AA=="},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
    ]
    (message,) = messages_of({"type": "message", "role": "user", "content": parts})
    pdf = "data:application/pdf;base64,AA=="
    assert message["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": "https://a/b.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}},
        {"type": "file", "file": {"filename": "document.pdf", "file_data": pdf}},
        parts[5],
    ]


def test_one_turn_of_the_assistant_is_one_message():
    said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    said["content"] = [
        {"type": "output_text", "text": "Let me ", "annotations": []},
        {"type": "refusal", "refusal": "see."},
    ]
    other = {**CALL, "call_id": "c2", "arguments": None}
    picture = {"type": "input_image", "image_url": "https://a/b.png"}
    outputs = [
        {**OUTPUT, "output": [{"type": "input_text", "text": "a"}, picture]},
        {**OUTPUT, "call_id": "c2", "output": "b"},
    ]
    assert messages_of(*HI, said, CALL, other, *outputs, *HI) == [
        *HI,
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                CHAT_CALL,
                {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "a"},
        {"role": "tool", "tool_call_id": "c2", "content": "b"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]},
        *HI,
    ]


def test_reasoning_goes_back_where_it_is_wanted():
    shown = [{"type": "summary_text", "text": "Hm."}]
    thought = {"type": "reasoning", "id": "rs_1", "summary": shown, "encrypted_content": packed(DETAILS)}
    items = (*HI, thought, CALL, OUTPUT)
    plain = {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]}
    assert messages_of(*items)[1] == plain
    assert messages_of(*items, kind="deepseek")[1] == {**plain, "reasoning_content": "Hm."}
    assert messages_of(*items, kind="anthropic")[1] == {**plain, "reasoning_details": DETAILS}
    twice = messages_of(*HI, thought, CALL, thought, kind="anthropic")[1]["reasoning_details"]
    assert twice == [DETAILS[0], {**DETAILS[0], "index": 1}]


@pytest.mark.parametrize("content", ["gAAAAA", "gateway-reasoning:%%", "gateway-reasoning:AAAA", None])
def test_reasoning_of_others_stays_behind(content):
    """T: what came encrypted of another provider, or was cut, is no signature of Anthropic's."""
    thought = {"type": "reasoning", "summary": [], "encrypted_content": content}
    assert messages_of(*HI, thought, kind="anthropic") == HI


def test_gemini_gets_the_signatures_of_its_calls_back():
    """Whole and streamed; nobody else is sent them."""
    extra = {"google": {"thought_signature": "c2ln"}}
    called = {**CHAT_CALL, "extra_content": extra}
    whole = answer_of(completion("tool_calls", tool_calls=[called]))["output"]
    pieces = [chunk({"tool_calls": [{**called, "index": 0}]}), chunk({}, "tool_calls")]
    assert [item["type"] for item in whole] == ["reasoning", "function_call"]
    for output in (whole, streamed(*pieces)["output"]):
        items = (*HI, *output, OUTPUT)
        assert messages_of(*items, kind="gemini_native")[1]["tool_calls"] == [called]
        assert messages_of(*items, kind="gemini")[1]["tool_calls"] == [called]
        assert messages_of(*items)[1]["tool_calls"] == [CHAT_CALL]
        assert "reasoning_details" not in messages_of(*items, kind="anthropic")[1]


def test_anthropic_gets_its_signature_back():
    thought = {"type": "reasoning", "summary": []}
    details = [{**DETAILS[0], "format": "anthropic-claude-v1"}]
    body = request(input=[*HI, {**thought, "encrypted_content": packed(details)}, CALL, OUTPUT])
    sent = json.loads(ADAPTERS["anthropic"].build_request(body, target("anthropic"), {}).body)
    assert sent["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
    ]


THOUGHT = {"type": "thinking", "thinking": "Hm. So.", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
ANTHROPIC = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}


def anthropic_stream() -> bytes:
    """Thoughts in two pieces with their signature, hidden ones, and a call."""
    block, delta = "content_block_start", "content_block_delta"
    return b"".join(
        [
            event("message_start", message={**ANTHROPIC, "content": [], "usage": {"input_tokens": 1}}),
            event(block, index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
            event(delta, index=0, delta={"type": "thinking_delta", "thinking": "Hm. "}),
            event(delta, index=0, delta={"type": "thinking_delta", "thinking": "So."}),
            event(delta, index=0, delta={"type": "signature_delta", "signature": "c2ln"}),
            event("content_block_stop", index=0),
            event(block, index=1, content_block=HIDDEN),
            event("content_block_stop", index=1),
            event(block, index=2, content_block={**USE, "input": {}}),
            event(delta, index=2, delta={"type": "input_json_delta", "partial_json": '{"a":1}'}),
            event("content_block_stop", index=2),
            event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 2}),
            event("message_stop"),
        ]
    )


def test_thoughts_of_anthropic_make_the_whole_way_and_back():
    """What was streamed and what came whole are sent back as the same signed blocks."""
    adapter = ADAPTERS["anthropic"]
    stream = adapter.stream(request(stream=True), target("anthropic"))
    raw = json.dumps(
        {**ANTHROPIC, "content": [THOUGHT, HIDDEN, USE], "stop_reason": "tool_use", "usage": {}}
    ).encode()
    whole = json.loads(adapter.parse_response(200, {}, raw, request()).body)["output"]
    streamed_output = response_of(stream.feed(anthropic_stream()) + stream.end())["output"]
    result = {"type": "function_call_output", "call_id": "toolu_1", "output": "done"}
    for output in (whole, streamed_output):
        body = request(input=[*HI, *output, result])
        sent = json.loads(adapter.build_request(body, target("anthropic"), {}).body)
        assert sent["messages"][1]["content"] == [THOUGHT, HIDDEN, USE]


def test_headers_of_openai_stay_here():
    headers = {"openai-beta": "x", "session_id": "s", "traceparent": "t", "x-request-id": "r"}
    sent = ADAPTER.build_request(request(), target(), headers).headers
    assert {name for name in sent if name not in {"accept", "accept-encoding", "user-agent"}} == {
        *("content-type", "authorization", "traceparent", "x-client-request-id"),
    }


# Answers


def completion(finish="stop", **message):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    usage = {
        "prompt_tokens": 25,
        "completion_tokens": 7,
        "total_tokens": 32,
        "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    return {"id": "chatcmpl-1", "created": 7, "model": "m", "choices": [choice], "usage": usage}


def answer_of(chat, **fields):
    numbers = itertools.count(1)
    return responses_answer(chat, fields, lambda: f"new{next(numbers)}", lambda: 99.0)


def test_answer_has_every_field():
    answer = answer_of(completion(content="Hello."), instructions="Be brief.", metadata={"a": "b"}, user="u")
    assert answer == {
        "id": "resp_1",
        "object": "response",
        "created_at": 7,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": "Be brief.",
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {"a": "b"},
        "model": "m",
        "output": [
            {
                "id": "msg_1_0",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": []}],
            }
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": None,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 25,
            "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 2},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 32,
        },
        "user": "u",
    }


def test_items_of_an_answer_stand_in_their_order():
    message = {"reasoning_content": "Hm.", "reasoning_details": DETAILS, "content": "So:"}
    calls = [{**CHAT_CALL, "id": ""}, {"id": "c2", "type": "function", "function": {"name": "g"}}]
    output = answer_of(completion("tool_calls", **message, tool_calls=calls))["output"]
    assert [(item["id"], item["type"]) for item in output] == [
        ("rs_1_0", "reasoning"),
        ("msg_1_1", "message"),
        ("fc_1_2", "function_call"),
        ("fc_1_3", "function_call"),
    ]
    assert output[0]["summary"] == [{"type": "summary_text", "text": "Hm."}]
    packed_text = output[0]["encrypted_content"].removeprefix("gateway-reasoning:")
    assert json.loads(base64.b64decode(packed_text)) == DETAILS
    assert [(item["call_id"], item["arguments"]) for item in output[2:]] == [
        ("call_new1", '{"a":1}'),
        ("c2", "{}"),
    ]


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("eos", "completed", None),
        (None, "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_end_of_an_answer(finish, status, reason):
    answer = answer_of(completion(finish, content="a"))
    assert (answer["status"], (answer["incomplete_details"] or {}).get("reason")) == (status, reason)
    assert answer["output"][0]["status"] == status


def test_refusal_citations_and_logprobs_have_their_places():
    cited = {"start_index": 0, "end_index": 2, "url": "https://a", "title": "A"}
    chat = completion(
        content="So", refusal="No.", annotations=[{"type": "url_citation", "url_citation": cited}]
    )
    tokens = [{"token": "So", "logprob": -0.5, "bytes": [83], "top_logprobs": []}]
    chat["choices"][0]["logprobs"] = {"content": tokens}
    (item,) = answer_of(chat)["output"]
    assert item["content"] == [
        {
            "type": "output_text",
            "text": "So",
            "annotations": [{"type": "url_citation", **cited}],
            "logprobs": tokens,
        },
        {"type": "refusal", "refusal": "No."},
    ]


def test_answer_without_a_message_or_counts():
    answer = answer_of({"id": None, "choices": [{"index": 0, "finish_reason": "content_filter"}]})
    assert (answer["id"], answer["output"], answer["usage"], answer["created_at"], answer["model"]) == (
        "resp_new1",
        [],
        None,
        99,
        "",
    )


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [
        ("chatcmpl-a.b/c", "resp_a_b_c"),
        ("resp_x", "resp_x"),
        ("", "resp_new1"),
        (7, "resp_new1"),
    ],
)
def test_ids_are_made_of_the_providers(given_id, expected):
    assert answer_of({**completion(content="a"), "id": given_id})["id"] == expected


@pytest.mark.parametrize("finish", [["stop"], {"a": 1}, 7])
def test_answer_of_odd_shape_is_still_one(finish):
    details = [{"type": ["a"], "index": 0, "text": 1}, {"type": "reasoning.text", "index": 0, "text": "x"}]
    answer = answer_of(completion(finish, content="a", reasoning_details=details))
    assert (answer["status"], [item["type"] for item in answer["output"]]) == (
        "completed",
        ["reasoning", "message"],
    )


def test_ids_of_items_fit_where_they_are_sent_back():
    answer = answer_of({**completion(content="a"), "id": "x" * 300})
    assert len(answer["output"][0]["id"]) <= 64


# Streams


def streamed(*chunks: bytes, **fields) -> dict:
    numbers = itertools.count(1)
    writer = ResponsesEvents(fields, lambda: f"new{next(numbers)}", lambda: 99.0)
    return response_of(b"".join(writer.write(event) for event in events_of(b"".join([*chunks, sse.DONE]))))


def names_of(*chunks: bytes) -> list[str]:
    writer = ResponsesEvents({}, lambda: "new", lambda: 99.0)
    raw = b"".join(writer.write(event) for event in events_of(b"".join([*chunks, sse.DONE])))
    return [event.name.decode().removeprefix("response.") for event in events_of(raw)]


def call_delta(index, text, **fields):
    return chunk({"tool_calls": [{"index": index, "function": {"arguments": text}, **fields}]})


def call_start(index, call_id, name):
    return chunk({"tool_calls": [{"index": index, "id": call_id, "function": {"name": name}}]})


def test_events_come_in_the_order_of_the_vendor():
    names = names_of(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "Hm."}),
        chunk({"content": "a"}),
        call_start(0, "c1", "f"),
        call_delta(0, "{}"),
        chunk({}, "tool_calls"),
    )
    assert names == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]


def test_calls_that_interleave_come_one_after_another():
    answer = streamed(
        call_start(0, "c1", "f"),
        call_start(1, "c2", "g"),
        call_delta(1, '{"b":'),
        call_delta(0, '{"a":1}'),
        call_delta(1, "2}"),
        chunk({}, "tool_calls"),
    )
    assert [(item["call_id"], item["arguments"]) for item in answer["output"]] == [
        ("c1", '{"a":1}'),
        ("c2", '{"b":2}'),
    ]


def test_call_without_arguments_gets_an_object():
    answer = streamed(call_start(0, "c1", "f"), chunk({}, "tool_calls"))
    assert answer["output"][0]["arguments"] == "{}"


def test_text_that_goes_on_after_a_call_is_a_new_item():
    answer = streamed(
        chunk({"content": "a"}), call_start(0, "c1", "f"), chunk({"content": "b"}), chunk({}, "stop")
    )
    assert [item["type"] for item in answer["output"]] == ["message", "function_call", "message"]


def test_stream_that_was_cut_by_its_limit_is_incomplete():
    answer = streamed(chunk({"content": "a"}), chunk({}, "length"), usage_chunk(prompt_tokens=3))
    assert (answer["status"], answer["incomplete_details"]) == (
        "incomplete",
        {"reason": "max_output_tokens"},
    )
    assert (answer["output"][0]["status"], answer["usage"]["input_tokens"]) == ("incomplete", 3)


def test_hidden_thinking_is_an_item_without_words():
    detail = {"type": "reasoning.encrypted", "data": "xyz", "index": 0}
    answer = streamed(chunk({"reasoning_details": [detail]}), chunk({"content": "a"}), chunk({}, "stop"))
    assert (answer["output"][0]["summary"], answer["output"][1]["type"]) == ([], "message")
    assert answer["output"][0]["encrypted_content"] == packed([detail])


def test_stream_without_a_choice_is_an_empty_answer():
    assert streamed(usage_chunk(prompt_tokens=1))["output"] == []


def test_other_choices_are_left_out():
    other = sse.encode_event(b'{"choices":[{"index":1,"delta":{"content":"no"},"finish_reason":"stop"}]}')
    answer = streamed(chunk({"content": "yes"}), other, chunk({}, "stop"))
    assert answer["output"][0]["content"][0]["text"] == "yes"


def test_progress_names_the_next_number_and_the_answer():
    stream = ADAPTER.stream(request(stream=True, instructions="i"), target())
    raw = stream.feed(chunk({"content": "a"}))
    numbers = [json.loads(event.data)["sequence_number"] for event in events_of(raw)]
    assert (stream.progress.next_number, stream.progress.response["instructions"]) == (
        numbers[-1] + 1,
        "i",
    )


TEXT = st.text(max_size=12)
CALLS = st.lists(
    st.tuples(st.sampled_from(["f", "g"]), st.sampled_from(["", "{}", '{"a":1}', '{"a":[1,{"b":"}"}]}'])),
    max_size=3,
)


def cut(text: str, at: int) -> list[str]:
    return [piece for piece in (text[:at], text[at:]) if piece]


@settings(deadline=None)
@given(
    thought=TEXT,
    content=TEXT,
    refusal=TEXT,
    calls=CALLS,
    at=st.integers(0, 8),
    finish=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
)
def test_whole_answer_is_what_its_stream_adds_up_to(thought, content, refusal, calls, at, finish):
    made = [
        {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(calls)
    ]
    whole = completion(finish, reasoning_content=thought, content=content, refusal=refusal, tool_calls=made)
    pieces = [chunk({"role": "assistant"})]
    pieces += [chunk({"reasoning_content": piece}) for piece in cut(thought, at)]
    pieces += [chunk({"content": piece}) for piece in cut(content, at)]
    pieces += [chunk({"refusal": piece}) for piece in cut(refusal, at)]
    for index, call in enumerate(made):
        pieces.append(call_start(index, call["id"], call["function"]["name"]))
        pieces += [call_delta(index, piece) for piece in cut(call["function"]["arguments"], at)]
    pieces += [chunk({}, finish), usage_chunk(**whole["usage"])]
    expected = {**answer_of(whole, tools=[TOOL]), "created_at": 1, "id": "resp_c1"}
    got = streamed(*pieces, tools=[TOOL])
    for item in [*expected["output"], *got["output"]]:
        item["id"] = item["id"].split("_")[0]
    assert got == expected
