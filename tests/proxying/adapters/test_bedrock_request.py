"""Converse's wire, outward: what a chat becomes, what is refused, what is left out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import botocore
import orjson
import pytest
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from proxying.adapters import ADAPTERS
from proxying.adapters.base import Target
from proxying.errors import InvalidRequestError
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider

ADAPTER = ADAPTERS["bedrock"]
BASE = "https://bedrock-runtime.us-east-1.amazonaws.com"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NEWER_CLAUDE = "anthropic.claude-opus-4-6-v1"
NOVA = "us.amazon.nova-2-lite-v1:0"
USER = {"role": "user", "content": "hi"}
TURN = {"role": "user", "content": [{"text": "hi"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": SCHEMA}}
OTHER = {"type": "function", "function": {"name": "time", "strict": True}}
SPEC = {"toolSpec": {"name": "weather", "description": "Tells it", "inputSchema": {"json": SCHEMA}}}
OTHER_SPEC = {
    "toolSpec": {
        "name": "time",
        "inputSchema": {"json": {"type": "object", "properties": {}}},
        "strict": True,
    }
}
PNG = "data:image/png;base64,aGk="
(DESCRIPTION,) = (Path(botocore.__file__).parent / "data" / "bedrock-runtime").glob("*/service-2.json.gz")
CONVERSE = ServiceModel(json.loads(gzip.decompress(DESCRIPTION.read_bytes()))).operation_model("Converse")


def target(model=CLAUDE, **values) -> Target:
    return Target(Provider("b", "bedrock", BASE, **{"api_key": "key-1", **values}), model)


def build(model=CLAUDE, headers=None, **fields):
    body = parse_body(orjson.dumps({"model": "pool", "messages": [USER], **fields}), Endpoint.CHAT)
    return ADAPTER.build_request(body, target(model), headers or {})


def sent(**fields):
    """What is sent; all of it must be of the API as Amazon describes it."""
    body = orjson.loads(build(**fields).body)
    report = ParamValidator().validate({"modelId": "m", **body}, CONVERSE.input_shape)
    assert report.generate_report() == ""
    return body


def messages(*given_messages, **fields):
    return sent(messages=list(given_messages), **fields)["messages"]


def content(*parts):
    (message,) = messages({"role": "user", "content": list(parts)})
    return message["content"]


def call(call_id="c1", name="weather", arguments='{"city":"Oslo"}', **extra):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **extra}


def calling(*calls, **fields):
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **fields}


def result(text="warm", call_id="c1", **fields):
    return {"role": "tool", "tool_call_id": call_id, "content": text, **fields}


def use(call_id="c1", name="weather", arguments=None):
    arguments = {"city": "Oslo"} if arguments is None else arguments
    return {"toolUse": {"toolUseId": call_id, "name": name, "input": arguments}}


def answered(*blocks, call_id="c1", **fields):
    return {"toolResult": {"toolUseId": call_id, "content": list(blocks) or [{"text": "warm"}], **fields}}


def refusal(**fields) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        build(**fields)
    assert caught.value.code == "unsupported_value"
    return caught.value.param


# Address and headers


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1%3A0"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12",
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fab12",
        ),
        ("a b/../c?d#e%2F", "a%20b%2F..%2Fc%3Fd%23e%252F"),
    ],
)
def test_model_is_in_the_path(model, path):
    assert build(model=model).url == f"{BASE}/model/{path}/converse"
    assert build(model=model, stream=True).url == f"{BASE}/model/{path}/converse-stream"


def test_bearer_key_and_traces_go_along_and_nothing_else():
    client = {"traceparent": "t", "cookie": "c", "authorization": "Bearer mine", "anthropic-beta": "b"}
    assert build(headers=client).headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "sluice",
        "traceparent": "t",
        "authorization": "Bearer key-1",
    }
    assert build(stream=True).headers["accept"] == "application/vnd.amazon.eventstream"


def test_access_key_is_never_sent():
    body = parse_body(orjson.dumps({"model": "pool", "messages": [USER]}), Endpoint.CHAT)
    request = ADAPTER.build_request(body, target(api_key="AKIA0123456789ABCDEF:secret:token"), {})
    assert "secret" not in repr((request.url, request.headers, request.body))
    assert "authorization" not in request.headers


@pytest.mark.parametrize("endpoint", [Endpoint.EMBEDDINGS, Endpoint.COMPLETIONS])
def test_other_endpoints_cannot_be_sent(endpoint):
    body = parse_body(b'{"model":"m","input":"a","prompt":"a"}', endpoint)
    with pytest.raises(InvalidRequestError):
        ADAPTER.build_request(body, target(), {})


# Messages


def test_instructions_are_gathered_wherever_they_stand():
    body = sent(
        messages=[
            {"role": "system", "content": "one"},
            USER,
            {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        ]
    )
    assert body == {"messages": [TURN], "system": [{"text": "one"}, {"text": "two"}]}


def test_instructions_alone_are_a_turn():
    assert sent(messages=[{"role": "system", "content": "one"}]) == {
        "messages": [{"role": "user", "content": [{"text": "one"}]}]
    }


def test_neighbours_of_one_role_are_one_turn():
    """Converse wants roles to alternate."""
    assert messages(
        USER, USER, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
    ) == [
        {"role": "user", "content": [{"text": "hi"}, {"text": "hi"}]},
        {"role": "assistant", "content": [{"text": "a"}, {"text": "b"}]},
    ]


def test_blank_text_is_left_out():
    assert messages(
        {"role": "user", "content": [{"type": "text", "text": " \n"}, "hi"]},
        {"role": "assistant", "content": ""},
    ) == [TURN]


def test_begun_answer_ends_without_white_space():
    assert messages(USER, {"role": "assistant", "content": "So: "})[-1]["content"] == [{"text": "So:"}]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ({"type": "image_url", "image_url": {"url": PNG}}, {"format": "png", "source": {"bytes": "aGk="}}),
        (
            {"type": "image_url", "image_url": "data:image/jpg;base64,aGk="},
            {"format": "jpeg", "source": {"bytes": "aGk="}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "s3://bucket/a.webp"}},
            {"format": "webp", "source": {"s3Location": {"uri": "s3://bucket/a.webp"}}},
        ),
        (
            {"image": {"format": "png", "source": {"bytes": "aGk="}}},
            {"format": "png", "source": {"bytes": "aGk="}},
        ),
        ({"type": "file", "file": {"file_data": PNG}}, {"format": "png", "source": {"bytes": "aGk="}}),
    ],
)
def test_picture(part, block):
    assert content(part) == [{"image": block}]


@pytest.mark.parametrize(
    ("file", "block"),
    [
        (
            {"filename": "Q3 report_final.pdf", "file_data": "data:application/pdf;base64,aGk="},
            {"format": "pdf", "name": "Q3 report final", "source": {"bytes": "aGk="}},
        ),
        (
            {"filename": "t.csv", "file_data": "aGk="},
            {"format": "csv", "name": "t", "source": {"bytes": "aGk="}},
        ),
        (
            {"file_data": "data:text/markdown;base64,aGk="},
            {"format": "md", "name": "document", "source": {"bytes": "aGk="}},
        ),
        (
            {"filename": "a.docx", "file_data": "data:application/octet-stream;base64,aGk="},
            {"format": "docx", "name": "a", "source": {"bytes": "aGk="}},
        ),
        (
            {"file_id": "s3://bucket/dir/paper.html"},
            {
                "format": "html",
                "name": "paper",
                "source": {"s3Location": {"uri": "s3://bucket/dir/paper.html"}},
            },
        ),
    ],
)
def test_document(file, block):
    assert content({"type": "file", "file": file}) == [{"document": block}, {"text": "See the document."}]


def test_documents_of_one_name_get_different_ones():
    file = {"type": "file", "file": {"filename": "a.txt", "file_data": "aGk="}}
    sent_messages = messages(
        {"role": "user", "content": [file, file, "hi"]}, {"role": "user", "content": [file]}
    )
    names = [block["document"]["name"] for block in sent_messages[0]["content"] if "document" in block]
    assert names == ["a", "a 2", "a 3"]


def test_sound_and_video():
    assert content(
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
        {"type": "video_url", "video_url": {"url": "s3://bucket/a.3gp"}},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,aGk="}},
    ) == [
        {"audio": {"format": "mp3", "source": {"bytes": "aGk="}}},
        {"video": {"format": "three_gp", "source": {"s3Location": {"uri": "s3://bucket/a.3gp"}}}},
        {"video": {"format": "mp4", "source": {"bytes": "aGk="}}},
    ]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url", "image_url": {"url": "https://e.example/a.png"}}, ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,hi"}}, ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/bmp;base64,aGk="}}, ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:application/pdf;base64,aGk="}}, ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": "s3://bucket/a"}}, ".image_url.url"),
        ({"type": "image_url"}, ".image_url.url"),
        ({"type": "file", "file": {"file_id": "file-1"}}, ".file.file_id"),
        ({"type": "file", "file": {"file_data": "aGk="}}, ".file.filename"),
        ({"type": "file", "file": "a"}, ".file"),
        ({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "amr"}}, ".input_audio.format"),
        ({"type": "input_audio"}, ".input_audio.data"),
        ({"type": "text", "text": 1}, ".text"),
        ({"type": "thinking"}, ""),
        ({"image": {}, "text": "a"}, ""),
        (5, ""),
    ],
)
def test_content_that_cannot_be_said_is_refused(part, param):
    assert refusal(messages=[{"role": "user", "content": ["a", part]}]) == f"messages[0].content[1]{param}"


@pytest.mark.parametrize(
    ("given_messages", "param"),
    [
        ([], "messages"),
        ("hi", "messages"),
        ([{"role": "user", "content": " "}], "messages"),
        (["hi"], "messages[0].role"),
        ([{"role": "critic", "content": "a"}], "messages[0].role"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "system", "content": [{"type": "image_url", "image_url": PNG}]}], "messages[0].content"),
        ([USER, calling({"id": "c", "function": {"name": ""}})], "messages[1].tool_calls[0].function.name"),
        ([USER, calling({"function": {"name": "a"}})], "messages[1].tool_calls[0].id"),
        ([USER, calling({"id": "c", "type": "custom"})], "messages[1].tool_calls[0].type"),
        ([USER, calling(call(arguments="[1]"))], "messages[1].tool_calls[0].function.arguments"),
        ([USER, calling(call(arguments="{"))], "messages[1].tool_calls[0].function.arguments"),
        ([USER, {"role": "assistant", "tool_calls": 5}], "messages[1].tool_calls"),
        ([USER, {"role": "tool", "content": "a"}], "messages[1].tool_call_id"),
    ],
)
def test_messages_that_cannot_be_said_are_refused(given_messages, param):
    assert refusal(messages=given_messages) == param


# Tools


def test_parallel_calls_and_their_results_are_two_turns():
    """Results stand in one user's turn, with the words that follow."""
    assert messages(
        USER,
        calling(call(), call("c2", arguments=""), content="Let me see."),
        result(),
        result(
            [{"type": "text", "text": "cold"}, {"type": "image_url", "image_url": PNG}], "c2", is_error=True
        ),
        USER,
        tools=[TOOL],
    ) == [
        TURN,
        {"role": "assistant", "content": [{"text": "Let me see."}, use(), use("c2", arguments={})]},
        {
            "role": "user",
            "content": [
                answered(),
                answered(
                    {"text": "cold"},
                    {"image": {"format": "png", "source": {"bytes": "aGk="}}},
                    call_id="c2",
                    status="error",
                ),
                {"text": "hi"},
            ],
        },
    ]


