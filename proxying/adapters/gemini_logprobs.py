"""Gemini's log probabilities, as chat completions have them. Pure."""

from __future__ import annotations

from typing import Any


def chat_logprobs(result: object) -> dict[str, Any] | None:
    """``logprobs`` of a choice, from a candidate's ``logprobsResult``; None when there is nothing to read."""
    if not isinstance(result, dict):
        return None
    chosen = result.get("chosenCandidates") or []
    ranked = result.get("topCandidates") or []
    if not isinstance(chosen, list) or not isinstance(ranked, list):
        return None
    content = []
    for position, token in enumerate(chosen):
        at = ranked[position] if position < len(ranked) else None
        others = at.get("candidates") if isinstance(at, dict) else None
        content.append(
            {
                **_token(token),
                "top_logprobs": [_token(one) for one in (others if isinstance(others, list) else ())],
            }
        )
    return {"content": content, "refusal": None}


def _token(held: object) -> dict[str, Any]:
    found = held if isinstance(held, dict) else {}
    text = found.get("token")
    text = text if isinstance(text, str) else ""
    value = found.get("logProbability")
    # A probability of 1 is left out of Gemini's JSON as any zero is.
    logprob = value if isinstance(value, int | float) else 0.0
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
