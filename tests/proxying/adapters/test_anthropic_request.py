"""Chat completion requests for Anthropic, field by field: rewritten, passed on, dropped or refused."""

from __future__ import annotations

import hashlib

import pytest

from proxying.adapters.anthropic_request import DROPPED, messages_request
from proxying.adapters.base import Target
from proxying.adapters.reasoning_details import detail
from proxying.errors import InvalidRequestError
from routing.types import Provider

HI = [{"role": "user", "content": "hi"}]
HI_BLOCKS = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
FUNCTION = {"type": "function", "function": {"name": "f"}}
BARE_TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
NEW, OLD = "claude-opus-4-6", "claude-sonnet-4-20250514"


def written(model: str = NEW, options: dict | None = None, **fields):
    provider = Provider("a", "anthropic", "https://a.example/v1", options=options or {})
    return messages_request({"model": "m", "messages": HI, **fields}, Target(provider, model))


def added(model: str = NEW, **fields):
    """What a field adds to the smallest request."""
    result = written(model, **{"max_tokens": 4000, **fields})
    assert (result.pop("model"), result.pop("messages")) == (model, HI_BLOCKS)
    assert result.pop("max_tokens") == 4000
    return result


def messages_of(*messages, **fields):
    return written(messages=list(messages), **fields)["messages"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 1.7}, {"temperature": 1}),
        ({"temperature": 0.3}, {"temperature": 0.3}),
        ({"temperature": None, "top_p": None}, {}),
        ({"top_p": 0.5, "top_k": 4}, {"top_p": 0.5, "top_k": 4}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["A", "B"]}, {"stop_sequences": ["A", "B"]}),
        ({"stop": []}, {}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
        ({"stream": False}, {}),
        ({"safety_identifier": "s"}, {"metadata": {"user_id": "s"}}),
        ({"user": "ada"}, {"metadata": {"user_id": hashlib.sha256(b"ada").hexdigest()}}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"service_tier": "flex"}, {}),
        ({"n": 1, "logprobs": False, "modalities": ["text"], "logit_bias": {}}, {}),
        ({"response_format": {"type": "text"}}, {}),
        ({"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ({"thinking": {"type": "adaptive"}, "temperature": 0.1}, {"thinking": {"type": "adaptive"}}),
        ({"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral"}}),
        ({"of_tomorrow": {"a": 1}}, {"of_tomorrow": {"a": 1}}),
    ],
)
def test_field_is_rewritten(fields, expected):
    assert added(**fields) == expected


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_field_without_a_place_is_dropped(name):
    assert added(**{name: {"any": 1}}) == {}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "a"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"stop": "\n"}, "stop"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "only"}]}, "messages"),
        ({"messages": [*HI, {"role": "robot", "content": "x"}]}, "messages[1].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
            "messages[0].content[0].file.file_id",
        ),
        (
            {
                "messages": [
                    *HI,
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}
                        ],
                    },
                ]
            },
            "messages[1].tool_calls[0].function.arguments",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(fields, param):
    with pytest.raises(InvalidRequestError) as refused:
        written(**fields)
    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")


@pytest.mark.parametrize(
    ("fields", "options", "model", "expected"),
    [
        ({"max_completion_tokens": 5, "max_tokens": 9}, {}, NEW, 5),
        ({"max_tokens": 9}, {"max_tokens": "100"}, NEW, 9),
        ({}, {"max_tokens": "100"}, NEW, 100),
        ({}, {}, NEW, 32_000),
        ({}, {}, OLD, 32_000),
        ({}, {}, "claude-3-7-sonnet-20250219", 32_000),
        ({}, {}, "claude-3-5-haiku-latest", 8192),
        ({}, {}, "claude-3-opus-20240229", 4096),
        ({}, {}, "deepseek-chat", 4096),
    ],
)
def test_max_tokens_is_always_there(fields, options, model, expected):
    assert written(model, options, **fields)["max_tokens"] == expected


