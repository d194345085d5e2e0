"""A Responses request as a chat completion request.

Fields that chat completions know by the same name go on. What asks for state that the gateway does not keep
is refused; what is left out stands in ``docs/dialects.md``.
"""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters.base import Target
from proxying.adapters.dialects import refuse
from proxying.adapters.responses_input import ChatTurns
from proxying.adapters.responses_tools import tool_fields
from routing.kinds import Kind
from routing.upstreams import kind_of

_SAME: Final = (
    *("temperature", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty", "logit_bias"),
)
# What OpenAI's own chat completions take, and other vendors may refuse.
_OPENAI_ONLY: Final = (
    *("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "user"),
)
_STATE: Final = {
    "previous_response_id": "The gateway keeps no answers: send the whole conversation as input.",
    "conversation": "The gateway keeps no conversations: send the whole conversation as input.",
    "prompt": "Prompts stored at OpenAI cannot be sent to this provider.",
}
_EFFORTS: Final = {"minimal": "low", "xhigh": "high", "max": "high"}
_LOGPROBS: Final = "message.output_text.logprobs"


def refuse_background(data: dict[str, Any]) -> None:
    """Refuse what would have to be asked for later.

    Raises:
        InvalidRequestError: the answer should be made in the background.
    """
    if data.get("background"):
        raise refuse("background", "The gateway keeps no answers that could be asked for later.")


def chat_request(data: dict[str, Any], target: Target) -> dict[str, Any]:
    """Rewrite the fields of a Responses request.

    Raises:
        InvalidRequestError: a field says what chat completions cannot.
    """
    refuse_background(data)
    for name, reason in _STATE.items():
        if data.get(name) is not None:
            raise refuse(name, reason)
    kind = kind_of(target.provider)
    is_openai = "openai_parameters" in kind.quirks
    written: dict[str, Any] = {"model": target.model, "messages": _messages(data, kind)}
    limit = data.get("max_output_tokens")
    if limit is not None:
        written["max_completion_tokens" if is_openai else "max_tokens"] = limit
    written.update((name, data[name]) for name in _SAME if data.get(name) is not None)
    if is_openai or kind.wire != "openai":
        written.update((name, data[name]) for name in _OPENAI_ONLY if data.get(name) is not None)
    if "top_k" in kind.quirks and data.get("top_k") is not None:
        written["top_k"] = data["top_k"]
    drop_hosted = target.provider.options.get("hosted_tools") == "drop"
    written.update(tool_fields(data, drop_hosted=drop_hosted))
    _add_text(written, data.get("text"), with_verbosity=is_openai)
    _add_effort(written, data.get("reasoning"), kind)
    _add_logprobs(written, data)
    if data.get("stream") is True:
        written["stream"] = True
    return written


def wants_logprobs(data: dict[str, Any]) -> bool:
    """Whether the client asked for the probabilities of tokens, in either of the two ways."""
    include = data.get("include")
    return bool(data.get("top_logprobs")) or (isinstance(include, list) and _LOGPROBS in include)


def _messages(data: dict[str, Any], kind: Kind) -> list[dict[str, Any]]:
    turns = ChatTurns(
        "developer" if "openai_parameters" in kind.quirks else "system",
        with_details=kind.wire != "openai",
        with_signatures=kind.wire != "openai" or "signed_calls" in kind.quirks,
        with_reasoning="reasoning_back" in kind.quirks,
    )
    instructions, given = data.get("instructions"), data.get("input")
    if instructions is not None and not isinstance(instructions, str):
        raise refuse("instructions", "A text is expected.")
    if instructions:
        turns.instruct(instructions)
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise refuse("input", "A text or a list of items is expected.")
    for number, item in enumerate(given):
        turns.add(item, f"input[{number}]")
    turns.close()
    return turns.messages


def _add_text(written: dict[str, Any], text: Any, *, with_verbosity: bool) -> None:
    if text is None:
        return
    if not isinstance(text, dict):
        raise refuse("text", "An object is expected.")
    if with_verbosity and text.get("verbosity") is not None:
        written["verbosity"] = text["verbosity"]
    given = text.get("format")
    form = given if isinstance(given, dict) else {"type": given}
    kind = form.get("type")
    if kind in (None, "text"):
        return
    if kind == "json_object":
        written["response_format"] = {"type": "json_object"}
    elif kind == "json_schema":
        kept = ("name", "description", "schema", "strict")
        schema = {name: form[name] for name in kept if form.get(name) is not None}
        written["response_format"] = {"type": "json_schema", "json_schema": {"name": "output", **schema}}
    else:
        raise refuse("text.format.type", f"The format {kind!r} cannot be sent to this provider.")


def _add_effort(written: dict[str, Any], reasoning: Any, kind: Kind) -> None:
    """Vendors that took the field over know three levels; OpenAI's models and other wires know theirs."""
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    if not isinstance(effort, str) or "no_effort" in kind.quirks:
        return
    if kind.wire == "openai" and "openai_parameters" not in kind.quirks:
        if effort == "none":
            return
        effort = _EFFORTS.get(effort, effort)
    written["reasoning_effort"] = effort


def _add_logprobs(written: dict[str, Any], data: dict[str, Any]) -> None:
    if wants_logprobs(data):
        written["logprobs"] = True
        if data.get("top_logprobs"):
            written["top_logprobs"] = data["top_logprobs"]
