"""What a chat completion's message or delta holds, wherever the vendor puts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

# Where the vendors put what the model thought.
REASONING: Final = ("reasoning_content", "reasoning")
NewId = Callable[[], str]


def tool_id(given: Any, new_id: NewId, prefix: str) -> str:
    """The provider's id of a call; one is made where it has none, as with older Gemini models."""
    return given if isinstance(given, str) and given else f"{prefix}_{new_id()}"


def text_of(content: Any) -> str:
    """The text of a message or delta; Mistral's is a list of parts."""
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "".join(str(part.get("text") or "") for part in parts if part.get("type") == "text")


def reasoning_of(message: dict[str, Any]) -> str:
    """What the model thought, wherever the vendor puts it."""
    for name in REASONING:
        if isinstance(message.get(name), str) and message[name]:
            return str(message[name])
    content = message.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "".join(text_of(part.get("thinking")) for part in parts if part.get("type") == "thinking")


def calls_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The tool calls of a message or delta, the old single form included."""
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        return [call for call in calls if isinstance(call, dict)]
    old = message.get("function_call")
    return [{"index": 0, "function": old}] if isinstance(old, dict) else []


def usage_of(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """The counts that a chunk carries, at the places where the vendors put them."""
    usage = None
    for holder in (chunk, chunk.get("x_groq"), *(chunk.get("choices") or ())):
        if isinstance(holder, dict) and isinstance(holder.get("usage"), dict):
            usage = holder["usage"]
    return usage
