"""What providers of the OpenAI format say when something is wrong, in all the shapes that were seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from proxying import retry_after
from proxying.errors import ErrorFacts, canonical_type, normalised_status
from proxying.sse import BOM

# A bad key or an unpaid account, by code, type or reason; compared in lower case.
_CREDENTIAL_CODES: Final = frozenset(
    {
        "invalid_api_key",
        "incorrect_api_key",
        "authentication_error",
        "invalid_authentication",
        "account_deactivated",
        "billing_not_active",
        "billing_hard_limit_reached",
        "billing_error",
        "insufficient_quota",
        "insufficient_balance",
        "exceeded_current_quota_error",  # Moonshot, with "Your account is suspended"
        "api_key_invalid",
        "api_key_expired",
        "api_key_service_blocked",
        "billing_disabled",
        "consumer_suspended",
        "unauthenticated",
    }
)
# Three providers have no code for it, only these sentences: xAI (400), DeepSeek (402) and Anthropic (400).
_CREDENTIAL_SENTENCES: Final = (
    "incorrect api key provided",
    "insufficient balance",
    "your credit balance is too low",
)
# Vendors without a code for it: DeepSeek, vLLM, Mistral, Fireworks, OpenRouter; Ollama; xAI; llama.cpp; TGI
# and Together. OpenAI's clients decide by the code whether to send less.
_TOO_LONG: Final = (
    "maximum context length",
    "max context length",
    "context window of this model",
    "prompt is too long",
    "prompt too long",
    "maximum prompt length",
    "available context size",
    "`inputs` tokens + `max_new_tokens`",
)
_VAGUE_CODES: Final = frozenset({"invalid_request_error", "bad_request", "badrequesterror"})
# An error inside a 200 has no status line: the kin of its type or code, first match.
_STATUS_OF: Final = (
    ("rate_limit", 429),
    ("too_many_requests", 429),
    ("resource_exhausted", 429),
    ("insufficient_quota", 429),
    ("overloaded", 503),
    ("unavailable", 503),
    ("capacity", 503),
    ("timeout", 504),
    ("invalid_api_key", 401),
    ("authentication", 401),
    ("permission", 403),
    ("model_not_found", 404),
    ("not_found", 404),
    ("invalid_request", 400),
    ("invalid_argument", 400),
    ("context_length", 400),
    ("server_error", 500),
    ("internal", 500),
    ("invalid_prompt", 400),
    ("policy", 400),
    ("image", 400),  # too large, not to be read, and eight more of Responses'
)
_LONGEST_MESSAGE: Final = 4000
_LONGEST_PLAIN_TEXT: Final = 500
# A list of problems in an object in a list is as deep as words were ever seen.
_DEEPEST_WORDS: Final = 8


def read_error(status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
    """Read a non-2xx answer. Never raises."""
    try:
        payload = orjson.loads(body.removeprefix(BOM))
    except orjson.JSONDecodeError:
        return _unreadable(status, headers, body, now)
    error = error_object(payload)
    if error is None:
        return _unreadable(status, headers, b"", now)
    return _facts(status, status, _writable(error), retry_after.from_headers(headers, now))


def read_error_in_answer(error: dict[str, Any]) -> ErrorFacts:
    """Read an error that came inside a 200, whole or streamed; its status is what it says of itself."""
    error = _writable(error)
    return _facts(_status_inside(error), 200, error, None)


def error_object(payload: object) -> dict[str, Any] | None:
    """Find the error in a payload, as one object with at least ``message``; None when there is none.

    Shapes: ``{"error": {…}}``, xAI's ``{"code", "error": "text"}``, Gemini's ``[{"error": {…}}]``, Mistral's
    ``{"detail": …}`` and flat ``{"object": "error", "message", …}`` as of vLLM.
    """
    if isinstance(payload, list):
        payload = payload[0] if payload else None
    if not isinstance(payload, dict):
        return None
    error = payload.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error:
        return {"message": error, "code": payload.get("code"), "type": payload.get("type")}
    message = payload.get("message") or payload.get("detail")
    return {**payload, "message": _text_of(message)} if message else None


def _writable(error: dict[str, Any]) -> dict[str, Any]:
    """The error, for it is scrubbed and written again: of one nested too deeply for that its plain values."""
    try:
        orjson.dumps(error)
    except orjson.JSONEncodeError:
        return {name: value for name, value in error.items() if isinstance(value, str | int | float)}
    return error


def _facts(status: int, raw_status: int, error: dict[str, Any], after_s: float | None) -> ErrorFacts:
    normal = normalised_status(status)
    message = _message_of(error) or f"The provider answered with status {raw_status} and no message."
    kind = error.get("type")
    code = _code_of(error)
    if normal in {400, 413, 422} and _is_vague(code, kind) and _says_too_long(message):
        code = "context_length_exceeded"
    return ErrorFacts(
        status=normal,
        raw_status=raw_status,
        type=kind if isinstance(kind, str) and kind else canonical_type(normal),
        code=code,
        message=message[:_LONGEST_MESSAGE],
        param=_text_or_none(error.get("param")),
        retry_after_s=retry_after.from_body(error, message) if after_s is None else after_s,
        refused_credential=_is_credential_refused(normal, code, kind, message),
        body=error,
    )


def _is_vague(code: str | None, kind: object) -> bool:
    return code is None or code == kind or code.isdigit() or code.lower() in _VAGUE_CODES


def _says_too_long(message: str) -> bool:
    said = message.lower()
    return any(words in said for words in _TOO_LONG)


def _unreadable(status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
    """Facts of an answer that is empty, a page or plain text. Pages are not shown to clients."""
    normal = normalised_status(status)
    message = f"The provider answered with status {status} and no readable error."
    text = body[:_LONGEST_PLAIN_TEXT].decode(errors="replace").strip()
    if text and headers.get("content-type", "").startswith("text/plain") and "<" not in text:
        message = text
    return ErrorFacts(
        status=normal,
        raw_status=status,
        type=canonical_type(normal),
        code=None,
        message=message,
        retry_after_s=retry_after.from_headers(headers, now),
        refused_credential=normal == 401,
    )


def _is_credential_refused(status: int, code: str | None, kind: object, message: str) -> bool:
    if status == 401:
        return True
    if not 400 <= status < 500:
        return False
    words = {str(word).lower() for word in (code, kind) if word}
    return bool(words & _CREDENTIAL_CODES) or (
        status in {400, 402} and message.lower().startswith(_CREDENTIAL_SENTENCES)
    )


def _status_inside(error: dict[str, Any]) -> int:
    for name in ("status_code", "status", "code", "http_code"):
        value = error.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    words = " ".join(str(error.get(name) or "").lower() for name in ("type", "code", "status"))
    return next((status for word, status in _STATUS_OF if word in words), 502)


def _message_of(error: dict[str, Any]) -> str:
    message = _text_of(error.get("message") or error.get("detail"))
    metadata = error.get("metadata")
    # OpenRouter says "Provider returned error" and keeps the cause here.
    cause = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(cause, str) and cause:
        return f"{message}: {cause[:_LONGEST_PLAIN_TEXT]}"
    return message


def _text_of(value: object, depth: int = 0) -> str:
    """The words of a message: itself, or the ``msg`` or ``message`` of each problem in FastAPI's list."""
    if isinstance(value, str):
        return value
    if depth == _DEEPEST_WORDS:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_text_of(item, depth + 1) for item in value[:5])))
    if isinstance(value, dict):
        return _text_of(value.get("msg") or value.get("message") or value.get("detail"), depth + 1)
    return ""


def _code_of(error: dict[str, Any]) -> str | None:
    """The most exact code: Gemini's ``details[].reason``, words, Gemini's ``status``, numbers, in turn."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("reason"), str):
            return str(detail["reason"])
    named = [error.get("code"), error.get("status")]
    words = [word for word in named if isinstance(word, str) and word]
    return words[0] if words else _text_or_none(named[0])


def _text_or_none(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None
