"""URLs: one include per app."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("admin/", include("proxying.api.urls")),
    path("admin/", include("routing.api.urls")),
    path("admin/", admin.site.urls),
    path("dashboard/", include("dashboard.urls")),
    path("", RedirectView.as_view(pattern_name="dashboard:pools", query_string=False)),
    path("", include("proxying.urls")),
]

handler400 = "routing.api.scripts.bad_request"
handler403 = "routing.api.scripts.permission_denied"
handler404 = "routing.api.scripts.page_not_found"
handler500 = "routing.api.scripts.server_error"