@pytest.mark.parametrize(
    ("model", "effort", "limit", "expected"),
    [
        (NEW, "none", 4000, {}),
        (NEW, "minimal", 4000, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        (NEW, "xhigh", 4000, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}),
        (OLD, "low", 4000, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        (OLD, "high", 64_000, {"thinking": {"type": "enabled", "budget_tokens": 24_576}}),
        (OLD, "medium", 1500, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (OLD, "high", 1024, {}),
    ],
)
def test_effort_becomes_thinking(model, effort, limit, expected):
    result = written(model, reasoning_effort=effort, max_tokens=limit, temperature=0.2)
    kept = {name: value for name, value in result.items() if name in {"thinking", "output_config"}}
    assert kept == expected
    assert ("temperature" in result) == ("thinking" not in expected)


SAMPLED = {"temperature": 0.2, "top_p": 0.9, "top_k": 5}


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        ("claude-3-5-haiku-latest", ("temperature", "top_p", "top_k")),
        (OLD, ("temperature", "top_p", "top_k")),
        ("claude-opus-4-1-20250805", ("temperature", "top_k")),
        ("claude-haiku-4-5", ("temperature", "top_k")),
        (NEW, ("temperature", "top_k")),
        ("claude-opus-4-7", ()),
        ("claude-sonnet-5", ()),
        ("a-name-of-ones-own", ("temperature", "top_p", "top_k")),
    ],
)
def test_sampling_is_sent_as_far_as_the_model_takes_it(model, taken):
    result = written(model, **SAMPLED)
    assert {name: result.get(name) for name in SAMPLED if name in result} == {
        name: SAMPLED[name] for name in taken
    }


def test_top_p_alone_is_sent():
    assert added(NEW, top_p=0.9) == {"top_p": 0.9}


def test_thinking_is_left_out_where_it_is_not_allowed():
    """A forced tool; and a turn with tools whose thinking did not come back with its signature."""
    forced = written(tools=[FUNCTION], tool_choice="required", reasoning_effort="low")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c", "content": "1"}
    details = [detail({"type": "thinking", "thinking": "t", "signature": "s"}, 0)]
    lacking = written(messages=[*HI, asked, result], reasoning_effort="low")
    signed = written(messages=[*HI, {**asked, "reasoning_details": details}, result], reasoning_effort="low")
    over = written(messages=[*HI, asked, result, *HI], reasoning_effort="low")
    assert ["thinking" in one for one in (forced, lacking, signed, over)] == [False, False, True, False]
    assert signed["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "tool_use", "id": "c", "name": "f", "input": {}},
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tools": [FUNCTION]}, {"tools": [BARE_TOOL]}),
        (
            {"tools": [FUNCTION], "tool_choice": "auto"},
            {"tools": [BARE_TOOL], "tool_choice": {"type": "auto"}},
        ),
        (
            {"tools": [FUNCTION], "tool_choice": "required"},
            {"tools": [BARE_TOOL], "tool_choice": {"type": "any"}},
        ),
        (
            {"tools": [FUNCTION], "tool_choice": "none"},
            {"tools": [BARE_TOOL], "tool_choice": {"type": "none"}},
        ),
        (
            {"tools": [FUNCTION], "tool_choice": FUNCTION},
            {"tools": [BARE_TOOL], "tool_choice": {"type": "tool", "name": "f"}},
        ),
        (
            {"tools": [FUNCTION], "parallel_tool_calls": False},
            {"tools": [BARE_TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        (
            {
                "tools": [FUNCTION, {"type": "function", "function": {"name": "g"}}],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [FUNCTION]},
                },
            },
            {"tools": [BARE_TOOL], "tool_choice": {"type": "any"}},
        ),
        (
            {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
            {
                "tools": [BARE_TOOL],
                "tool_choice": {"type": "tool", "name": "f"},
            },
        ),
        ({"tools": [], "tool_choice": "auto"}, {}),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]},
            {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]},
        ),
        (
            {
                "tools": [
                    {
                        "type": "function",
                        "cache_control": {"type": "ephemeral"},
                        "function": {
                            "name": "f",
                            "description": "d",
                            "strict": True,
                            "parameters": {"properties": {"a": {}}},
                        },
                    }
                ]
            },
            {
                "tools": [
                    {
                        "name": "f",
                        "description": "d",
                        "input_schema": {"type": "object", "properties": {"a": {}}},
                        "strict": True,
                        "cache_control": {"type": "ephemeral"},
                    }
                ]
            },
        ),
    ],
)
def test_tools_and_choice_are_rewritten(fields, expected):
    assert added(**fields) == expected


