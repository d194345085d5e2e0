"""What each generation of Gemini wants of thinking: levels or budgets, and signatures on tool calls. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from proxying.adapters.dialects import refuse

_VERSION: Final = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?(?![\d.])")
_NEWEST: Final = (3, 0)
# https://ai.google.dev/gemini-api/docs/openai#thinking maps efforts to levels and budgets like this; it has
# nothing above "high", which therefore stands for the efforts above it too.
_LEVELS: Final = {
    "none": "minimal",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_BUDGETS: Final = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 24576,
    "max": 24576,
}
_SMALLEST_PRO_BUDGET: Final = 128
# Stands in for a signature that Gemini never made: tool calls of another provider's, in one conversation.
# https://ai.google.dev/gemini-api/docs/thought-signatures (FAQs)
STAND_IN: Final = "skip_thought_signature_validator"


def thinking_config(effort: object, model: str) -> dict[str, Any] | None:
    """``reasoning_effort`` as ``thinkingConfig``; None for a model that does not think.

    Raises:
        InvalidRequestError: the effort is not one.
    """
    if not isinstance(effort, str) or effort not in _LEVELS:
        raise refuse("reasoning_effort", f"it must be one of {', '.join(_LEVELS)}.")
    version, is_pro = _generation(model)
    if version < (2, 5):
        return None
    told = {"includeThoughts": True} if effort != "none" else {}
    if version >= _NEWEST:
        level = _LEVELS[effort]
        return {"thinkingLevel": "low" if is_pro and level == "minimal" else level, **told}
    budget = _BUDGETS[effort]
    return {"thinkingBudget": max(budget, _SMALLEST_PRO_BUDGET) if is_pro else budget, **told}


def demands_signatures(model: str) -> bool:
    """Whether the model refuses tool calls in the history that carry no signature."""
    return _generation(model)[0] >= _NEWEST


@lru_cache(maxsize=512)
def _generation(model: str) -> tuple[tuple[int, int], bool]:
    """The version of a model, and whether it is a Pro; names without one mean the newest."""
    found = _VERSION.search(model)
    version = (int(found[1]), int(found[2] or 0)) if found else _NEWEST
    return version, "-pro" in model
