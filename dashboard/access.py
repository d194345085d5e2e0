"""Who sees the pages and who may switch; strangers are sent to the login, others are told what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from routing.api.permissions import Right, has_right, may_undo
from routing.document import Change, is_switch
from routing.services import Actor

View = Callable[..., HttpResponse]
NO_RECORDS = "Your account lacks “Can view request record”."
READ_ONLY = "Your account may look and not switch: it lacks “Can change pool candidate”."
NOT_CONFIGURE = (
    "Your account may switch and not configure: undoing this needs “Can change model pool” and “Can change "
    "provider”, and for keys and tokens the permission to change those."
)


def page(*methods: str, right: Right = Right.VIEW, permission: str = "") -> Callable[[View], View]:
    """Guard a view: the methods it takes, the right that all of them need, and a permission besides."""

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            refused = refusal(request, right, permission)
            if refused is not None:
                return refused
            response = view(request, *args, **kwargs)
            patch_vary_headers(response, ["HX-Request", "Cookie"])
            return response

        return never_cache(require_http_methods(methods or ("GET", "HEAD"))(guarded))

    return guard


def refusal(request: HttpRequest, right: Right, permission: str = "") -> HttpResponse | None:
    """The login page for strangers, a page that says no for others, None for those who have the right."""
    if has_right(request.user, right) and (not permission or request.user.has_perm(permission)):
        return None
    if not request.user.is_authenticated:
        response = redirect_to_login(_page_of(request))
        if is_part(request):
            # A part of a page cannot become a login form: the page itself goes there.
            return HttpResponse(status=401, headers={"HX-Redirect": response["Location"]})
        return response
    missing = ""
    if has_right(request.user, Right.VIEW):
        missing = READ_ONLY if not permission or not has_right(request.user, right) else NO_RECORDS
    context = {**common(request, ""), "missing": missing}
    return TemplateResponse(request, "dashboard/refused.html", context, status=403)


def why_not_undo(request: HttpRequest, changes: Iterable[Change]) -> str:
    """Why this account may not take the changes back; empty when it may: switches for whoever may switch."""
    found = tuple(changes)
    if may_undo(request.user, found):
        return ""
    if not has_right(request.user, Right.OPERATE):
        return READ_ONLY
    return "" if all(is_switch(change) for change in found) else NOT_CONFIGURE


def _page_of(request: HttpRequest) -> str:
    """Where a person is: the address, and of what was sent the page that it was sent from."""
    if request.method in {"GET", "HEAD"}:
        return request.get_full_path()
    given = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(given, {request.get_host()}, require_https=request.is_secure()):
        return reverse("dashboard:pools")
    found = urlsplit(given)
    return f"{found.path}?{found.query}" if found.query else found.path


def is_part(request: HttpRequest) -> bool:
    """Whether a script asks for a part of the page it already shows."""
    return request.headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in request.headers


def actor(request: HttpRequest) -> Actor:
    """Who is logged in, for the services."""
    return Actor(request.user.get_username())


def common(request: HttpRequest, name: str) -> dict[str, Any]:
    """What every page's template needs: which page it is, and whether its controls work."""
    may = has_right(request.user, Right.OPERATE)
    return {
        "page": name,
        "may_operate": may,
        "why_not": "" if may else READ_ONLY,
        "switch_url": reverse("dashboard:switch"),
        "requests_url": reverse("dashboard:requests"),
    }
