"""What the families of models on Bedrock want of thinking and sampling, by the names in their ids. Pure.

An id may be a model's, an inference profile's (``us.anthropic.…``) or an ARN that holds one of these. The
ARN of an application's own profile names no family: such a model gets nothing but what Converse itself has.
"""

from __future__ import annotations

import re
from typing import Any, Final

from proxying.adapters.anthropic_limits import EFFORTS, refused_sampling, thinking_for
from proxying.adapters.dialects import refuse

_CLAUDE: Final = re.compile(r"(?:^|[./])anthropic\.claude")
_NOVA: Final = re.compile(r"(?:^|[./])amazon\.nova")
_NOVA_THINKS: Final = re.compile(r"(?:^|[./])amazon\.nova-(?:[2-9]|\d\d)")
_GPT_OSS: Final = re.compile(r"(?:^|[./])openai\.gpt-oss")
_THREE_LEVELS: Final = {"minimal": "low", "low": "low", "medium": "medium"}
# Thinking may take half of this where the client sets no limit: every Claude that thinks can answer so long.
_ASSUMED_LIMIT: Final = 32_000
_SAMPLING: Final = ("temperature", "topP")
_OUR_NAMES: Final = {"temperature": "temperature", "topP": "top_p"}


def is_claude(model: str) -> bool:
    """Whether the model is one of Anthropic's."""
    return _CLAUDE.search(model) is not None


def takes_thinking(model: str) -> bool:
    """Whether signed thinking may be sent back: only Claude signs, and others refuse it.

    An id that names no family may be Claude's; what a client sends back then, that model has probably said.
    """
    return is_claude(model) or "." not in model.rpartition("/")[2]


def add_top_k(extra: dict[str, Any], top_k: Any, model: str) -> None:
    """``top_k`` where the family takes it."""
    if _NOVA.search(model):
        # https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html
        extra["inferenceConfig"] = {"topK": top_k}
    else:
        extra["top_k"] = top_k


def add_effort(
    effort: Any, model: str, config: dict[str, Any], extra: dict[str, Any], *, may_think: bool
) -> None:
    """``reasoning_effort`` as the family takes it; other families do not think.

    Args:
        effort: As the client sent it, not None.
        model: The exact id.
        config: ``inferenceConfig``; what rules thinking out is taken from it.
        extra: ``additionalModelRequestFields``.
        may_think: Whether the conversation and the choice of tools allow Claude to.

    Raises:
        InvalidRequestError: the effort is not one.
    """
    if not isinstance(effort, str) or effort not in EFFORTS:
        raise refuse("reasoning_effort", f"it must be one of {', '.join(sorted(EFFORTS))}.")
    if is_claude(model):
        limit = config.get("maxTokens")
        fields = thinking_for(effort, model, limit if isinstance(limit, int) else _ASSUMED_LIMIT)
        extra.update({name: fields[name] for name in fields if name != "thinking" or may_think})
    elif _NOVA_THINKS.search(model):
        extra["reasoningConfig"] = _nova_thinking(effort, config)
    elif _GPT_OSS.search(model) and effort != "none":
        extra["reasoning_effort"] = _THREE_LEVELS.get(effort, "high")


def settle_sampling(config: dict[str, Any], extra: dict[str, Any], model: str) -> None:
    """Take sampling out where the model or its thinking rules it out, whoever asked for it.

    https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html
    """
    thinking = extra.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") != "disabled":
        for name in _SAMPLING:
            config.pop(name, None)
        extra.pop("top_k", None)
    if is_claude(model):
        refused = refused_sampling(model, config)
        for name, ours in _OUR_NAMES.items():
            if ours in refused:
                config.pop(name, None)
        if "top_k" in refused:
            extra.pop("top_k", None)


def _nova_thinking(effort: str, config: dict[str, Any]) -> dict[str, Any]:
    """Nova's highest effort takes neither sampling nor a limit: a limit that was set is kept, at medium."""
    if effort == "none":
        return {"type": "disabled"}
    level = _THREE_LEVELS.get(effort, "high")
    if level == "high" and "maxTokens" in config:
        level = "medium"
    if level == "high":
        for name in _SAMPLING:
            config.pop(name, None)
    return {"type": "enabled", "maxReasoningEffort": level}
