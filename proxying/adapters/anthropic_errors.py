"""What Anthropic says when something is wrong, as facts: status, code, time to wait.

https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from proxying.adapters import openai_errors
from proxying.errors import ErrorFacts, canonical_type

_STATUS_OF_TYPE: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "overloaded_error": 503,
    "timeout_error": 504,
}
# The code that OpenAI's clients know for it.
_CODE_OF_TYPE: Final = {
    "billing_error": "insufficient_quota",
    "overloaded_error": "overloaded",
    "rate_limit_error": "rate_limit_exceeded",
    "request_too_large": "request_too_large",
    "timeout_error": "timeout",
}
_CONTEXT_SENTENCES: Final = ("prompt is too long", "input length and `max_tokens` exceed context limit")
_BUCKETS: Final = ("requests", "input-tokens", "output-tokens", "tokens")


def read_error(status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
    """Read a non-2xx answer. Never raises."""
    facts = openai_errors.read_error(status, headers, body, now)
    if facts.retry_after_s is None and facts.status == 429:
        facts = replace(facts, retry_after_s=_until_reset(headers, now))
    return _refined(facts)


def read_error_in_answer(error: dict[str, Any]) -> ErrorFacts:
    """Read an error that came inside a 200, whole or streamed; its type is its status."""
    facts = openai_errors.read_error_in_answer(error)
    kind = error.get("type")
    status = _STATUS_OF_TYPE.get(kind) if isinstance(kind, str) else None
    if status is not None:
        facts = replace(facts, status=status, refused_credential=facts.refused_credential or status == 401)
    return _refined(facts)


def _refined(facts: ErrorFacts) -> ErrorFacts:
    """Type and code as OpenAI's clients know them; ``body`` keeps Anthropic's own words for its clients."""
    own_type = str((facts.body or {}).get("type") or "")
    code = facts.code or _detail_code(facts) or _CODE_OF_TYPE.get(own_type)
    if code is None and own_type == "not_found_error" and facts.message.startswith("model"):
        code = "model_not_found"
    if code is None and facts.message.startswith(_CONTEXT_SENTENCES):
        code = "context_length_exceeded"
    return replace(facts, type=canonical_type(facts.status), code=code)


def _detail_code(facts: ErrorFacts) -> str | None:
    details = (facts.body or {}).get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    return code if isinstance(code, str) and code else None


def _until_reset(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the last of the used-up limits is filled again; None when no header says one is."""
    waits = []
    for bucket in _BUCKETS:
        name = f"anthropic-ratelimit-{bucket}"
        if headers.get(f"{name}-remaining", "").strip() == "0":
            waits.append(_seconds_until(headers.get(f"{name}-reset", ""), now))
    known = [wait for wait in waits if wait is not None]
    return max(known) if known else None


def _seconds_until(text: str, now: float) -> float | None:
    try:
        instant = datetime.fromisoformat(text[:40])
    except ValueError:
        return None
    return max(0.0, (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() - now)
