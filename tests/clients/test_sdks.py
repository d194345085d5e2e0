"""The vendors' own SDKs against every provider kind: a new kind is tried as soon as it has its line."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from routing.kinds import KINDS
from routing.types import Endpoint
from tests.clients.gateway import Gateway, pool_of
from tests.clients.mind import VECTOR
from tests.clients.pictures import png
from tests.clients.vendors import VENDORS

PICTURE = base64.b64encode(png()).decode()
SHOWN = f"You said: What is in this picture? I was shown image/png of {len(png())} bytes."
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
    "additionalProperties": False,
}
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TWO_CALLS = 'Call weather({"place": "Oslo"}) and call weather({"place": "Rome"})'
PLACES = [{"place": "Oslo"}, {"place": "Rome"}]
CITY = {"name": "Oslo", "people": 700000}


def cells(client: str, endpoint: Endpoint = Endpoint.CHAT) -> list[Any]:
    """Every kind that serves the endpoint."""
    return [
        pytest.param(name, id=name, marks=pytest.mark.cell(client, name))
        for name, kind in KINDS.items()
        if endpoint in kind.serves
    ]


def named(kind: str) -> str:
    """The model that an answer names: the vendor's own, or what was asked for where the vendor names none."""
    return VENDORS[kind].model if VENDORS[kind].names_itself else pool_of(kind)


# --- openai ---

of_openai = pytest.mark.parametrize("kind", cells("openai SDK"))
whole_and_streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def chat(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.openai_url, api_key=gateway.key, max_retries=0) as client:
        yield client


def completed(
    client: openai.OpenAI, kind: str, *, stream: bool, prompt: Any, **fields: Any
) -> ChatCompletion:
    """One chat, put together by the SDK where it is streamed."""
    fields |= {
        "model": pool_of(kind),
        "messages": [*fields.pop("before", []), {"role": "user", "content": prompt}],
    }
    if not stream:
        return client.chat.completions.create(**fields)
    with client.chat.completions.stream(**fields, stream_options={"include_usage": True}) as streaming:
        try:
            return streaming.get_final_completion()
        except openai.LengthFinishReasonError as error:
            return error.completion


@of_openai
@whole_and_streamed
def test_chat(chat: openai.OpenAI, kind: str, stream: bool) -> None:
    got = completed(chat, kind, stream=stream, prompt="Good morning")
    assert (got.model, got.choices[0].finish_reason) == (named(kind), "stop")
    assert got.choices[0].message.content == "You said: Good morning"
    assert got.usage is not None
    assert (got.usage.prompt_tokens, got.usage.completion_tokens, got.usage.total_tokens) == (12, 4, 16)


@of_openai
@whole_and_streamed
def test_chat_cut_short(chat: openai.OpenAI, kind: str, stream: bool) -> None:
    got = completed(chat, kind, stream=stream, prompt="One two three", max_tokens=3, stop=["never"])
    assert got.choices[0].finish_reason == "length"
    assert got.choices[0].message.content == "You said: One "


@of_openai
@whole_and_streamed
def test_chat_with_tools(chat: openai.OpenAI, kind: str, stream: bool) -> None:
    """Two calls at once, and their results back with the next question's answer."""
    tools = [{"type": "function", "function": {"name": "weather", "parameters": PLACE}}]
    got = completed(chat, kind, stream=stream, prompt=TWO_CALLS, tools=tools)
    calls = got.choices[0].message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == PLACES
    assert got.choices[0].finish_reason == "tool_calls"
    results = [{"role": "tool", "tool_call_id": call.id, "content": "Sun"} for call in calls]
    before = [{"role": "user", "content": TWO_CALLS}, got.choices[0].message.to_dict(), *results]
    then = completed(chat, kind, stream=stream, prompt="And?", tools=tools, before=before)
    assert then.choices[0].message.content is not None
    assert then.choices[0].message.content.count("Sun") == 2


@of_openai
@whole_and_streamed
def test_chat_with_schema(chat: openai.OpenAI, kind: str, stream: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    got = completed(chat, kind, stream=stream, prompt="'Oslo' has 700000", response_format=form)
    assert json.loads(got.choices[0].message.content or "") == CITY


@of_openai
@whole_and_streamed
def test_chat_with_picture(chat: openai.OpenAI, kind: str, stream: bool) -> None:
    shown = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    prompt = [{"type": "text", "text": "What is in this picture?"}, shown]
    got = completed(chat, kind, stream=stream, prompt=prompt)
    assert got.choices[0].message.content == SHOWN


def responded(client: openai.OpenAI, kind: str, *, stream: bool, prompt: Any, **fields: Any) -> Response:
    """One response, put together by the SDK where it is streamed."""
    fields |= {"model": pool_of(kind), "input": prompt, "store": False}
    if not stream:
        return client.responses.create(**fields)
    with client.responses.stream(**fields) as streaming:
        return streaming.get_final_response()


of_responses = pytest.mark.parametrize("kind", cells("openai SDK responses", Endpoint.RESPONSES))


@of_responses
@whole_and_streamed
def test_response(chat: openai.OpenAI, kind: str, stream: bool) -> None:
    got = responded(chat, kind, stream=stream, prompt="Good morning", instructions="Be brief.")
    assert (got.model, got.status, got.output_text) == (
        named(kind),
        "completed",
        "You said: Good morning",
    )
    assert got.usage is not None
    assert (got.usage.input_tokens, got.usage.output_tokens, got.usage.total_tokens) == (12, 4, 16)


@of_responses
@whole_and_streamed
def test_response_with_tools(chat: openai.OpenAI, kind: str, stream: bool) -> None:
    tools = [{"type": "function", "name": "weather", "parameters": PLACE, "strict": False}]
    got = responded(chat, kind, stream=stream, prompt=TWO_CALLS, tools=tools)
    calls = [item for item in got.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == PLACES
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "Sun"} for call in calls]
    asked = [{"role": "user", "content": TWO_CALLS}, *(sent_back(call) for call in calls), *outputs]
    then = responded(chat, kind, stream=stream, prompt=asked, tools=tools)
    assert then.output_text.count("Sun") == 2