@pytest.mark.parametrize("said", ["", " \n", [], [{"type": "text", "text": ""}], None])
def test_tool_that_said_nothing_has_words(said):
    """Converse refuses blank text in results too."""
    turns = messages(USER, calling(call()), result(said), tools=[TOOL])
    assert turns[-1]["content"] == [answered({"text": "(no output)"})]


@pytest.mark.parametrize("before", [[], [{"role": "assistant", "content": "Yes?"}]])
def test_document_alone_has_words_beside_it(before):
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}}
    said = messages(*([USER] if before else []), *before, {"role": "user", "content": [file]})[-1]["content"]
    document = {"format": "pdf", "name": "a", "source": {"bytes": "aGk="}}
    assert said == [{"document": document}, {"text": "See the document."}]


def test_functions_of_the_old_form_are_tools():
    body = sent(
        messages=[
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
            {"role": "function", "name": "weather", "content": "warm"},
        ],
        functions=[TOOL["function"]],
        function_call={"name": "weather"},
    )
    assert body["messages"][1:] == [
        {"role": "assistant", "content": [use("call_function_1", arguments={})]},
        {"role": "user", "content": [answered(call_id="call_function_1")]},
    ]
    assert body["toolConfig"] == {"tools": [SPEC], "toolChoice": {"tool": {"name": "weather"}}}


