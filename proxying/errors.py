"""Everything that can go wrong with a request, as one tree; and how it is written for each dialect.

::

    GatewayError
    ├── RequestError                 the client's doing; never retried
    │   ├── InvalidJSONError, InvalidRequestError, RequestTooLargeError, RequestTimeoutError,
    │   ├── AuthenticationError, PermissionDeniedError, NotFoundError, MethodNotAllowedError
    ├── NoCandidateError             routing refused: carries the ``Refusal``
    ├── NotReadyError                this worker has loaded no configuration yet
    ├── UploadMemoryError            other uploads hold the room that this one needs
    ├── ProviderBusyError            every candidate's provider is at its in-flight limit
    ├── UpstreamError                one attempt failed
    │   ├── UpstreamStatusError      the provider answered with an error of its own
    │   ├── UpstreamTimeoutError
    │   ├── UpstreamConnectError
    │   └── UpstreamProtocolError    what it sent cannot be used (empty, cut, malformed, 3xx)
    └── ClientGoneError              nobody is left to answer

Errors state facts; ``routing.policies.should_fail_over`` draws the conclusion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from routing.types import Refusal
from routing.upstreams import scrub

# The 4xx that the official SDKs try again by themselves.
TRANSIENT_STATUSES: Final = frozenset({408, 409, 425, 429})


class GatewayError(Exception):
    """An error with an HTTP status, type and code. ``message`` is for the client and holds no secret."""

    status: int = 500
    type: str = "api_error"
    code: str | None = "internal_error"
    param: str | None = None
    retry_after_s: float | None = None
    permanent: bool = True

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if param is not None:
            self.param = param
        if code is not None:
            self.code = code


class RequestError(GatewayError):
    """The client's doing."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class InvalidRequestError(RequestError):
    """A field is missing or of the wrong shape; ``param`` names it."""


class InvalidJSONError(RequestError):
    """The body is not a JSON object."""

    code = "invalid_json"


class RequestTooLargeError(RequestError):
    """The body is over the limit."""

    status = 413
    code = "request_too_large"


class RequestTimeoutError(RequestError):
    """The client did not send the rest of its body before the deadline."""

    status = 408
    code = "request_timeout"


class AuthenticationError(RequestError):
    """No, unknown, expired or disabled key."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class PermissionDeniedError(RequestError):
    """The key may not do this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFoundError(RequestError):
    """There is no such URL."""

    status = 404
    type = "not_found_error"
    code = "unknown_url"


class MethodNotAllowedError(RequestError):
    """The URL exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class NoCandidateError(GatewayError):
    """Routing refused the request."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message, param=refusal.param, code=refusal.code)
        self.status = refusal.status
        self.type = refusal.type
        self.retry_after_s = refusal.retry_after_s
        self.permanent = refusal.status < 500 and refusal.status not in TRANSIENT_STATUSES


class ProviderBusyError(GatewayError):
    """Every candidate's provider is at its in-flight limit."""

    status = 429
    type = "rate_limit_error"
    code = "provider_busy"
    permanent = False
    retry_after_s = 1.0


class UploadMemoryError(GatewayError):
    """Other uploads hold the room that this one needs."""

    status = 503
    type = "overloaded_error"
    code = "too_many_uploads"
    permanent = False
    retry_after_s = 1.0


class NotReadyError(GatewayError):
    """This worker has no configuration yet: nobody's key is known to it, and nobody's is wrong."""

    status = 503
    type = "overloaded_error"
    code = "not_ready"
    permanent = False
    retry_after_s = 1.0


class ClientGoneError(GatewayError):
    """The client has left; nothing is sent, the record says so."""

    status = 499
    code = "client_gone"


@dataclass(slots=True)
class ErrorFacts:
    """What an adapter read from a provider's error.

    Attributes:
        status: Normalised (529 → 503, 520 to 524 → 502); what policies see.
        raw_status: As sent; 200 for an error inside a stream.
        type: The provider's own error type, or the canonical one for the status.
        code: The provider's own error code, as text.
        message: Scrubbed of keys and base URLs.
        param: The field the provider names.
        retry_after_s: From Retry-After, retry-after-ms or the body.
        refused_credential: A bad key or an unpaid account, by code: the provider's fault, not the client's.
        body: The error object as sent, for same-dialect clients.
    """

    status: int
    raw_status: int
    type: str
    code: str | None
    message: str
    param: str | None = None
    retry_after_s: float | None = None
    refused_credential: bool = False
    body: dict[str, Any] | None = None


class UpstreamError(GatewayError):
    """One attempt failed.

    ``partial`` is what of a stream's last piece came before the fault.
    It is for a client whose stream has begun.
    """

    status = 502
    type = "upstream_error"
    code: str | None = "upstream_error"
    permanent = False
    partial: bytes = b""


class UpstreamStatusError(UpstreamError):
    """The provider answered with an error of its own."""

    def __init__(self, facts: ErrorFacts) -> None:
        super().__init__(facts.message, param=facts.param)
        self.facts = facts
        self.status = facts.status
        self.type = facts.type
        self.code = facts.code
        self.retry_after_s = facts.retry_after_s
        self.permanent = facts.status < 500 and facts.status not in TRANSIENT_STATUSES


class UpstreamTimeoutError(UpstreamError):
    """A named timeout of the provider, or the deadline of the request, ran out."""

    status = 504
    code = "upstream_timeout"


class UpstreamConnectError(UpstreamError):
    """No connection: refused, unknown host, TLS, reset before an answer."""

    code = "upstream_unreachable"


class UpstreamProtocolError(UpstreamError):
    """What the provider sent cannot be used: empty, cut, malformed, a redirect."""

    code = "upstream_protocol_error"