def sent_back(item: Any) -> dict[str, Any]:
    """An item as clients send it back: what the SDK's own parsing added is not part of it."""
    return item.model_dump(exclude={"parsed_arguments"}, exclude_none=True, mode="json")


@of_responses
@whole_and_streamed
def test_response_with_schema(chat: openai.OpenAI, kind: str, stream: bool) -> None:
    form = {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}
    got = responded(chat, kind, stream=stream, prompt="'Oslo' has 700000", text={"format": form})
    assert json.loads(got.output_text) == CITY


@of_responses
@whole_and_streamed
def test_response_with_picture(chat: openai.OpenAI, kind: str, stream: bool) -> None:
    shown = {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}", "detail": "auto"}
    content = [{"type": "input_text", "text": "What is in this picture?"}, shown]
    got = responded(chat, kind, stream=stream, prompt=[{"role": "user", "content": content}])
    assert got.output_text == SHOWN


@pytest.mark.parametrize("kind", cells("openai SDK", Endpoint.EMBEDDINGS))
@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_embeddings(chat: openai.OpenAI, kind: str, form: dict[str, Any]) -> None:
    got = chat.embeddings.create(model=pool_of(kind), input=["one", "two"], **form)
    assert [one.embedding for one in got.data] == [VECTOR, VECTOR]


# --- anthropic ---

of_anthropic = pytest.mark.parametrize("kind", cells("anthropic SDK", Endpoint.MESSAGES))


@pytest.fixture
def messages(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.anthropic_url, api_key=gateway.key, max_retries=0) as client:
        yield client


def told(client: anthropic.Anthropic, kind: str, *, stream: bool, prompt: Any, **fields: Any) -> Message:
    """One message, put together by the SDK where it is streamed."""
    fields |= {
        "model": pool_of(kind),
        "messages": [*fields.pop("before", []), {"role": "user", "content": prompt}],
    }
    fields.setdefault("max_tokens", 1000)
    if not stream:
        return client.messages.create(**fields)
    with client.messages.stream(**fields) as streaming:
        return streaming.get_final_message()


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@of_anthropic
@whole_and_streamed
def test_message(messages: anthropic.Anthropic, kind: str, stream: bool) -> None:
    got = told(messages, kind, stream=stream, prompt="Good morning", system="Be brief.")
    assert (got.model, got.stop_reason, text_of(got)) == (
        named(kind),
        "end_turn",
        "You said: Good morning",
    )
    assert (got.usage.input_tokens, got.usage.output_tokens) == (12, 4)


@of_anthropic
@whole_and_streamed
def test_message_cut_short(messages: anthropic.Anthropic, kind: str, stream: bool) -> None:
    got = told(messages, kind, stream=stream, prompt="One two three", max_tokens=3, stop_sequences=["never"])
    assert (got.stop_reason, text_of(got)) == ("max_tokens", "You said: One ")


@of_anthropic
@whole_and_streamed
def test_message_with_tools(messages: anthropic.Anthropic, kind: str, stream: bool) -> None:
    tools = [{"name": "weather", "input_schema": PLACE}]
    got = told(messages, kind, stream=stream, prompt=TWO_CALLS, tools=tools)
    uses = [block for block in got.content if block.type == "tool_use"]
    assert ([use.input for use in uses], got.stop_reason) == (PLACES, "tool_use")
    before = [{"role": "user", "content": TWO_CALLS}, {"role": "assistant", "content": got.content}]
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "Sun"} for use in uses]
    then = told(messages, kind, stream=stream, prompt=results, tools=tools, before=before)
    assert text_of(then).count("Sun") == 2


@of_anthropic
@whole_and_streamed
def test_message_with_schema(messages: anthropic.Anthropic, kind: str, stream: bool) -> None:
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    got = told(messages, kind, stream=stream, prompt="'Oslo' has 700000", output_config=form)
    assert json.loads(text_of(got)) == CITY


@of_anthropic
@whole_and_streamed
def test_message_with_picture(messages: anthropic.Anthropic, kind: str, stream: bool) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    prompt = [{"type": "text", "text": "What is in this picture?"}, {"type": "image", "source": source}]
    assert text_of(told(messages, kind, stream=stream, prompt=prompt)) == SHOWN


@pytest.mark.parametrize("kind", cells("anthropic SDK", Endpoint.COUNT_TOKENS))
def test_tokens_are_counted(messages: anthropic.Anthropic, kind: str) -> None:
    asked = [{"role": "user", "content": "Good morning"}]
    assert messages.messages.count_tokens(model=pool_of(kind), messages=asked).input_tokens == 12