@pytest.mark.parametrize("name", ["call.1:2|fc", "x" * 65])
def test_ids_of_other_vendors_are_put_into_the_letters_that_are_taken(name):
    _, asked, got = messages(USER, calling(call(name)), result(call_id=name), tools=[TOOL])
    made = asked["content"][0]["toolUse"]["toolUseId"]
    assert got["content"][0]["toolResult"]["toolUseId"] == made
    assert len(made) <= 64
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (None, None),
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "time"}}, {"tool": {"name": "time"}}),
    ],
)
def test_choice_among_tools(choice, written):
    config = sent(tools=[TOOL, OTHER], tool_choice=choice)["toolConfig"]
    assert config == {"tools": [SPEC, OTHER_SPEC], **({"toolChoice": written} if written else {})}


@pytest.mark.parametrize(("mode", "written"), [("auto", {"auto": {}}), ("required", {"any": {}})])
def test_allowed_tools_are_the_only_ones_sent(mode, written):
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "time"}}]}
    config = sent(tools=[TOOL, OTHER], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert config["toolConfig"] == {"tools": [OTHER_SPEC], "toolChoice": written}


@pytest.mark.parametrize("fields", [{"tools": [TOOL], "tool_choice": "none"}, {}])
def test_without_tools_earlier_calls_stand_as_text(fields):
    """Converse takes blocks of calls with declared tools only, and has no choice ``none``."""
    body = sent(messages=[USER, calling(call()), result()], **fields)
    assert body == {
        "messages": [
            TURN,
            {"role": "assistant", "content": [{"text": '[Called the tool weather with {"city":"Oslo"}]'}]},
            {"role": "user", "content": [{"text": "[The tool weather answered:]"}, {"text": "warm"}]},
        ]
    }


def test_tools_of_bedrocks_own_go_as_they_are():
    own = {"systemTool": {"name": "nova_grounding"}}
    assert sent(tools=[TOOL, own])["toolConfig"] == {"tools": [SPEC, own]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": {}, "tool_choice": "required"}, "tool_choice"),
        ({"tools": 5}, "tools"),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"functions": 5}, "functions"),
        ({"tools": [TOOL], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
    ],
)
def test_tools_that_cannot_be_declared_are_refused(fields, param):
    assert refusal(**fields) == param


