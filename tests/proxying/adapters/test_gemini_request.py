"""Gemini's wire, outward: what a chat becomes, what is refused, what is left out."""

from __future__ import annotations

import orjson
import pytest

from proxying.adapters import ADAPTERS
from proxying.adapters.base import Target
from proxying.errors import InvalidRequestError
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider

ADAPTER = ADAPTERS["gemini"]
USER = {"role": "user", "content": "hi"}
TURN = {"role": "user", "parts": [{"text": "hi"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": SCHEMA}}
OTHER = {"type": "function", "function": {"name": "time", "strict": True}}
DECLARED = {"name": "weather", "description": "Tells it", "parametersJsonSchema": SCHEMA}


def target(model="gemini-2.5-flash", **values) -> Target:
    values = {"base_url": "https://up.example/v1beta", "api_key": "key-1", **values}
    return Target(Provider("g", "gemini_native", **values), model)


def build(endpoint=Endpoint.CHAT, model="gemini-2.5-flash", headers=None, **fields):
    fields = {"messages": [USER], **fields} if endpoint is Endpoint.CHAT else fields
    body = parse_body(orjson.dumps({"model": "pool", **fields}), endpoint)
    return ADAPTER.build_request(body, target(model), headers or {})


def sent(**fields):
    return orjson.loads(build(**fields).body)


def contents(*messages, model="gemini-2.5-flash"):
    return sent(messages=list(messages), model=model)["contents"]


def call(call_id="c1", name="weather", arguments='{"city":"Oslo"}', **extra):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **extra}


def calling(*calls, **fields):
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **fields}


def refusal(**fields) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        build(**fields)
    return caught.value


# Address and headers


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-2.5-flash", False, "/models/gemini-2.5-flash:generateContent"),
        ("gemini-2.5-flash", True, "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        ("models/gemini-2.5-flash", False, "/models/gemini-2.5-flash:generateContent"),
        ("tunedModels/mine", False, "/tunedModels/mine:generateContent"),
        ("../../x?y#z", False, "/models/..%2F..%2Fx%3Fy%23z:generateContent"),
    ],
)
def test_address_names_model_and_method(model, stream, path):
    assert build(model=model, stream=stream).url == "https://up.example/v1beta" + path


def test_address_has_a_default_and_keeps_an_api_version():
    body = parse_body(orjson.dumps({"model": "m", "messages": [USER], "stream": True}), Endpoint.CHAT)
    options = {"options": {"api_version": "v9"}}
    found = ADAPTER.build_request(body, target("gemini-x", base_url="", **options), {}).url
    base = "https://generativelanguage.googleapis.com/v1beta"
    assert found == f"{base}/models/gemini-x:streamGenerateContent?api-version=v9&alt=sse"


def test_headers_carry_the_credential_and_nothing_of_the_clients_own():
    client = {
        "authorization": "Bearer client",
        "x-goog-api-key": "client",
        "cookie": "a",
        "traceparent": "00-1",
    }
    assert build(headers=client, stream=True).headers == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": "sluice",
        "traceparent": "00-1",
        "x-goog-api-key": "key-1",
    }


@pytest.mark.parametrize("endpoint", [Endpoint.COMPLETIONS, Endpoint.RERANK, Endpoint.IMAGES])
def test_endpoint_without_a_counterpart_is_refused(endpoint):
    assert refusal(endpoint=endpoint).status == 400


# Messages