def test_structured_output_closes_its_objects():
    schema = {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}
    named = {"name": "n", "strict": True, "schema": schema}
    result = added(response_format={"type": "json_schema", "json_schema": named}, reasoning_effort="low")
    inner = {"type": "object", "properties": {}, "additionalProperties": False}
    closed = {"type": "object", "properties": {"a": inner}, "additionalProperties": False}
    form = {"type": "json_schema", "schema": closed}
    assert result["output_config"] == {"effort": "low", "format": form}


def test_instructions_are_gathered_with_their_cache_control():
    cached = {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}
    result = written(
        messages=[
            {"role": "system", "content": "a"},
            *HI,
            {"role": "developer", "content": [cached]},
        ],
        response_format={"type": "json_object"},
    )
    assert result["messages"] == HI_BLOCKS
    assert [block["text"] for block in result["system"][:2]] == ["a", "b"]
    assert result["system"][1] == cached
    assert result["system"][2]["text"].startswith("Answer with one JSON object")


def test_results_of_a_turn_go_into_one_message_with_the_words_behind():
    """Ids with letters that Anthropic refuses are changed in both places alike."""
    calls = [
        {"id": one, "type": "function", "function": {"name": "f", "arguments": arguments}}
        for one, arguments in (("functions.f:0", ""), ("b", '{"x":1}'))
    ]
    picture = {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}
    got = messages_of(
        *HI,
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": [picture], "is_error": True},
        {"role": "user", "content": "go on"},
        {"role": "user", "content": "please"},
    )
    image = {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}}
    assert got[1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {"x": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "functions_f_0", "content": "1"},
                {"type": "tool_result", "tool_use_id": "b", "content": [image], "is_error": True},
                {"type": "text", "text": "go on"},
            ],
        },
        {"role": "user", "content": [{"type": "text", "text": "please"}]},
    ]


def test_old_function_calls_get_ids():
    got = messages_of(
        *HI,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    )
    assert got[1]["content"][0]["id"] == got[2]["content"][0]["tool_use_id"] == "call_function_1"


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,aGk=", "detail": "low"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "aGk="}},
        ),
        (
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
                "cache_control": {"type": "ephemeral"},
            },
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                "title": "a.pdf",
                "cache_control": {"type": "ephemeral"},
            },
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
        ),
    ],
)
def test_part_becomes_a_block(part, block):
    (message,) = messages_of({"role": "user", "content": [{"type": "text", "text": " "}, part]})
    assert message["content"] == [block]


def test_beginning_of_an_answer_is_passed_on_without_trailing_space():
    got = messages_of(*HI, {"role": "assistant", "content": "Once upon "})
    assert got[1] == {"role": "assistant", "content": [{"type": "text", "text": "Once upon"}]}


def test_thinking_of_other_vendors_and_unsigned_thinking_stay_here():
    details = [
        {"type": "reasoning.text", "text": "t", "signature": "s", "format": "other", "index": 0},
        {"type": "reasoning.text", "text": "t", "format": "anthropic-claude-v1", "index": 1},
        detail({"type": "redacted_thinking", "data": "d"}, 2),
    ]
    got = messages_of(*HI, {"role": "assistant", "content": "a", "reasoning_details": details}, *HI)
    assert got[1]["content"] == [{"type": "redacted_thinking", "data": "d"}, {"type": "text", "text": "a"}]
