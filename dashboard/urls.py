"""The dashboard's pages."""

from __future__ import annotations

from django.urls import path

from dashboard.views.changes import changes, undo
from dashboard.views.pools import pool, pools
from dashboard.views.providers import providers, test
from dashboard.views.requests import request_detail, requests
from dashboard.views.sends import send
from dashboard.views.stream import stream
from dashboard.views.switches import switch
from dashboard.views.tries import explanation

app_name = "dashboard"
urlpatterns = [
    path("", pools, name="pools"),
    path("pools/<path:name>/", pool, name="pool"),
    path("providers/", providers, name="providers"),
    path("providers/<path:name>/test/", test, name="test"),
    path("requests/", requests, name="requests"),
    path("requests/<slug:decision_id>/", request_detail, name="request"),
    path("stream/", stream, name="stream"),
    path("switch/", switch, name="switch"),
    path("try/", explanation, name="try"),
    path("try/send/", send, name="send"),
    path("changes/", changes, name="changes"),
    path("changes/<int:number>/undo/", undo, name="undo"),
]
