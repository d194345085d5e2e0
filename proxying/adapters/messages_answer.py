"""A chat completion as a Messages answer: what whole and streamed ones have in common, and the whole one."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from proxying.adapters.base import Usage, token_count
from proxying.adapters.chat_message import NewId, calls_of, reasoning_of, text_of, tool_id
from proxying.adapters.gateway_thinking import SIGNATURE_TEXT
from proxying.adapters.openai_usage import read_usage
from proxying.adapters.reasoning_details import thinking_blocks

_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_ID: Final = re.compile(r"[^A-Za-z0-9_-]")


def stop_reason(finish_reason: Any, *, has_tools: bool) -> str:
    """Why the answer ended, in Anthropic's word. Some vendors say ``stop`` for calls of tools too."""
    word = _STOP_REASONS.get(finish_reason, "end_turn") if isinstance(finish_reason, str) else "end_turn"
    return "tool_use" if has_tools and word == "end_turn" else word


def message_id(given: Any, new_id: NewId) -> str:
    """An id of Anthropic's form, of the provider's where it has one."""
    text = _ID.sub("_", given) if isinstance(given, str) else ""
    if text.startswith("msg_"):
        return text
    return f"msg_{text or new_id()}"


def messages_usage(raw: Any) -> dict[str, Any]:
    """The counts as Anthropic's clients read them: the prompt leaves cached tokens out."""
    usage = Usage()
    given = raw if isinstance(raw, dict) else {}
    read_usage(given, usage)
    details = given.get("prompt_tokens_details")
    stored = (token_count(details.get("cache_write_tokens")) if isinstance(details, dict) else None) or 0
    cached = usage.cached_tokens or 0
    return {
        "input_tokens": max((usage.prompt_tokens or 0) - cached - stored, 0),
        "cache_creation_input_tokens": stored,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.completion_tokens or 0,
    }


def tool_input(arguments: Any) -> dict[str, Any]:
    """A call's arguments as an object; what is not one is kept under a key of its own."""
    if isinstance(arguments, dict):
        return arguments
    if not isinstance(arguments, str) or not arguments.strip():
        return {}
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {"invalid_json": arguments}
    return value if isinstance(value, dict) else {"value": value}


def messages_answer(answer: dict[str, Any], new_id: NewId) -> dict[str, Any]:
    """A whole chat completion as a Messages answer; of several choices the first."""
    choice = answer["choices"][0]
    given = choice.get("message")
    message = given if isinstance(given, dict) else {}  # Azure's filtered answers have none
    content = _content(message, new_id)
    has_tools = any(block["type"] == "tool_use" for block in content)
    reason = stop_reason(choice.get("finish_reason"), has_tools=has_tools)
    if message.get("refusal") and reason == "end_turn":
        reason = "refusal"
    return {
        "id": message_id(answer.get("id"), new_id),
        "type": "message",
        "role": "assistant",
        "model": answer.get("model") or "",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": messages_usage(answer.get("usage")),
    }


def _content(message: dict[str, Any], new_id: NewId) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    thought = reasoning_of(message)
    signed = thinking_blocks(message.get("reasoning_details"))
    content += signed
    if thought and not signed:
        content.append({"type": "thinking", "thinking": thought, "signature": SIGNATURE_TEXT})
    text = text_of(message.get("content")) + text_of(message.get("refusal"))
    if text:
        content.append({"type": "text", "text": text})
    for call in calls_of(message):
        function = call.get("function")
        called = function if isinstance(function, dict) else {}
        use = {"type": "tool_use", "id": tool_id(call.get("id"), new_id, "toolu")}
        content.append(
            {**use, "name": called.get("name") or "", "input": tool_input(called.get("arguments"))}
        )
    return content