# Thinking


THOUGHT = {
    "type": "reasoning.text",
    "text": "Hm.",
    "signature": "sig",
    "format": "anthropic-claude-v1",
    "index": 0,
}
HIDDEN = {"type": "reasoning.encrypted", "data": "ZGF0YQ==", "format": "anthropic-claude-v1", "index": 1}
THINKING = [
    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig"}}},
    {"reasoningContent": {"redactedContent": "ZGF0YQ=="}},
]


@pytest.mark.parametrize(
    ("model", "blocks"),
    [
        (CLAUDE, THINKING),
        ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/x1", THINKING),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-3-7-sonnet-v1:0", THINKING),
        (NOVA, []),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-pro-v1:0", []),
        ("openai.gpt-oss-120b-1:0", []),
    ],
)
def test_thinking_goes_back_to_claude_with_its_signature(model, blocks):
    unsigned = {**THOUGHT, "signature": None, "index": 2}
    said = {"role": "assistant", "content": "So.", "reasoning_details": [THOUGHT, HIDDEN, unsigned]}
    assert messages(USER, said, USER, model=model)[1]["content"] == [*blocks, {"text": "So."}]


@pytest.mark.parametrize(
    ("model", "fields", "extra", "config"),
    [
        (
            CLAUDE,
            {"reasoning_effort": "low", "temperature": 0.5, "top_p": 0.5, "top_k": 5, "max_tokens": 9000},
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            {"maxTokens": 9000},
        ),
        (
            CLAUDE,
            {"reasoning_effort": "high"},
            {"thinking": {"type": "enabled", "budget_tokens": 16000}},
            None,
        ),
        (CLAUDE, {"reasoning_effort": "none", "top_k": 5}, {"top_k": 5}, None),
        (CLAUDE, {"reasoning_effort": "low", "max_tokens": 900}, None, {"maxTokens": 900}),
        (
            NEWER_CLAUDE,
            {"reasoning_effort": "max"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            None,
        ),
        (
            CLAUDE,
            {
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "temperature": 1,
                "reasoning_effort": "low",
            },
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            None,
        ),
        (
            CLAUDE,
            {"thinking": {"type": "disabled"}, "temperature": 2},
            {"thinking": {"type": "disabled"}},
            {"temperature": 1},
        ),
        (
            NOVA,
            {"reasoning_effort": "minimal", "temperature": 0.5},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
            {"temperature": 0.5},
        ),
        (
            NOVA,
            {"reasoning_effort": "xhigh", "temperature": 0.5},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}},
            None,
        ),
        (
            NOVA,
            {"reasoning_effort": "high", "max_tokens": 50},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}},
            {"maxTokens": 50},
        ),
        (NOVA, {"reasoning_effort": "none"}, {"reasoningConfig": {"type": "disabled"}}, None),
        (NOVA, {"top_k": 5}, {"inferenceConfig": {"topK": 5}}, None),
        ("amazon.nova-pro-v1:0", {"reasoning_effort": "high"}, None, None),
        ("openai.gpt-oss-20b-1:0", {"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}, None),
        ("openai.gpt-oss-20b-1:0", {"reasoning_effort": "none"}, None, None),
        ("mistral.mistral-large-2402-v1:0", {"reasoning_effort": "low", "top_k": 5}, {"top_k": 5}, None),
    ],
)
def test_effort_is_said_as_the_family_takes_it(model, fields, extra, config):
    body = sent(model=model, **fields)
    assert (body.get("additionalModelRequestFields"), body.get("inferenceConfig")) == (extra, config)


