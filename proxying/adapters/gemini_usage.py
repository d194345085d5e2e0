"""Reads Gemini's token counts, and writes them for clients of OpenAI's dialect."""

from __future__ import annotations

from typing import Any

from proxying.adapters.base import Usage, token_count


def read_usage(raw: dict[str, Any], usage: Usage) -> None:
    """Put the counts of a ``usageMetadata`` into ``usage``; a count that is missing leaves what was known.

    They are cumulative. What Gemini's own tools fed in counts as prompt, what was thought as completion.
    """
    prompt = _count(raw, "promptTokenCount")
    spoken = _count(raw, "candidatesTokenCount")
    thoughts = _count(raw, "thoughtsTokenCount")
    cached = _count(raw, "cachedContentTokenCount")
    if prompt is not None:
        usage.prompt_tokens = prompt + (_count(raw, "toolUsePromptTokenCount") or 0)
    if spoken is not None or thoughts is not None:
        usage.completion_tokens = (spoken or 0) + (thoughts or 0)
    if cached is not None:
        usage.cached_tokens = cached
    if thoughts is not None:
        usage.reasoning_tokens = thoughts


def settle(usage: Usage) -> None:
    """The answer is complete: a count that never came is none, as Gemini leaves zeros out."""
    if usage.prompt_tokens is not None and usage.completion_tokens is None:
        usage.completion_tokens = 0


def chat_usage(usage: Usage) -> dict[str, Any]:
    """The counts as OpenAI's clients read them."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }


def _count(raw: dict[str, Any], name: str) -> int | None:
    return token_count(raw.get(name))
