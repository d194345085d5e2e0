"""Reads token counts from the usage objects of the OpenAI format and its vendors' variants."""

from __future__ import annotations

from typing import Any

from proxying.adapters.base import Usage, token_count


def read_usage(raw: dict[str, Any], usage: Usage) -> None:
    """Put the counts of ``raw`` into ``usage``; a count that is missing leaves what was known."""
    prompt = _count(raw, "prompt_tokens", "input_tokens")
    completion = _count(raw, "completion_tokens", "output_tokens")
    if completion is None and prompt is not None:
        total = _count(raw, "total_tokens")
        if total is not None and total >= prompt:
            completion = total - prompt  # Gemini leaves the count out when nothing was said
    cached = _count(_details(raw, "prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    if cached is None:
        # DeepSeek, Moonshot, Mistral.
        cached = _count(raw, "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")
    reasoning = _count(
        _details(raw, "completion_tokens_details", "output_tokens_details"), "reasoning_tokens"
    )
    if prompt is not None:
        usage.prompt_tokens = prompt
    if completion is not None:
        usage.completion_tokens = completion
    if cached is not None:
        usage.cached_tokens = cached
    if reasoning is not None:
        usage.reasoning_tokens = reasoning


def read_rerank_usage(data: dict[str, Any], usage: Usage) -> None:
    """Read what a rerank answer counts: the total alone is the prompt's, and Cohere counts in ``meta``."""
    if usage.prompt_tokens is None and isinstance(data.get("usage"), dict):
        usage.prompt_tokens = _count(data["usage"], "total_tokens")
    meta = data.get("meta")
    for name in ("tokens", "billed_units"):
        if usage.prompt_tokens is None and isinstance(meta, dict) and isinstance(meta.get(name), dict):
            usage.prompt_tokens = _count(meta[name], "input_tokens")


def _count(raw: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = raw.get(name)
        if value is not None and (count := token_count(value)) is not None:
            return count
    return None


def _details(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        value = raw.get(name)
        if isinstance(value, dict):
            return value
    return {}