@pytest.mark.parametrize(
    ("model", "extra", "config"),
    [
        (CLAUDE, {"top_k": 5}, {"temperature": 0.2}),
        ("us.anthropic.claude-opus-4-7-v1:0", None, None),
        ("anthropic.claude-3-haiku-20240307-v1:0", {"top_k": 5}, {"temperature": 0.2, "topP": 0.9}),
        (NOVA, {"inferenceConfig": {"topK": 5}}, {"temperature": 0.2, "topP": 0.9}),
    ],
)
def test_sampling_is_sent_as_far_as_claude_takes_it(model, extra, config):
    body = sent(model=model, temperature=0.2, top_p=0.9, top_k=5)
    assert (body.get("additionalModelRequestFields"), body.get("inferenceConfig")) == (extra, config)


@pytest.mark.parametrize(
    ("model", "extra"), [(CLAUDE, None), (NEWER_CLAUDE, {"output_config": {"effort": "low"}})]
)
@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "messages": [USER, calling(call()), result()]},
    ],
    ids=["forced", "in a turn without thinking"],
)
def test_claude_does_not_think_where_it_may_not(fields, model, extra):
    body = sent(model=model, reasoning_effort="low", **fields)
    assert body.get("additionalModelRequestFields") == extra


def test_claude_thinks_on_with_what_was_sent_back():
    turn = [USER, calling(call(), reasoning_details=[THOUGHT]), result()]
    body = sent(messages=turn, tools=[TOOL], reasoning_effort="low", max_tokens=5000)
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 2048}}