class UpstreamAuthError(UpstreamError):
    """The provider refused the gateway's own credential: never a 401 to the client."""

    code = "upstream_auth_error"
    permanent = True


_ANTHROPIC_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def normalised_status(status: int) -> int:
    """The status that policies and clients see: 529 → 503, 520 to 524 and all that is no error → 502."""
    if status == 529:
        return 503
    if 520 <= status <= 524 or not 400 <= status <= 599:
        return 502
    return status


def canonical_type(status: int) -> str:
    """The error type for a status, where the provider gives none."""
    return _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def scrub_error(error: UpstreamError, api_key: str | None, base_url: str) -> None:
    """Scrub everything of an attempt's error that may reach a client, a record or a log, in place."""
    error.message = scrub(error.message, api_key, base_url)
    error.args = (error.message,)
    if error.param:
        error.param = scrub(error.param, api_key, base_url)
    if error.code:
        error.code = scrub(error.code, api_key, base_url)
    error.type = scrub(error.type, api_key, base_url)
    if isinstance(error, UpstreamStatusError):
        facts = error.facts
        facts.message, facts.param, facts.code, facts.type = (
            error.message,
            error.param,
            error.code,
            error.type,
        )
        facts.body = _scrub_value(facts.body, api_key, base_url)


def _scrub_value(value: Any, api_key: str | None, base_url: str) -> Any:
    if isinstance(value, str):
        return scrub(value, api_key, base_url)
    if isinstance(value, list):
        return [_scrub_value(item, api_key, base_url) for item in value]
    if isinstance(value, dict):
        return {key: _scrub_value(item, api_key, base_url) for key, item in value.items()}
    return value


def shown(error: GatewayError) -> GatewayError:
    """The error that the client is told of: a refused credential is the gateway's affair."""
    if isinstance(error, UpstreamStatusError) and error.facts.refused_credential:
        return UpstreamAuthError("The provider refused the gateway's own credential.")
    return error


def render(
    error: GatewayError, dialect: str, request_id: str
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Write an error as a whole answer: status, headers (without the request's id) and body.

    Permanent refusals tell SDKs not to retry and name no time; transient ones name it when it is known.
    """
    error = shown(error)
    status = _status_for(error, dialect)
    headers = [(b"content-type", b"application/json")]
    if error.permanent:
        headers.append((b"x-should-retry", b"false"))
    elif error.retry_after_s is not None and math.isfinite(error.retry_after_s):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    return status, headers, orjson.dumps(_envelope(error, dialect, request_id), default=str)


def render_event(
    error: GatewayError,
    dialect: str,
    request_id: str,
    *,
    number: int = 0,
    response: Mapping[str, Any] | None = None,
) -> bytes:
    """Write an error as the last event of a stream that has begun; no clean end follows it.

    Of a stream of Responses ``number`` is the next event's and ``response`` the answer as it was announced.
    """
    error = shown(error)
    if dialect == "anthropic":
        # Their SDKs drop an event without its event: line silently.
        return b"event: error\ndata: " + orjson.dumps(_envelope(error, dialect, request_id)) + b"\n\n"
    if dialect == "responses":
        return _failed_response(error, request_id, number, response or {})
    return b"data: " + orjson.dumps(_envelope(error, dialect, request_id)) + b"\n\n"


def _failed_response(error: GatewayError, request_id: str, number: int, response: Mapping[str, Any]) -> bytes:
    """Two events, as OpenAI sends them: the SDKs raise at the first, Codex reads the second."""
    told = {"type": error.type, "code": error.code, "message": error.message, "param": error.param}
    event = {**told, "type": "error", "sequence_number": number, "error": told}
    failed = {
        "id": f"resp_{request_id}",
        "object": "response",
        "created_at": 0,
        "model": "",
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **response,
        "status": "failed",
        "output": [],
        "error": {"code": error.code or error.type, "message": error.message},
    }
    ending = {"type": "response.failed", "sequence_number": number + 1, "response": failed}
    return b"event: error\ndata: %b\n\nevent: response.failed\ndata: %b\n\n" % (
        orjson.dumps(event),
        orjson.dumps(ending),
    )


def _status_for(error: GatewayError, dialect: str) -> int:
    # Anthropic's own clients know 529 as overloaded; everyone else gets the normalised 503.
    if dialect == "anthropic" and isinstance(error, UpstreamStatusError) and _is_overloaded(error.facts):
        return 529
    return error.status


def _is_overloaded(facts: ErrorFacts) -> bool:
    """Whether Anthropic said so: by its status, or inside a stream that had none to show yet."""
    kind = (facts.body or {}).get("type")
    return facts.raw_status == 529 or (facts.raw_status == 200 and kind == "overloaded_error")


def _envelope(error: GatewayError, dialect: str, request_id: str) -> dict[str, Any]:
    if dialect != "anthropic":
        return {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code,
            }
        }
    facts = error.facts if isinstance(error, UpstreamStatusError) else None
    if facts is not None and facts.body is not None and _is_anthropic(facts.body):
        # Anthropic's clients decide by its wording and details: its own error object goes on as it came.
        return {"type": "error", "error": facts.body, "request_id": request_id}
    kind = _ANTHROPIC_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    body: dict[str, Any] = {"type": kind, "message": error.message}
    if error.code:
        body["details"] = {"error_code": error.code}
    return {"type": "error", "error": body, "request_id": request_id}


def _is_anthropic(body: dict[str, Any]) -> bool:
    kind = body.get("type")
    return (
        isinstance(kind, str)
        and kind in _ANTHROPIC_OWN_TYPES
        and body.keys() <= {"type", "message", "details"}
    )


_ANTHROPIC_OWN_TYPES: Final = frozenset({*_ANTHROPIC_TYPES.values(), "api_error", "invalid_request_error"})
