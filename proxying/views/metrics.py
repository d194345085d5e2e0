"""``GET /metrics`` for Prometheus: control plane, so it comes through Django and may read the database."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from proxying import runtime
from proxying.metrics import CONTENT_TYPE
from routing.keys import key_digest
from routing.models import AdminToken

# Digests of tokens that the database has let in here, and when each expires. While the database is away they
# still open this page: that it is away is what somebody wants to read then. Nothing else looks here.
_let_in: Final[dict[str, datetime | None]] = {}
_LET_IN_MAX: Final = 100


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics of all workers, for holders of an admin token (a read-only one will do)."""
    if not settings.GATEWAY_METRICS_OPEN:
        try:
            is_let_in = _has_token(request)
        except (OperationalError, InterfaceError):
            return _refusal(
                503, "overloaded_error", "unavailable", "The database does not answer; try again."
            )
        if not is_let_in:
            text = "An admin token is needed: 'Authorization: Bearer <token>'."
            refusal = _refusal(401, "authentication_error", "invalid_api_key", text)
            refusal["WWW-Authenticate"] = "Bearer"
            return refusal
    now = runtime.current()
    now.show_gauges()
    return HttpResponse(now.metrics.exposition(), content_type=CONTENT_TYPE)


def _has_token(request: HttpRequest) -> bool:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        return False
    digest, now = key_digest(secret.strip()).hex(), timezone.now()
    try:
        tokens = AdminToken.objects.filter(digest=digest, enabled=True)
        found = list(tokens.values_list("expires_at", flat=True))
    except (OperationalError, InterfaceError):
        if digest not in _let_in:
            raise
        found = [_let_in[digest]]
    _let_in.pop(digest, None)
    if not found or (found[0] is not None and found[0] <= now):
        return False
    if len(_let_in) >= _LET_IN_MAX:
        _let_in.clear()
    _let_in[digest] = found[0]
    return True


def _refusal(status: int, sort: str, code: str, message: str) -> JsonResponse:
    error = {"message": message, "type": sort, "param": None, "code": code}
    return JsonResponse({"error": error}, status=status)