def test_instructions_are_gathered_wherever_they_stand():
    body = sent(
        messages=[
            {"role": "system", "content": "one"},
            USER,
            {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        ]
    )
    assert body == {"contents": [TURN], "systemInstruction": {"parts": [{"text": "one"}, {"text": "two"}]}}


def test_instructions_alone_are_a_turn():
    assert sent(messages=[{"role": "system", "content": "one"}]) == {
        "contents": [{"role": "user", "parts": [{"text": "one"}]}]
    }


def test_turns_keep_their_order_and_empty_ones_are_left_out():
    assert contents(
        USER,
        {"role": "assistant", "content": "yes"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "refusal": "no"},
    ) == [
        TURN,
        {"role": "model", "parts": [{"text": "yes"}]},
        {"role": "user", "parts": [{"text": "b"}]},
        {"role": "model", "parts": [{"text": "no"}]},
    ]


@pytest.mark.parametrize(
    ("piece", "part"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        ),
        (
            {"type": "image_url", "image_url": "https://x.example/a/cat.JPG?v=1"},
            {"fileData": {"fileUri": "https://x.example/a/cat.JPG?v=1", "mimeType": "image/jpeg"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://x.example/cat"}},
            {"fileData": {"fileUri": "https://x.example/cat"}},
        ),
        (
            {"type": "video_url", "video_url": {"url": "gs://b/v.mp4"}},
            {"fileData": {"fileUri": "gs://b/v.mp4", "mimeType": "video/mp4"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "BBBB"}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,CCCC", "filename": "a"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "CCCC"}},
        ),
        (
            {"type": "file", "file": {"file_data": "CCCC", "filename": "a.pdf"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "CCCC"}},
        ),
        (
            {"type": "file", "file": {"file_id": "https://g.example/v1beta/files/1"}},
            {"fileData": {"fileUri": "https://g.example/v1beta/files/1"}},
        ),
    ],
)
def test_content_part_is_written_as_a_part(piece, part):
    assert contents({"role": "user", "content": [piece]}) == [{"role": "user", "parts": [part]}]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("hi", "messages[0]"),
        ({"role": ["user"], "content": "x"}, "messages[0].role"),
        ({"role": "user", "content": [{"type": ["text"]}]}, "messages[0].content[0].type"),
        ({"role": "critic", "content": "x"}, "messages[0].role"),
        ({"role": "user", "content": 3}, "messages[0].content"),
        ({"role": "user", "content": [3]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        ({"role": "user", "content": [{"type": "hologram"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0].image_url"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]},
            "messages[0].content[0].image_url",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]},
            "messages[0].content[0].file.file_id",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "CCCC"}}]},
            "messages[0].content[0].file.file_data",
        ),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0].input_audio"),
        (
            {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x/a"}}]},
            "messages[0].content",
        ),
        ({"role": "tool", "tool_call_id": "nobody", "content": "1"}, "messages[0].tool_call_id"),
        (calling("x"), "messages[0].tool_calls[0]"),
        (calling({"id": "1", "type": "custom", "custom": {}}), "messages[0].tool_calls[0]"),
        (calling(call(arguments="{")), "messages[0].tool_calls[0].function.arguments"),
        (calling(call(arguments="[1]")), "messages[0].tool_calls[0].function.arguments"),
        (calling(call(name="")), "messages[0].tool_calls[0].function.name"),
    ],
)
def test_message_that_cannot_be_said_is_named(message, param):
    error = refusal(messages=[message])
    assert (error.status, error.param, error.code) == (400, param, "unsupported_value")


@pytest.mark.parametrize("messages", [None, [], "hi", [{"role": "user", "content": ""}]])
def test_chat_without_messages_is_refused(messages):
    assert refusal(messages=messages).param == "messages"


# Tools in the history


def test_calls_and_results_find_each_other():
    signature = {"extra_content": {"google": {"thought_signature": "sig"}}}
    assert contents(
        USER,
        calling(call("c1", **signature), call("c2", "time", ""), content="Let me see."),
        {"role": "tool", "tool_call_id": "c1", "content": '{"sky":"blue"}'},
        {"role": "tool", "tool_call_id": "c2", "content": "[1]"},
        {"role": "user", "content": "and?"},
    ) == [
        TURN,
        {
            "role": "model",
            "parts": [
                {"text": "Let me see."},
                {
                    "functionCall": {"name": "weather", "args": {"city": "Oslo"}, "id": "c1"},
                    "thoughtSignature": "sig",
                },
                {"functionCall": {"name": "time", "args": {}, "id": "c2"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"sky": "blue"}, "id": "c1"}},
                {"functionResponse": {"name": "time", "response": {"result": "[1]"}, "id": "c2"}},
            ],
        },
        {"role": "user", "parts": [{"text": "and?"}]},
    ]


