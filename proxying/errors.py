"""Everything that can go wrong with a request, as one tree; and how it is written for each dialect.

::

    GatewayError
    ├── RequestError                 the client's doing; never retried
    │   ├── InvalidJSONError, InvalidRequestError, RequestTooLargeError,
    │   ├── AuthenticationError, PermissionDeniedError, NotFoundError, MethodNotAllowedError
    ├── NoCandidateError             routing refused: carries the ``Refusal``
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

from dataclasses import dataclass
from typing import Any

from routing.types import Refusal


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
        self.permanent = refusal.status < 500


class ProviderBusyError(GatewayError):
    """Every candidate's provider is at its in-flight limit."""

    status = 429
    type = "rate_limit_error"
    code = "provider_busy"
    permanent = False


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
    """One attempt failed."""

    status = 502
    type = "upstream_error"
    code: str | None = "upstream_error"
    permanent = False


class UpstreamStatusError(UpstreamError):
    """The provider answered with an error of its own."""

    def __init__(self, facts: ErrorFacts) -> None:
        super().__init__(facts.message, param=facts.param)
        self.facts = facts
        self.status = facts.status
        self.type = facts.type
        self.code = facts.code
        self.retry_after_s = facts.retry_after_s


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
