"""``GET /metrics`` for Prometheus: control plane, so it comes through Django and may read the database."""

from __future__ import annotations

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from proxying import runtime
from proxying.metrics import CONTENT_TYPE
from routing.keys import key_digest
from routing.models import AdminToken


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics of all workers, for holders of an admin token (a read-only one will do)."""
    if not settings.GATEWAY_METRICS_OPEN and not _has_token(request):
        error = {
            "message": "An admin token is needed: 'Authorization: Bearer <token>'.",
            "type": "authentication_error",
            "param": None,
            "code": "invalid_api_key",
        }
        return JsonResponse({"error": error}, status=401, headers={"WWW-Authenticate": "Bearer"})
    now = runtime.current()
    now.show_gauges()
    return HttpResponse(now.metrics.exposition(), content_type=CONTENT_TYPE)


def _has_token(request: HttpRequest) -> bool:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        return False
    valid = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    digest = key_digest(secret.strip()).hex()
    return AdminToken.objects.filter(valid, digest=digest, enabled=True).exists()