def test_image_in_a_tool_result_follows_in_a_turn_of_its_own():
    result = [
        {"type": "text", "text": "a map"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    found = contents(USER, calling(call()), {"role": "tool", "tool_call_id": "c1", "content": result})
    assert found[2:] == [
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "weather", "response": {"result": "a map"}, "id": "c1"}}],
        },
        {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
    ]


def test_calls_in_the_old_form_are_calls():
    old = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}}
    assert contents(USER, old, {"role": "function", "name": "weather", "content": "warm"})[1:] == [
        {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]},
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "weather", "response": {"result": "warm"}}}],
        },
    ]


@pytest.mark.parametrize(
    ("model", "signatures"),
    [
        ("gemini-2.5-flash", [None, None]),
        ("gemini-3-pro-preview", ["skip_thought_signature_validator", None]),
        ("gemini-3.1-flash", ["skip_thought_signature_validator", None]),
    ],
)
def test_calls_of_another_provider_get_a_stand_in_signature(model, signatures):
    """A conversation that a failover brought here: Gemini 3 refuses calls that nobody signed."""
    turn = contents(USER, calling(call("c1"), call("c2")), model=model)[1]
    assert [part.get("thoughtSignature") for part in turn["parts"]] == signatures


def test_signature_of_a_text_goes_back_to_it():
    said = {"role": "assistant", "content": "yes", "extra_content": {"google": {"thought_signature": "s"}}}
    assert contents(USER, said)[1] == {"role": "model", "parts": [{"text": "yes", "thoughtSignature": "s"}]}


# Tools


@pytest.mark.parametrize(
    ("choice", "names", "config"),
    [
        (None, ["weather", "time"], None),
        ("auto", ["weather", "time"], {"mode": "AUTO"}),
        ("none", ["weather", "time"], {"mode": "NONE"}),
        ("required", ["weather", "time"], {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "time"}},
            ["weather", "time"],
            {"mode": "ANY", "allowedFunctionNames": ["time"]},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}},
            ["time"],
            {"mode": "AUTO"},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [OTHER]}},
            ["weather", "time"],
            {"mode": "ANY", "allowedFunctionNames": ["time"]},
        ),
    ],
)
def test_tool_choice_is_a_mode(choice, names, config):
    body = sent(tools=[TOOL, OTHER], tool_choice=choice)
    assert [one["name"] for one in body["tools"][0]["functionDeclarations"]] == names
    assert body.get("toolConfig") == (config and {"functionCallingConfig": config})


def test_tools_are_declared_in_the_schema_they_came_in():
    openapi = {"type": "function", "function": {"name": "old", "parameters": {"type": "OBJECT"}}}
    assert sent(tools=[TOOL, OTHER, openapi, {"googleSearch": {}}])["tools"] == [
        {
            "functionDeclarations": [
                DECLARED,
                {"name": "time"},
                {"name": "old", "parameters": {"type": "OBJECT"}},
            ]
        },
        {"googleSearch": {}},
    ]


