"""What was recorded at Anthropic, asked for by a client of chat completions: the gateway must say the same.

``chat_of`` is written from OpenAI's reference and Anthropic's, not from the gateway's own code.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxying.errors import InvalidRequestError
from proxying.schemas import parse_body
from routing.types import Endpoint
from tests.conformance.recordings import Recording
from tests.conformance.test_fixtures_anthropic import ADAPTER, cases, endpoint_of, target

pytestmark = pytest.mark.recordings

CHOICES = {"auto": "auto", "any": "required", "none": "none"}
SAME = ("model", "max_tokens", "stream", "temperature", "top_k", "thinking")
# Requests that Anthropic itself refused: what is wrong with them is refused by the gateway already.
MALFORMED = {"anthropic/error-400-invalid-request": "messages[0].role"}


def is_chat(recording: Recording) -> bool:
    return recording.request is not None and endpoint_of(recording) is Endpoint.MESSAGES


def parts_of(content: Any) -> Any:
    """Blocks of a message as OpenAI's parts."""
    if isinstance(content, str):
        return content
    return [part_of(block) for block in content]


def part_of(block: dict[str, Any]) -> dict[str, Any]:
    if block["type"] == "text":
        return block
    source = block["source"]
    url = source["url"] if source["type"] == "url" else f"data:{source['media_type']};base64,{source['data']}"
    return {"type": "image_url", "image_url": {"url": url}}


def messages_of(message: Any) -> list[Any]:
    """One of Anthropic's messages as OpenAI's: results of tools are messages of their own."""
    if not isinstance(message, dict) or isinstance(message["content"], str):
        return [message]
    blocks = message["content"]
    if message["role"] == "assistant":
        return [assistant_of(blocks)]
    results = [block for block in blocks if block["type"] == "tool_result"]
    rest = [block for block in blocks if block["type"] != "tool_result"]
    told = [{"role": "tool", "tool_call_id": one["tool_use_id"], **said(one)} for one in results]
    return told + ([{"role": "user", "content": parts_of(rest)}] if rest else [])


def said(result: dict[str, Any]) -> dict[str, Any]:
    failed = {"is_error": result["is_error"]} if "is_error" in result else {}
    return {"content": parts_of(result["content"]), **failed}


def assistant_of(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    texts = [block for block in blocks if block["type"] == "text"]
    uses = [block for block in blocks if block["type"] == "tool_use"]
    thoughts = [block for block in blocks if block["type"] == "thinking"]
    if texts:
        message["content"] = texts
    if uses:
        message["tool_calls"] = [
            {
                "id": use["id"],
                "type": "function",
                "function": {"name": use["name"], "arguments": json.dumps(use["input"])},
            }
            for use in uses
        ]
    if thoughts:
        message["reasoning_details"] = [
            {
                "type": "reasoning.text",
                "text": block["thinking"],
                "signature": block["signature"],
                "format": "anthropic-claude-v1",
                "index": index,
            }
            for index, block in enumerate(thoughts)
        ]
    return message


def tool_of(tool: dict[str, Any]) -> dict[str, Any]:
    """A function; tools that Anthropic runs go as they are."""
    if "type" in tool:
        return tool
    function = {key: tool[key] for key in ("name", "description") if key in tool}
    return {"type": "function", "function": {**function, "parameters": tool["input_schema"]}}


def chat_of(recorded: dict[str, Any]) -> dict[str, Any]:
    """The recorded request as a client of chat completions would have said it."""
    chat: dict[str, Any] = {name: recorded[name] for name in SAME if name in recorded}
    system = [{"role": "system", "content": parts_of(recorded["system"])}] if "system" in recorded else []
    chat["messages"] = [*system, *(one for message in recorded["messages"] for one in messages_of(message))]
    if "tools" in recorded:
        chat["tools"] = [tool_of(tool) for tool in recorded["tools"]]
    choice = recorded.get("tool_choice")
    if choice:
        named = {"type": "function", "function": {"name": choice.get("name")}}
        chat["tool_choice"] = CHOICES.get(choice["type"], named)
        if choice.get("disable_parallel_tool_use"):
            chat["parallel_tool_calls"] = False
    if "stop_sequences" in recorded:
        chat["stop"] = recorded["stop_sequences"]
    if "metadata" in recorded:
        chat["safety_identifier"] = recorded["metadata"]["user_id"]
    config = dict(recorded.get("output_config", {}))
    form = config.pop("format", None)
    if form:
        chat["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": form["schema"]},
        }
    if config:
        chat["output_config"] = config
    return chat


def expected_of(recorded: dict[str, Any]) -> dict[str, Any]:
    """The recorded request, all texts as blocks, without what only clients of Anthropic's can say.

    Sampling is left out while thinking: all but one value of it would be refused.
    """
    expected = {**recorded, "model": "exact-model"}
    for holder in [*expected["messages"], *([expected] if "system" in expected else [])]:
        name = "system" if holder is expected else "content"
        if isinstance(holder[name], str):
            holder[name] = [{"type": "text", "text": holder[name]}]
        # Anthropic refuses text of white space alone, and yet a model has said it.
        holder[name] = [block for block in holder[name] if block.get("text", "said").strip()]
    for tool in [tool for tool in expected.get("tools", []) if "type" not in tool]:
        tool.pop("defer_loading", None)
        if not tool.get("description"):
            tool.pop("description", None)
    if "thinking" in expected:
        expected.pop("temperature", None)
    if expected.get("stream") is False:
        del expected["stream"]
    return expected


@pytest.mark.parametrize("recording", cases(is_chat))
def test_request_of_a_chat_client_becomes_the_recorded_one(recording):
    recorded = json.loads(recording.request)
    body = parse_body(json.dumps(chat_of(recorded)).encode(), Endpoint.CHAT)
    if recording.name in MALFORMED:
        with pytest.raises(InvalidRequestError) as refused:
            ADAPTER.build_request(body, target(), {})
        assert refused.value.param == MALFORMED[recording.name]
        return
    assert json.loads(ADAPTER.build_request(body, target(), {}).body) == expected_of(recorded)
