"""What Gemini says when something is wrong. Its shape is read with those of OpenAI's vendors. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from proxying.adapters import openai_errors
from proxying.errors import ErrorFacts

# Codes by which OpenAI's clients decide, where Gemini has a sentence only.
_TOO_LONG: Final = ("exceeds the maximum number of tokens", "input token count exceeds")


def read_error(status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
    """Read a non-2xx answer. Never raises.

    A bad key is a 400 with the reason ``API_KEY_INVALID``; how long to wait is in ``RetryInfo``, no header.
    """
    facts = openai_errors.read_error(status, headers, body, now)
    if facts.status == 404 and facts.code == "NOT_FOUND":
        return replace(facts, code="model_not_found", type="not_found_error")
    message = facts.message.lower()
    if facts.status == 400 and any(words in message for words in _TOO_LONG):
        return replace(facts, code="context_length_exceeded")
    return facts
