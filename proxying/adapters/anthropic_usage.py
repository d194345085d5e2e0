"""Reads Anthropic's token counts, and writes them for clients of OpenAI's dialect."""

from __future__ import annotations

from typing import Any

from proxying.adapters.base import Usage, token_count


def read_usage(raw: dict[str, Any], usage: Usage) -> None:
    """Put the counts of ``raw`` into ``usage``; their prompt leaves cached tokens out, ours holds them.

    ``raw`` holds all that is known of the answer: of a stream the counts of all events, laid over each other.
    """
    prompt = count(raw, "input_tokens")
    cached = count(raw, "cache_read_input_tokens")
    completion = count(raw, "output_tokens")
    thinking = count(_details(raw), "thinking_tokens")
    if prompt is not None:
        usage.prompt_tokens = prompt + (cached or 0) + (count(raw, "cache_creation_input_tokens") or 0)
    if completion is not None:
        usage.completion_tokens = completion
    if cached is not None:
        usage.cached_tokens = cached
    if thinking is not None:
        usage.reasoning_tokens = thinking


def merge_usage(known: dict[str, Any], revision: object) -> None:
    """Lay a later usage object over what is known: the last value that is not null wins."""
    if isinstance(revision, dict):
        known.update((name, value) for name, value in revision.items() if value is not None)


def chat_usage(raw: dict[str, Any]) -> dict[str, Any]:
    """The counts as OpenAI's clients read them."""
    usage = Usage()
    read_usage(raw, usage)
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    written: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": count(raw, "cache_creation_input_tokens") or 0,
        },
    }
    if usage.reasoning_tokens is not None:
        written["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return written


def count(raw: dict[str, Any], name: str) -> int | None:
    """A token count; None when it is absent or no count."""
    return token_count(raw.get(name))


def _details(raw: dict[str, Any]) -> dict[str, Any]:
    details = raw.get("output_tokens_details")
    return details if isinstance(details, dict) else {}
