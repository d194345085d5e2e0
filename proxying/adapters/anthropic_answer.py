"""A Messages answer as a chat completion: what whole and streamed ones have in common, and the whole one."""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters import reasoning_details
from proxying.adapters.anthropic_usage import chat_usage
from proxying.adapters.json_text import answer_text
from proxying.errors import UpstreamProtocolError

_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "compaction": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def finish_reason(stop_reason: Any) -> str:
    """Why the answer ended, in OpenAI's word; ``stop`` for what is not known."""
    return _FINISH_REASONS.get(stop_reason, "stop") if isinstance(stop_reason, str) else "stop"


def refusal_text(ending: dict[str, Any]) -> str | None:
    """Why the model refused, where it says so; ``ending`` is what holds ``stop_reason``."""
    details = ending.get("stop_details")
    text = details.get("explanation") if isinstance(details, dict) else None
    return text if isinstance(text, str) and text else None


def tool_call(block: dict[str, Any], arguments: str) -> dict[str, Any]:
    """A ``tool_use`` block as a tool call with these arguments."""
    function = {"name": block.get("name") or "", "arguments": arguments}
    return {"id": block.get("id") or "", "type": "function", "function": function}


def annotation(citation: Any, end: int) -> dict[str, Any] | None:
    """A citation of a web page as OpenAI's annotation; None for what cites something else.

    ``end`` is how long the text is to which it belongs.
    """
    if not isinstance(citation, dict) or not isinstance(citation.get("url"), str):
        return None
    cited = {
        "url": citation["url"],
        "title": citation.get("title") or "",
        "start_index": 0,
        "end_index": end,
    }
    return {"type": "url_citation", "url_citation": cited}


def chat_answer(message: dict[str, Any], created: int) -> dict[str, Any]:
    """A whole Messages answer as a chat completion.

    Blocks that a client of chat completions could not answer (tools that the provider runs itself) are left
    out; the text around them stays.
    """
    choice = {
        "index": 0,
        "message": _message(message),
        "logprobs": None,
        "finish_reason": finish_reason(message.get("stop_reason")),
    }
    usage = message.get("usage")
    return {
        "id": message.get("id") or "",
        "object": "chat.completion",
        "created": created,
        "model": message.get("model") or "",
        "choices": [choice],
        "usage": chat_usage(usage if isinstance(usage, dict) else {}),
    }


def words(block: dict[str, Any], name: str) -> str:
    """A text of a block or a delta; empty when it is not there.

    Raises:
        UpstreamProtocolError: something else stands there.
    """
    text = block.get(name) or ""
    if not isinstance(text, str):
        raise UpstreamProtocolError(f"The provider sent a block whose {name!r} is no text.")
    return text


def _message(answer: dict[str, Any]) -> dict[str, Any]:
    text, thinking = "", ""
    calls: list[dict[str, Any]] = []
    details: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    has_text = False
    for index, block in enumerate(answer.get("content") or ()):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            has_text = True
            text += words(block, "text")
            cited = block.get("citations")
            found = (annotation(one, len(text)) for one in (cited if isinstance(cited, list) else ()))
            annotations += [one for one in found if one is not None]
        elif kind == "tool_use":
            calls.append(tool_call(block, answer_text(block.get("input") or {}).decode()))
        elif kind in ("thinking", "redacted_thinking"):
            thinking += words(block, "thinking")
            detail = reasoning_details.detail(block, index)
            details += [detail] if detail is not None else []
    message: dict[str, Any] = {"role": "assistant", "content": text if has_text else None}
    message["refusal"] = refusal_text(answer)
    optional = {
        "tool_calls": calls,
        "reasoning_content": thinking,
        "reasoning_details": details,
        "annotations": annotations,
    }
    message.update((name, value) for name, value in optional.items() if value)
    return message
