"""A Messages request as a chat completion request.

Fields that chat completions know by the same name go on; Anthropic's own that mean nothing there are left
out (``docs/dialects.md``). What cannot be left out is refused.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from proxying.adapters.base import Target
from proxying.adapters.dialects import refuse
from proxying.adapters.messages_content import chat_messages, system_message
from routing.upstreams import kind_of

# Names that both formats, or chat completions alone, give a meaning to.
_SAME: Final = (
    *("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "logit_bias"),
    *("response_format", "verbosity", "prompt_cache_key", "store"),
)
# Values without which the answer would be another: tools that Anthropic runs, its containers.
_REFUSED: Final = ("mcp_servers", "container")
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_BEYOND_HIGH: Final = ("xhigh", "max")
_REASONING_MODEL: Final = re.compile(r"(?:^|/)(?:o\d|gpt-(?:[5-9]|\d\d)|codex)")
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_LONGEST_LOW_BUDGET: Final = 4000
_LONGEST_MEDIUM_BUDGET: Final = 16_000


def chat_request(data: dict[str, Any], target: Target) -> dict[str, Any]:
    """Rewrite the fields of a Messages request.

    Raises:
        InvalidRequestError: a field says what chat completions cannot.
    """
    for name in _REFUSED:
        if data.get(name):
            raise refuse(name, "This can be sent to an Anthropic provider only.")
    quirks = kind_of(target.provider).quirks
    is_openai = "openai_parameters" in quirks
    written: dict[str, Any] = {"model": target.model}
    written["messages"] = _messages(data, quirks)
    written["max_completion_tokens" if is_openai else "max_tokens"] = _max_tokens(data)
    written.update((name, data[name]) for name in _SAME if data.get(name) is not None)
    if "top_k" in quirks and data.get("top_k") is not None:
        written["top_k"] = data["top_k"]
    if data.get("stop_sequences"):
        written["stop"] = data["stop_sequences"]
    _add_tools(written, data, with_marks="claude_marks" in quirks)
    _add_format(written, data)
    reasons = bool(_REASONING_MODEL.search(target.model))
    effort = _effort(data)
    if effort in _BEYOND_HIGH:
        effort = "xhigh" if is_openai else "high"
    if effort is not None and "no_effort" not in quirks and (reasons or not is_openai):
        written["reasoning_effort"] = effort
    if is_openai and reasons:
        # https://platform.openai.com/docs/guides/reasoning: sampling parameters are refused.
        written.pop("temperature", None)
        written.pop("top_p", None)
    if is_openai:
        _add_account(written, data)
    if data.get("stream") is True:
        written["stream"] = True
    return written


def _messages(data: dict[str, Any], quirks: frozenset[str]) -> list[dict[str, Any]]:
    given = data.get("messages")
    if not isinstance(given, list) or not given:
        raise refuse("messages", "A list of messages is expected.")
    with_reasoning, with_marks = "reasoning_back" in quirks, "claude_marks" in quirks
    messages = system_message(data.get("system"), with_marks=with_marks)
    for number, message in enumerate(given):
        place = f"messages[{number}]"
        messages += chat_messages(message, place, with_reasoning=with_reasoning, with_marks=with_marks)
    return messages


def _max_tokens(data: dict[str, Any]) -> int:
    value = data.get("max_tokens")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise refuse("max_tokens", "A number of at least 1 is required.")
    return value


def _add_tools(written: dict[str, Any], data: dict[str, Any], *, with_marks: bool) -> None:
    tools = data.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise refuse("tools", "A list is expected.")
    if not tools:
        return
    written["tools"] = [_tool(tool, f"tools[{n}]") for n, tool in enumerate(tools)]
    for tool, given in zip(written["tools"], tools, strict=True):
        if with_marks and isinstance(given.get("cache_control"), dict):
            tool["cache_control"] = given["cache_control"]
    choice = data.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "tool" and isinstance(choice.get("name"), str):
        written["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    elif isinstance(kind, str) and kind in _CHOICES:
        written["tool_choice"] = _CHOICES[kind]
    else:
        raise refuse("tool_choice", f"The choice {kind!r} is not known.")
    if choice.get("disable_parallel_tool_use") is True:
        written["parallel_tool_calls"] = False


def _tool(tool: Any, where: str) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if not isinstance(tool, dict) or kind not in (None, "custom"):
        raise refuse(
            f"{where}.type", f"The tool {kind!r} is run by Anthropic; this provider does not have it."
        )
    if not isinstance(tool.get("name"), str):
        raise refuse(f"{where}.name", "A name is expected.")
    function: dict[str, Any] = {"name": tool["name"]}
    if tool.get("description"):
        function["description"] = tool["description"]
    if isinstance(tool.get("input_schema"), dict):
        function["parameters"] = tool["input_schema"]
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def _add_format(written: dict[str, Any], data: dict[str, Any]) -> None:
    config = data.get("output_config")
    form = config.get("format") if isinstance(config, dict) else None
    form = form or data.get("output_format")
    if form is None:
        return
    if not isinstance(form, dict) or form.get("type") != "json_schema":
        raise refuse(
            "output_config.format", "Only a format of type 'json_schema' can be sent to this provider."
        )
    schema = {"name": "output", "schema": form.get("schema"), "strict": True}
    written["response_format"] = {"type": "json_schema", "json_schema": schema}


def _effort(data: dict[str, Any]) -> str | None:
    """How hard the client wants the model to think; None when it does not say."""
    config = data.get("output_config")
    stated = config.get("effort") if isinstance(config, dict) else None
    thinking = data.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if stated in _EFFORTS and kind != "disabled":
        return str(stated)
    if not isinstance(thinking, dict) or kind not in ("enabled", "adaptive"):
        return None
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int):
        return "medium" if kind == "enabled" else None
    if budget < _LONGEST_LOW_BUDGET:
        return "low"
    return "medium" if budget < _LONGEST_MEDIUM_BUDGET else "high"


def _add_account(written: dict[str, Any], data: dict[str, Any]) -> None:
    metadata = data.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    if isinstance(user_id, str) and user_id:
        # At most 64 characters are taken, and some clients' ids are longer: the digest has just as many.
        written["safety_identifier"] = hashlib.sha256(user_id.encode()).hexdigest()
