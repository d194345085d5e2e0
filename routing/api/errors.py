"""Errors of the admin API, all in one envelope: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import logging
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_handler

from routing.services.errors import Conflict, ServiceError, WouldEmptyPool

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    406: "invalid_request_error",
    409: "conflict_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}

_CODES: Final[dict[type[Exception], str]] = {
    exceptions.ParseError: "invalid_json",
    exceptions.PermissionDenied: "permission_denied",
    exceptions.NotFound: "not_found",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.NotAcceptable: "not_acceptable",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
}

logger = logging.getLogger("sluice.admin")


def envelope(
    status: int, message: str, *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body of an error."""
    kind = _TYPES.get(status, "api_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: services' refusals and DRF's own, in the envelope."""
    if isinstance(error, ServiceError):
        return Response(service_body(error), status=error.status)
    if isinstance(error, OperationalError | TimeoutError):
        logger.error("The admin API cannot answer: %s", error)
        return Response(
            envelope(503, "The database or the routing does not answer; try again.", code="unavailable"),
            status=503,
        )
    if isinstance(error, RecursionError):
        error = exceptions.ParseError("The body is nested too deeply.")
    response = drf_handler(error, context)
    if response is None:
        return None
    param, message = _first(getattr(error, "detail", None))
    code = _code(error)
    response.data = envelope(response.status_code, message or _plain(error), param=param, code=code)
    return response


def service_body(error: ServiceError) -> dict[str, Any]:
    """A service's refusal with what it knows: the impact, the pools, the changes that conflict."""
    body = envelope(error.status, error.message, param=error.param, code=error.code)
    if isinstance(error, WouldEmptyPool):
        body["error"]["pools"] = list(error.pools)
        body["error"]["impact"] = dict(error.impact)
    if isinstance(error, Conflict) and error.details:
        body["error"]["details"] = list(error.details)
    return body


def _code(error: Exception) -> str:
    if isinstance(error, exceptions.ValidationError):
        return "invalid_value"
    if isinstance(error, Http404):
        return "not_found"
    if isinstance(error, PermissionDenied):
        return "permission_denied"
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return "invalid_admin_token"
    return _CODES.get(type(error), "invalid_request")


def _plain(error: Exception) -> str:
    return "Not found." if isinstance(error, Http404) else "You may not do this."


def _first(detail: Any, path: str = "") -> tuple[str | None, str]:
    """The first message of DRF's nested detail, with the path to its field."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            own = path if name in {"detail", "non_field_errors"} else f"{path}.{name}" if path else str(name)
            return _first(inner, own)
    if isinstance(detail, list):
        for position, inner in enumerate(detail):
            nested = isinstance(inner, dict)
            if nested and not inner:
                continue
            return _first(inner, f"{path}.{position}" if nested else path)
    return (path or None), "" if detail is None else str(detail)