def test_unknown_effort_is_refused():
    assert refusal(reasoning_effort="huge") == "reasoning_effort"


# Everything else


def test_limits_and_sampling():
    body = sent(
        model=NOVA,
        max_completion_tokens=7,
        max_tokens=9,
        temperature=1.5,
        top_p=0.5,
        stop=["a", "b"],
        service_tier="flex",
    )
    assert body == {
        "messages": [TURN],
        "inferenceConfig": {"maxTokens": 7, "temperature": 1, "topP": 0.5, "stopSequences": ["a", "b"]},
        "serviceTier": {"type": "flex"},
    }


def test_structured_output():
    named = {"name": "city", "description": "One", "strict": True, "schema": SCHEMA}
    closed = {**SCHEMA, "additionalProperties": False}
    for model, schema in ((CLAUDE, closed), ("qwen.qwen3-32b-v1:0", SCHEMA)):
        wanted = sent(model=model, response_format={"type": "json_schema", "json_schema": named})
        held = wanted["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
        assert wanted["outputConfig"]["textFormat"]["type"] == "json_schema"
        assert {**held, "schema": json.loads(held["schema"])} == {
            "name": "city",
            "description": "One",
            "schema": schema,
        }


def test_any_json_is_asked_for_in_words():
    (sentence,) = sent(response_format={"type": "json_object"})["system"]
    assert "JSON" in sentence["text"]
    assert "system" not in sent(response_format={"type": "text"})


def test_cache_control_becomes_a_cache_point_behind_what_has_it():
    point = {"cachePoint": {"type": "default"}}
    for_long = {"cachePoint": {"type": "default", "ttl": "1h"}}
    mark = {"cache_control": {"type": "ephemeral"}}
    body = sent(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "one", **mark}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                    "b",
                ],
            },
            calling(call(), **mark),
            result([{"type": "text", "text": "warm", **mark}]),
        ],
        tools=[{**TOOL, **mark}, OTHER],
    )
    assert body["system"] == [{"text": "one"}, point]
    assert [message["content"] for message in body["messages"]] == [
        [{"text": "a"}, for_long, {"text": "b"}],
        [use(), point],
        [answered(), point],
    ]
    assert body["toolConfig"]["tools"] == [SPEC, point, OTHER_SPEC]


def test_fields_of_converse_go_along_and_win():
    guardrail = {"guardrailIdentifier": "g", "guardrailVersion": "1"}
    body = sent(
        max_tokens=5,
        inferenceConfig={"temperature": 0.5},
        additionalModelRequestFields={"a": 1},
        guardrailConfig=guardrail,
        requestMetadata={"team": "x"},
        anthropic_beta=["b"],
    )
    assert body == {
        "messages": [TURN],
        "inferenceConfig": {"maxTokens": 5, "temperature": 0.5},
        "additionalModelRequestFields": {"anthropic_beta": ["b"], "a": 1},
        "guardrailConfig": guardrail,
        "requestMetadata": {"team": "x"},
    }


