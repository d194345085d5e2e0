"""What is known of Anthropic's models by name: length of answers, thinking, sampling.

https://platform.claude.com/docs/en/about-claude/models/overview
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, Final

from routing.types import Provider

# "claude-opus-4-6", "claude-haiku-4-5-20251001", "claude-3-7-sonnet-latest"; dates are not versions.
_VERSION: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_UNKNOWN: Final = (0, 0)
# Every Claude since 3.7 can answer at least this long.
_CURRENT_MAX_TOKENS: Final = 32_000
_SAFE_MAX_TOKENS: Final = 4096
_BUDGETS: Final = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}
_LEAST_BUDGET: Final = 1024
EFFORTS: Final = frozenset({"none", *_BUDGETS})
SAMPLING: Final = ("temperature", "top_p", "top_k")


def default_max_tokens(provider: Provider, model: str) -> int:
    """The limit for a client that names none: the provider's option, else what the model surely can."""
    stated = provider.options.get("max_tokens", "")
    if stated.isascii() and stated.isdigit() and int(stated) > 0:
        return int(stated)
    version = _version(model)
    if version >= (3, 7):
        return _CURRENT_MAX_TOKENS
    return 8192 if version >= (3, 5) else _SAFE_MAX_TOKENS


def thinking_for(effort: str, model: str, max_tokens: int) -> dict[str, Any]:
    """The fields that make a model think with an OpenAI client's ``reasoning_effort``; none for ``none``.

    Models since 4.6 decide themselves how long they think, at an effort; older ones need a budget, which is
    part of ``max_tokens`` and at least 1,024.
    """
    if effort == "none":
        return {}
    if _version(model) >= (4, 6):
        level = "low" if effort == "minimal" else effort
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": level}}
    budget = min(_BUDGETS[effort], max(_LEAST_BUDGET, max_tokens // 2))
    if budget >= max_tokens:
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def refused_sampling(model: str, given: Container[str]) -> tuple[str, ...]:
    """What of ``SAMPLING`` the model does not take beside what else is ``given``.

    None of it since 4.7; since 4.1 not temperature and top_p at once, of which temperature is kept.
    https://platform.claude.com/docs/en/about-claude/models/migration-guide
    """
    version = _version(model)
    if version >= (4, 7):
        return SAMPLING
    if version >= (4, 1) and "temperature" in given:
        return ("top_p",)
    return ()


def _version(model: str) -> tuple[int, int]:
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else _UNKNOWN
