"""Scripts get JSON everywhere under ``/admin/``: what they ask for by mistake is no page for people.

A bearer token opens the admin API only. On every other address of ``/admin/`` (Django admin's pages, and what
does not exist) its bearer is told so in the API's envelope instead of being shown a login form.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views import defaults
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.views import APIView

from routing.api.authentication import AdminTokenAuthentication
from routing.api.errors import envelope

GetResponse = Callable[[HttpRequest], HttpResponse]


class JSONForScripts:
    """Middleware: answers a bearer's request that no view of the API takes."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Nothing before or after."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, *_: Any) -> HttpResponse | None:
        """Look at the view that was found: one of the API goes on."""
        if not is_script(request) or issubclass(getattr(view, "cls", object), APIView):
            return None
        authentication = AdminTokenAuthentication()
        try:
            authentication.authenticate(request)
        except AuthenticationFailed as error:
            answer = refusal(401, str(error.detail), "invalid_admin_token")
            answer["WWW-Authenticate"] = authentication.authenticate_header(request)
            return answer
        return refusal(404, f"The admin API has no {request.path}.", "unknown_url")


def is_script(request: HttpRequest) -> bool:
    """Whether somebody shows a bearer token under ``/admin/``."""
    scheme, _, _ = request.headers.get("Authorization", "").partition(" ")
    return request.path_info.startswith("/admin/") and scheme.lower() == "bearer"


def refusal(status: int, message: str, code: str) -> JsonResponse:
    """An error in the envelope, outside of DRF."""
    return JsonResponse(envelope(status, message, code=code), status=status)


def _for_scripts(
    status: HTTPStatus, code: str, page: Callable[..., HttpResponseBase]
) -> Callable[..., HttpResponseBase]:
    """Django's own page for people, the envelope for scripts."""

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if is_script(request):
            return refusal(status, f"{status.phrase}.", code)
        return page(request, *args, **kwargs)

    return view


bad_request = _for_scripts(HTTPStatus.BAD_REQUEST, "invalid_request", defaults.bad_request)
permission_denied = _for_scripts(HTTPStatus.FORBIDDEN, "permission_denied", defaults.permission_denied)
page_not_found = _for_scripts(HTTPStatus.NOT_FOUND, "unknown_url", defaults.page_not_found)
server_error = _for_scripts(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", defaults.server_error)