def test_functions_in_the_old_form_are_tools():
    body = sent(functions=[TOOL["function"]], function_call={"name": "weather"})
    assert body["tools"] == [{"functionDeclarations": [DECLARED]}]
    assert body["toolConfig"] == {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": ["x"]}, "tools[0]"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
            "tool_choice.allowed_tools",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_tool_that_cannot_be_said_is_named(fields, param):
    assert refusal(**fields).param == param


# Settings


@pytest.mark.parametrize(
    ("fields", "config"),
    [
        (
            {
                "temperature": 0,
                "top_p": 0.5,
                "top_k": 3,
                "seed": 7,
                "presence_penalty": 1,
                "frequency_penalty": 0.1,
            },
            {
                "temperature": 0,
                "topP": 0.5,
                "topK": 3,
                "seed": 7,
                "presencePenalty": 1,
                "frequencyPenalty": 0.1,
            },
        ),
        ({"n": 2}, {"candidateCount": 2}),
        ({"n": 1, "temperature": None}, None),
        ({"max_tokens": 5}, {"maxOutputTokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"maxOutputTokens": 6}),
        ({"stop": "END"}, {"stopSequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stopSequences": ["a", "b"]}),
        ({"logprobs": True, "top_logprobs": 2}, {"responseLogprobs": True, "logprobs": 2}),
        ({"logprobs": False}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
            {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "OBJECT"}}}},
            {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}},
        ),
        ({"modalities": ["text"]}, None),
        ({"modalities": ["text", "image"]}, {"responseModalities": ["TEXT", "IMAGE"]}),
        ({"generationConfig": {"mediaResolution": "X"}, "seed": 1}, {"seed": 1, "mediaResolution": "X"}),
        (
            {
                "reasoning_effort": "low",
                "extra_body": {"google": {"thinking_config": {"thinking_budget": 9}}},
            },
            {"thinkingConfig": {"thinking_budget": 9}},
        ),
    ],
)
def test_setting_has_its_place(fields, config):
    assert sent(**fields) == {"contents": [TURN], **({"generationConfig": config} if config else {})}


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash", "minimal", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-2.5-pro", "max", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "minimal"}),
        ("gemini-3-pro-preview", "none", {"thinkingLevel": "low"}),
        ("gemini-3.1-pro", "minimal", {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-3-flash-preview", "xhigh", {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-flash-latest", "low", {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-2.0-flash", "high", None),
        ("gemini-1.5-pro", "none", None),
    ],
)
def test_effort_is_what_the_generation_of_the_model_knows(model, effort, thinking):
    config = sent(model=model, reasoning_effort=effort).get("generationConfig")
    assert config == (thinking and {"thinkingConfig": thinking})


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"safety_settings": [{"category": "C"}]}, {"safetySettings": [{"category": "C"}]}),
        ({"cachedContent": "cachedContents/1"}, {"cachedContent": "cachedContents/1"}),
        ({"extra_body": {"google": {"cached_content": "c"}}}, {"cachedContent": "c"}),
        ({"labels": {"team": "a"}}, {"labels": {"team": "a"}}),
    ],
)
def test_geminis_own_fields_go_along(fields, body):
    assert sent(**fields) == {"contents": [TURN], **body}


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "u", "store": True, "metadata": {"a": "b"}, "service_tier": "flex", "verbosity": "low"},
        {
            "stream_options": {"include_usage": True},
            "prompt_cache_key": "k",
            "prediction": {"type": "content"},
        },
        {"provider": {"order": ["x"]}, "parallel_tool_calls": False, "safety_identifier": "s"},
        {"logit_bias": {}, "audio": None, "top_logprobs": 0, "web_search_options": None},
    ],
)
def test_hints_are_left_out(fields):
    assert sent(**fields) == {"contents": [TURN]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"modalities": [["text"]]}, "modalities"),
        ({"response_format": {"type": ["text"]}}, "response_format"),
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
        ({"frequency": 3}, "frequency"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"response_format": "json"}, "response_format"),
        ({"extra_body": {"openai": {}}}, "extra_body"),
        ({"extra_body": {"google": {"magic": 1}}}, "extra_body.google.magic"),
    ],
)
def test_setting_that_cannot_be_said_is_named(fields, param):
    error = refusal(**fields)
    assert (error.status, error.param, error.code) == (400, param, "unsupported_value")


# Embeddings


def test_embeddings_are_a_batch():
    request = build(
        Endpoint.EMBEDDINGS,
        "gemini-embedding-001",
        input=["a", "b"],
        dimensions=3,
        task_type="CLUSTERING",
        user="u",
    )
    common = {
        "model": "models/gemini-embedding-001",
        "outputDimensionality": 3,
        "taskType": "CLUSTERING",
    }
    assert request.url == "https://up.example/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert orjson.loads(request.body) == {
        "requests": [{**common, "content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "magic": 1}, "magic"),
    ],
)
def test_embeddings_that_cannot_be_asked_are_refused(fields, param):
    assert refusal(endpoint=Endpoint.EMBEDDINGS, **fields).param == param
