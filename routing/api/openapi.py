"""The OpenAPI description of the admin API and its page; both only for those who may look."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.contrib.auth.views import redirect_to_login
from django.http import JsonResponse
from django.urls import reverse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotAuthenticated
from rest_framework.views import APIView

from routing.api.permissions import HasRight, Right

_ALWAYS: Final = {
    "400": "A value cannot be used; `param` names it.",
    "401": "No credential, or one that is unknown, expired or switched off.",
    "403": "Your account or token may not do this.",
    "404": "There is no such object.",
    "406": "No such representation.",
    "503": "The database does not answer.",
}
_WRITES: Final = {
    "409": "In use, changed meanwhile, or a pool would be left empty.",
    "415": "The body is of a type that is not read.",
}


class AdminTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # not typed upstream
    """How Swagger and generated clients send an admin token."""

    target_class = "routing.api.authentication.AdminTokenAuthentication"
    name = "adminToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """A bearer token."""
        return {"type": "http", "scheme": "bearer", "description": "An admin token."}


class JSONRefusals(APIView):
    """Refuses in JSON whatever it would else answer in."""

    permission_classes = [HasRight]
    rights: ClassVar = {"GET": Right.VIEW}

    def handle_exception(self, exc: Exception) -> Any:
        """The envelope, and how to authenticate."""
        answer = super().handle_exception(exc)
        names = {"WWW-Authenticate", "Allow"} & set(answer.headers)
        headers = {name: answer[name] for name in names}
        return JsonResponse(answer.data, status=answer.status_code, headers=headers)


class Schema(JSONRefusals, SpectacularAPIView):
    """The description as YAML, or as JSON with `Accept: application/json`."""

    @extend_schema(exclude=True)
    def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """The description."""
        return super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]  # not typed upstream


class Browser(JSONRefusals, SpectacularSwaggerSplitView):
    """Swagger over the description: everything from this server, no inline script."""

    url_name = "admin-api-schema"

    @extend_schema(exclude=True)
    def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """The page."""
        return super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]  # not typed upstream

    def handle_exception(self, exc: Exception) -> Any:
        """People without a session are sent to sign in."""
        if isinstance(exc, NotAuthenticated):
            return redirect_to_login(self.request.get_full_path(), reverse("admin:login"))
        return super().handle_exception(exc)


def one_slash_form(endpoints: list[Any], **_: Any) -> list[Any]:
    """Describe each path once, without the slash at its end."""
    return [endpoint for endpoint in endpoints if not endpoint[0].endswith("/")]


def with_refusals(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Every operation may be refused, always in the same envelope."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for operations in result["paths"].values():
        for method, operation in operations.items():
            texts = {**_ALWAYS, **({} if method == "get" else _WRITES)}
            for status, text in texts.items():
                operation["responses"].setdefault(status, {"description": text, "content": error})
    return result
