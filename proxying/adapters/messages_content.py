"""Anthropic's messages as OpenAI's chat messages."""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters import reasoning_details
from proxying.adapters.dialects import refuse
from proxying.adapters.gateway_thinking import is_gateway_made
from proxying.adapters.json_text import request_text

_THINKING: Final = ("thinking", "redacted_thinking")
_ERROR_PREFIX: Final = "Error: "
_ROLES: Final = ("user", "assistant", "system")


def system_message(system: Any, *, with_marks: bool = False) -> list[dict[str, Any]]:
    """The instructions as a first message; none when there are none."""
    if with_marks and isinstance(system, list) and any(_has_mark(block) for block in system):
        parts = [_marked(_text_part(block, f"system[{n}]"), block) for n, block in enumerate(system)]
        return [{"role": "system", "content": parts}]
    if isinstance(system, str):
        text = system
    elif isinstance(system, list):
        text = "\n".join(_text_of(block, f"system[{n}]") for n, block in enumerate(system))
    elif system is None:
        text = ""
    else:
        raise refuse("system", "A text or a list of text blocks is expected.")
    return [{"role": "system", "content": text}] if text else []


def chat_messages(
    message: Any, where: str, *, with_reasoning: bool = False, with_marks: bool = False
) -> list[dict[str, Any]]:
    """One message as one or more: results of tools are messages of their own, before the rest.

    ``with_reasoning`` sends the thinking of earlier turns along, for providers that want it back;
    ``with_marks`` what Claude's providers alone understand: ``cache_control``, and signed thinking.

    Raises:
        InvalidRequestError: a block has no place in chat completions.
    """
    role = message.get("role") if isinstance(message, dict) else None
    if role not in _ROLES:
        raise refuse(f"{where}.role", f"The role {role!r} is not known.")
    content = message.get("content")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    if not isinstance(content, list):
        raise refuse(f"{where}.content", "A text or a list of blocks is expected.")
    if role == "system":
        return system_message(content, with_marks=with_marks)
    if role == "assistant":
        said = _assistant(content, where, with_reasoning=with_reasoning)
        return _with_marks(said, content) if with_marks else said
    return _user(content, where, with_marks=with_marks)


def _with_marks(said: list[dict[str, Any]], content: list[Any]) -> list[dict[str, Any]]:
    """The assistant's message with the thinking that led to it, as it was signed, and its cache marks."""
    details = [
        reasoning_details.detail(block, index)
        for index, block in enumerate(content)
        if isinstance(block, dict) and not is_gateway_made(block)
    ]
    for message in said:
        signed = [detail for detail in details if detail is not None]
        message.update({"reasoning_details": signed} if signed else {})
        for block in content:
            _marked(message, block)
    return said


def _user(content: list[Any], where: str, *, with_marks: bool) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for number, block in enumerate(content):
        place = f"{where}.content[{number}]"
        if isinstance(block, dict) and block.get("type") == "tool_result":
            result, pictures = _tool_message(block, place)
            results.append(_marked(result, block) if with_marks else result)
            parts += pictures
        else:
            parts.append(_marked(_part(block, place), block) if with_marks else _part(block, place))
    return [*results, {"role": "user", "content": _simplest(parts)}] if parts else results


def _assistant(content: list[Any], where: str, *, with_reasoning: bool) -> list[dict[str, Any]]:
    texts: list[str] = []
    reasoning: list[str] = []
    calls: list[dict[str, Any]] = []
    for number, block in enumerate(content):
        place = f"{where}.content[{number}]"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_use":
            calls.append(_tool_call(block, place))
        elif kind in _THINKING:
            reasoning.append(str(block.get("thinking") or ""))
        else:
            texts.append(_text_of(block, place))
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    if calls:
        message["tool_calls"] = calls
    if with_reasoning and any(reasoning):
        message["reasoning_content"] = "".join(reasoning)
    return [message] if texts or calls else []


def _tool_call(block: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(block.get("id"), str) or not isinstance(block.get("name"), str):
        raise refuse(where, "A tool use needs an id and a name.")
    arguments = request_text(block.get("input") or {}).decode()
    return {
        "id": block["id"],
        "type": "function",
        "function": {"name": block["name"], "arguments": arguments},
    }


def _tool_message(block: dict[str, Any], where: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A result as a tool's message; its pictures follow in the user's, where alone they may stand."""
    if not isinstance(block.get("tool_use_id"), str):
        raise refuse(f"{where}.tool_use_id", "The id of a tool use is expected.")
    content = block.get("content")
    pictures: list[dict[str, Any]] = []
    if isinstance(content, list):
        parts = [_part(one, f"{where}.content[{n}]") for n, one in enumerate(content)]
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        pictures = [part for part in parts if part["type"] != "text"]
    elif content is None or isinstance(content, str):
        text = content or ""
    else:
        raise refuse(f"{where}.content", "A text or a list of blocks is expected.")
    if block.get("is_error") is True:
        text = _ERROR_PREFIX + text
    return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": text}, pictures


def _part(block: Any, where: str) -> dict[str, Any]:
    kind = block.get("type") if isinstance(block, dict) else None
    source = block.get("source") if isinstance(block, dict) else None
    if kind == "image" and isinstance(source, dict):
        return {"type": "image_url", "image_url": {"url": _address(source, where)}}
    if kind == "document" and isinstance(source, dict):
        return _document(block, source, where)
    return _text_part(block, where)


def _text_part(block: Any, where: str) -> dict[str, Any]:
    return {"type": "text", "text": _text_of(block, where)}


def _has_mark(block: Any) -> bool:
    return isinstance(block, dict) and isinstance(block.get("cache_control"), dict)


def _marked(written: dict[str, Any], block: Any) -> dict[str, Any]:
    if _has_mark(block):
        written["cache_control"] = block["cache_control"]
    return written


def _document(block: dict[str, Any], source: dict[str, Any], where: str) -> dict[str, Any]:
    if source.get("type") == "text":
        title = f"{block['title']}\n\n" if isinstance(block.get("title"), str) else ""
        return {"type": "text", "text": title + str(source.get("data") or "")}
    if source.get("type") != "base64":
        raise refuse(
            f"{where}.source.type", "Only documents sent along (base64 or text) can go to this provider."
        )
    name = (
        block.get("title") if isinstance(block.get("title"), str) and block.get("title") else "document.pdf"
    )
    return {"type": "file", "file": {"filename": name, "file_data": _address(source, where)}}


def _address(source: dict[str, Any], where: str) -> str:
    if source.get("type") == "base64":
        return f"data:{source.get('media_type') or ''};base64,{source.get('data') or ''}"
    if source.get("type") == "url" and isinstance(source.get("url"), str):
        return str(source["url"])
    raise refuse(f"{where}.source.type", "Files stored at Anthropic cannot go to this provider.")


def _text_of(block: Any, where: str) -> str:
    if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
        return str(block["text"])
    kind = block.get("type") if isinstance(block, dict) else type(block).__name__
    raise refuse(where, f"A block of type {kind!r} cannot be sent to this provider.")


def _simplest(parts: list[dict[str, Any]]) -> Any:
    """One text alone is sent as a text: every vendor takes that."""
    return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"type", "text"} else parts
