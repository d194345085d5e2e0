"""pydantic-ai's agents: tools, streams and structured output, by its models of both dialects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput, ToolOutput
from pydantic_ai.messages import ModelResponse, ThinkingPart, ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.profiles.anthropic import anthropic_model_profile
from pydantic_ai.profiles.openai import openai_model_profile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.gateway import Gateway, pool_of
from tests.clients.mind import THOUGHT
from tests.clients.pictures import png
from tests.clients.vendors import CHOSEN


class City(BaseModel):
    """A place."""

    name: str
    people: int


def of_openai(gateway: Gateway, pool: str) -> Model:
    return OpenAIChatModel(pool, provider=OpenAIProvider(base_url=gateway.openai_url, api_key=gateway.key))


def of_responses(gateway: Gateway, pool: str) -> Model:
    provider = OpenAIProvider(base_url=gateway.openai_url, api_key=gateway.key)
    return OpenAIResponsesModel(pool, provider=provider, profile=openai_model_profile("gpt-5"))


def of_anthropic(gateway: Gateway, pool: str) -> Model:
    provider = AnthropicProvider(base_url=gateway.anthropic_url, api_key=gateway.key)
    # Models are known by their names, and a pool has one of its own.
    return AnthropicModel(pool, provider=provider, profile=anthropic_model_profile("claude-sonnet-4-5"))


MODELS: dict[str, Callable[[Gateway, str], Model]] = {
    "pydantic-ai openai": of_openai,
    "pydantic-ai responses": of_responses,
    "pydantic-ai anthropic": of_anthropic,
}
EVERYWHERE = [
    pytest.param((client, kind), id=f"{client.split()[1]}-at-{wire}", marks=pytest.mark.cell(client, kind))
    for client in MODELS
    for wire, kind in {**CHOSEN, "compatible": "openai_compatible"}.items()
]


# How many of two answers show their thoughts, where it is not both: OpenAI shows none, and this client of
# chat completions does not send signed thoughts back, without which Anthropic must not think on after a tool.
THOUGHTS = {
    **{f"{client}-at-{at}": 0 for client in ("openai", "anthropic") for at in ("openai", "compatible")},
    "responses-at-compatible": 0,
    "openai-at-anthropic": 1,
    "openai-at-bedrock": 1,
}


@pytest.fixture(params=EVERYWHERE)
def model(request: pytest.FixtureRequest, gateway: Gateway) -> Model:
    client, kind = request.param
    return MODELS[client](gateway, pool_of(kind))


def weather_agent(model: Model, **options: Any) -> Agent[None, Any]:
    agent = Agent(model, **options)

    @agent.tool_plain
    def weather(place: str) -> str:
        """The weather of a place."""
        return f"Sun in {place}"

    return agent


async def test_words(model: Model) -> None:
    result = await Agent(model, instructions="Be brief.").run("Good morning")
    assert result.output == "You said: Good morning"
    usage = result.usage
    assert (usage.input_tokens, usage.output_tokens) == (12, 4)


async def test_words_streamed(model: Model) -> None:
    async with Agent(model).run_stream("Good morning") as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
    assert "".join(pieces) == "You said: Good morning"
    assert len(pieces) > 1
    assert (result.usage.input_tokens, result.usage.output_tokens) == (12, 4)


async def test_tool(model: Model) -> None:
    result = await weather_agent(model).run("The weather in 'Oslo'?")
    assert "Sun in Oslo" in result.output
    assert result.usage.requests == 2


async def test_tools_in_parallel(model: Model) -> None:
    asked = 'Call weather({"place": "Oslo"}) and call weather({"place": "Rome"})'
    result = await weather_agent(model).run(asked)
    assert "Sun in Oslo" in result.output
    assert "Sun in Rome" in result.output
    calls = [part for one in result.all_messages() for part in one.parts if isinstance(part, ToolCallPart)]
    assert [call.args_as_dict() for call in calls] == [{"place": "Oslo"}, {"place": "Rome"}]


async def test_tool_streamed(model: Model) -> None:
    agent = weather_agent(model)
    async with agent.iter("The weather in 'Oslo'?") as run:
        async for node in run:
            if Agent.is_model_request_node(node):
                async with node.stream(run.ctx) as stream:
                    async for _ in stream:
                        pass
    assert run.result is not None
    assert "Sun in Oslo" in run.result.output


async def test_tool_then_conversation(model: Model) -> None:
    agent = weather_agent(model)
    first = await agent.run("The weather in 'Oslo'?")
    second = await agent.run("Thank you", message_history=first.all_messages())
    assert second.output == "You said: Thank you"


@pytest.mark.parametrize("how", [ToolOutput, NativeOutput])
async def test_structured_output(model: Model, how: Any) -> None:
    agent = Agent(model, output_type=how(City))
    result = await agent.run("Tell of 'Oslo' with 700000 people.")
    assert result.output == City(name="Oslo", people=700000)


@pytest.mark.parametrize("how", [ToolOutput, NativeOutput])
async def test_structured_output_streamed(model: Model, how: Any) -> None:
    agent = Agent(model, output_type=how(City))
    async with agent.run_stream("Tell of 'Oslo' with 700000 people.") as result:
        seen = [one async for one in result.stream_output(debounce_by=None)]
    assert seen[-1] == City(name="Oslo", people=700000)


async def test_tool_and_structured_output(model: Model) -> None:
    result = await weather_agent(model, output_type=ToolOutput(City)).run(
        "The weather in 'Oslo', 700000 people?"
    )
    assert result.output == City(name="Oslo", people=700000)
    assert result.usage.requests == 2


async def test_picture(model: Model) -> None:
    shown = BinaryContent(png(), media_type="image/png")
    result = await Agent(model).run(["What is in this picture?", shown])
    assert result.output == f"You said: What is in this picture? I was shown image/png of {len(png())} bytes."


async def test_thinking_goes_on_after_a_tool(model: Model, request: pytest.FixtureRequest) -> None:
    """What signs the thoughts comes back with the tool's result, or the provider refuses them."""
    settings: Any = {"openai_reasoning_effort": "medium"}
    if isinstance(model, OpenAIResponsesModel):
        settings["openai_reasoning_summary"] = "auto"
    if isinstance(model, AnthropicModel):
        settings = {"anthropic_thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4096}
    result = await weather_agent(model, model_settings=settings).run("The weather in 'Oslo'?")
    assert "Sun in Oslo" in result.output
    answers = [one for one in result.all_messages() if isinstance(one, ModelResponse)]
    parts = [part for one in answers for part in one.parts if isinstance(part, ThinkingPart)]
    thoughts = [part.content for part in parts if part.content]  # one without words holds a signature
    case = request.node.callspec.id
    assert thoughts == [THOUGHT] * THOUGHTS.get(case, 2)
