"""Log-ins by password: whose attempt it is, and the answer to too many. Counting is django-axes's."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from routing.client_address import client_address


def address_of(request: HttpRequest) -> str | None:
    """The address that attempts are counted for."""
    forwarded = request.headers.get("x-forwarded-for", "")
    peer = request.META.get("REMOTE_ADDR") or ""
    return client_address(peer, forwarded, settings.GATEWAY_FORWARDED_ALLOW_IPS)


def refuse(request: HttpRequest, response: Any = None, credentials: Any = None) -> HttpResponse:
    """429, how many tries there are, and when there are some again."""
    seconds = settings.GATEWAY_LOGIN_PAUSE_S
    context = {
        **admin.site.each_context(request),
        "title": "Too many failed log-ins",
        "is_nav_sidebar_enabled": False,
        "tries": settings.GATEWAY_LOGIN_TRIES,
        "minutes": -(-seconds // 60),
    }
    page = TemplateResponse(request, "admin/too_many_tries.html", context, status=429)
    page["Retry-After"] = str(seconds)
    return page.render()