def test_what_takes_nothing_from_the_answer_is_left_out():
    fields = {
        "stream_options": {"include_usage": True},
        "user": "u",
        "safety_identifier": "s",
        "store": True,
        "metadata": {"a": "b"},
        "seed": 1,
        "frequency_penalty": 1,
        "presence_penalty": 1,
        "n": 1,
        "prompt_cache_key": "k",
        "prediction": {},
        "verbosity": "low",
        "parallel_tool_calls": False,
        "logprobs": False,
        "modalities": ["text"],
        "service_tier": "auto",
        "provider": {"order": []},
    }
    assert sent(**fields) == {"messages": [TURN]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("top_logprobs", 2),
        ("logit_bias", {"5": 1}),
        ("audio", {"voice": "a"}),
        ("modalities", ["audio"]),
        ("web_search_options", {}),
        ("max_tokens", 0),
        ("max_completion_tokens", "9"),
        ("temperature", "hot"),
        ("stop", 5),
        ("stop", [""]),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(field, value):
    assert refusal(**{field: value}) == field


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ("json", "response_format.type"),
        ({"type": "grammar"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema.schema"),
    ],
)
def test_unknown_formats_are_refused(wanted, param):
    assert refusal(response_format=wanted) == param


def test_body_nested_too_deeply_is_refused():
    deep = "[" * 254 + "]" * 254
    raw = b'{"model":"m","messages":[{"role":"user","content":"a"}],"foo":' + deep.encode() + b"}"
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        ADAPTER.build_request(parse_body(raw, Endpoint.CHAT), target(), {})


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
OBJECTS = st.dictionaries(WORDS, st.none() | st.booleans() | st.integers(-9, 9) | WORDS, max_size=3)
MARKS = st.sampled_from([{}, {"cache_control": {"type": "ephemeral"}}])
PARTS = st.lists(
    st.builds(lambda text, mark: {"type": "text", "text": text, **mark}, WORDS, MARKS)
    | st.just({"type": "image_url", "image_url": {"url": PNG}})
    | st.builds(
        lambda name: {
            "type": "file",
            "file": {"filename": name, "file_data": "data:application/pdf;base64,aGk="},
        },
        WORDS,
    ),
    max_size=3,
)
CALLS = st.lists(
    st.builds(lambda name, held: call(name or "x", arguments=json.dumps(held)), WORDS, OBJECTS), max_size=3
)


@st.composite
def conversations(draw):
    found = [{"role": "user", "content": "hi"}]
    for _ in range(draw(st.integers(0, 4))):
        found.append({"role": draw(st.sampled_from(["user", "system"])), "content": draw(WORDS)})
        found.append({"role": "user", "content": draw(WORDS | PARTS)})
        made = draw(CALLS)
        found.append({"role": "assistant", "content": draw(st.none() | WORDS), "tool_calls": made})
        found += [result(draw(WORDS), one["id"]) for one in made]
    return found


@given(conversations(), st.sampled_from([[], [TOOL]]), st.sampled_from([CLAUDE, NOVA, "x.y"]))
def test_every_conversation_is_one_that_amazon_describes(conversation, tools, model):
    """Roles alternate, no text is blank, and nothing is in it that the API does not have."""
    body = sent(messages=conversation, tools=tools, model=model)
    roles = [message["role"] for message in body["messages"]]
    assert roles == [("user", "assistant")[number % 2] for number in range(len(roles))]
    blocks = [block for message in body["messages"] for block in message["content"]]
    inner = [one for block in blocks if "toolResult" in block for one in block["toolResult"]["content"]]
    texts = [*blocks, *inner, *body.get("system", [])]
    assert all(block["text"].strip() for block in texts if "text" in block)
