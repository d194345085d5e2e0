"""The addresses of the request records under ``/admin/``."""

from __future__ import annotations

from proxying.api.views import RequestDetail, Requests
from routing.api.urls import both

urlpatterns = [
    *both("requests", Requests.as_view(), "requests"),
    *both("requests/<name:name>", RequestDetail.as_view(), "request"),
]
