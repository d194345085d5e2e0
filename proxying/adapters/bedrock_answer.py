"""A Converse answer as a chat completion: what whole and streamed ones share, and the whole one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from proxying.adapters import reasoning_details
from proxying.adapters.anthropic_usage import count
from proxying.adapters.base import Usage
from proxying.adapters.json_text import answer_text
from proxying.errors import UpstreamProtocolError

_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
# The model broke down: without any content there is nothing to hand over.
_FAILED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})


@dataclass(frozen=True, slots=True)
class Reading:
    """How a client wants its answer.

    Attributes:
        one_call: Only the first of several tool calls, for clients that said ``parallel_tool_calls: false``.
        by_function_call: In the old form, for clients that sent ``functions``.
    """

    one_call: bool = False
    by_function_call: bool = False


def finish_reason(stop_reason: Any, reading: Reading, *, has_calls: bool, has_content: bool) -> str:
    """Why the answer ended, in OpenAI's word; ``stop`` for what is not known.

    Raises:
        UpstreamProtocolError: the model broke down before it said anything.
    """
    known = stop_reason if isinstance(stop_reason, str) else ""
    if known in _FAILED and not has_content:
        raise UpstreamProtocolError(f"The provider's model broke off without an answer ({known}).")
    reason = _FINISH_REASONS.get(known, "stop")
    if reason in {"stop", "tool_calls"} and known != "stop_sequence":
        if not has_calls:
            return "stop"
        return "function_call" if reading.by_function_call else "tool_calls"
    return reason


def read_usage(raw: Any, usage: Usage) -> None:
    """Put the counts of a ``TokenUsage`` into ``usage``; its prompt is without cached tokens, ours with."""
    if not isinstance(raw, dict):
        return
    prompt, completion = count(raw, "inputTokens"), count(raw, "outputTokens")
    cached = count(raw, "cacheReadInputTokens")
    if prompt is not None:
        usage.prompt_tokens = prompt + (cached or 0) + _written(raw)
    if completion is not None:
        usage.completion_tokens = completion
    if cached is not None:
        usage.cached_tokens = cached


def chat_usage(raw: Any) -> dict[str, Any]:
    """The counts as OpenAI's clients read them."""
    usage = Usage()
    read_usage(raw, usage)
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": _written(raw) if isinstance(raw, dict) else 0,
        },
    }


def reasoning(content: Any, index: int) -> dict[str, Any]:
    """What a ``reasoningContent`` says, whole or a piece of it, as members of a message or a delta."""
    if not isinstance(content, dict):
        return {}
    whole = content.get("reasoningText")
    held = whole if isinstance(whole, dict) else content
    text, signature = held.get("text"), held.get("signature")
    redacted = content.get("redactedContent")
    said: dict[str, Any] = {}
    block: dict[str, Any]
    if isinstance(text, str) and text:
        said["reasoning_content"] = text
    if isinstance(redacted, str) and redacted:
        block = {"type": "redacted_thinking", "data": redacted}
    elif said or (isinstance(signature, str) and signature):
        block = {"type": "thinking", "thinking": text, "signature": signature}
    else:
        return {}
    return {**said, "reasoning_details": [reasoning_details.detail(block, index)]}


def citation(held: Any, end: int) -> dict[str, Any] | None:
    """A citation of a web page as OpenAI's annotation; None for what cites something else."""
    location = held.get("location") if isinstance(held, dict) else None
    web = location.get("web") if isinstance(location, dict) else None
    address = web.get("url") if isinstance(web, dict) else None
    if not isinstance(address, str) or not address:
        return None
    title = held.get("title")
    cited = {
        "url": address,
        "title": title if isinstance(title, str) else "",
        "start_index": 0,
        "end_index": end,
    }
    return {"type": "url_citation", "url_citation": cited}


def picture(form: Any, source: Any) -> dict[str, Any] | None:
    """A picture that the model made, as a data URL."""
    data = source.get("bytes") if isinstance(source, dict) else None
    if not isinstance(data, str) or not data:
        return None
    kind = form if isinstance(form, str) and form else "png"
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}


def is_clients_call(use: Any) -> bool:
    """Whether a ``toolUse`` is for the client to run: Bedrock runs tools of its own as well."""
    return isinstance(use, dict) and use.get("type") != "server_tool_use"


def message_of(blocks: list[Any], reading: Reading) -> dict[str, Any]:
    """The message of a whole answer.

    Raises:
        UpstreamProtocolError: a block is none.
    """
    written = _Message(reading)
    for index, block in enumerate(blocks):
        if not isinstance(block, dict):
            raise UpstreamProtocolError("The provider sent a content block that is not an object.")
        written.add(block, index)
    return written.finished()


class _Message:
    """Grows block by block."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._lists: dict[str, list[Any]] = {
            name: [] for name in ("tool_calls", "reasoning_details", "annotations", "images")
        }

    def add(self, block: dict[str, Any], index: int) -> None:
        if isinstance(block.get("text"), str):
            self._texts.append(block["text"])
        elif is_clients_call(block.get("toolUse")):
            self._add_call(block["toolUse"])
        elif "reasoningContent" in block:
            said = reasoning(block["reasoningContent"], index)
            self._thoughts.append(said.get("reasoning_content", ""))
            self._lists["reasoning_details"] += said.get("reasoning_details", [])
        elif isinstance(block.get("citationsContent"), dict):
            self._add_cited(block["citationsContent"])
        elif isinstance(block.get("image"), dict):
            made = picture(block["image"].get("format"), block["image"].get("source"))
            self._lists["images"] += [made] if made else []

    def finished(self) -> dict[str, Any]:
        text, thought = "".join(self._texts), "".join(self._thoughts)
        message: dict[str, Any] = {"role": "assistant", "content": text if self._texts else None}
        message["refusal"] = None
        if thought:
            message["reasoning_content"] = thought
        message.update((name, found) for name, found in self._lists.items() if found)
        if self._reading.by_function_call and "tool_calls" in message:
            message["function_call"] = message.pop("tool_calls")[0]["function"]
        return message

    def _add_call(self, use: dict[str, Any]) -> None:
        calls = self._lists["tool_calls"]
        if calls and (self._reading.one_call or self._reading.by_function_call):
            return
        call = call_of(use)
        call["function"]["arguments"] = answer_text(use.get("input") or {}).decode()
        calls.append(call)

    def _add_cited(self, cited: dict[str, Any]) -> None:
        for piece in _list(cited.get("content")):
            if isinstance(piece, dict) and isinstance(piece.get("text"), str):
                self._texts.append(piece["text"])
        end = sum(map(len, self._texts))
        found = (citation(one, end) for one in _list(cited.get("citations")))
        self._lists["annotations"] += [one for one in found if one is not None]


def call_of(use: dict[str, Any]) -> dict[str, Any]:
    """A ``toolUse``, or the start of one, as a tool call without arguments yet.

    Raises:
        UpstreamProtocolError: it has no name or id.
    """
    name, call_id = use.get("name"), use.get("toolUseId")
    if not isinstance(name, str) or not name or not isinstance(call_id, str):
        raise UpstreamProtocolError("The provider sent a tool call without a name or an id.")
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}


def _written(raw: dict[str, Any]) -> int:
    return count(raw, "cacheWriteInputTokens") or 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
