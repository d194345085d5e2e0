"""The addresses of the admin API under ``/admin/``; each with and without a slash at its end."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.urls import URLPattern, include, path, register_converter
from django.views.generic import RedirectView

from routing.api import access, configuration, inspection, openapi, probing, revisions, state


class NameConverter:
    """A name that may have slashes in it, as canonical models do."""

    regex = r"[^\x00]+"

    def to_python(self, value: str) -> str:
        """The name as it stands in the address, decoded and trimmed as names are everywhere."""
        return value.strip()

    def to_url(self, value: str) -> str:
        """The name."""
        return value


register_converter(NameConverter, "name")


def both(route: str, view: Any, name: str) -> list[URLPattern]:
    """A route without and with a slash at its end; the one with comes first, for names that take all."""
    return [path(f"{route}/", view), path(route, view, name=name)]


sessions = (
    [
        # What the browsable pages link to: Django admin's own.
        path("login", RedirectView.as_view(pattern_name="admin:login", query_string=True), name="login"),
        path("logout", admin.site.logout, name="logout"),
    ],
    "rest_framework",
)

urlpatterns = [
    *both("routing-state", state.RoutingState.as_view(), "routing-state"),
    *both("routing/model-pools", inspection.ModelPools.as_view(), "model-pools"),
    *both("routing/explain", inspection.Explain.as_view(), "explain"),
    *both("routing/revisions", revisions.Revisions.as_view(), "revisions"),
    *both("routing/revisions/<int:number>", revisions.Revision.as_view(), "revision"),
    *both("routing/revisions/<int:number>/revert", revisions.Revert.as_view(), "revert"),
    *both("routing/revisions/<int:number>/export", revisions.Export.as_view(), "revision-export"),
    *both("providers/status", inspection.ProvidersState.as_view(), "providers-status"),
    *both("providers/probe", probing.ProviderProbes.as_view(), "providers-probe"),
    path("api/session/", include(sessions)),
    *both("api/schema", openapi.Schema.as_view(), "admin-api-schema"),
    path("api", RedirectView.as_view(pattern_name="admin-api")),
    path("api/", openapi.Browser.as_view(), name="admin-api"),
    *both("api/providers", configuration.Providers.as_view(), "api-providers"),
    *both("api/providers/<name:name>", configuration.Provider.as_view(), "api-provider"),
    *both("api/pools", configuration.Pools.as_view(), "api-pools"),
    *both("api/pools/<name:name>", configuration.Pool.as_view(), "api-pool"),
    *both("api/aliases", configuration.Aliases.as_view(), "api-aliases"),
    *both("api/aliases/<name:name>", configuration.AliasItem.as_view(), "api-alias"),
    *both("api/defaults", configuration.Defaults.as_view(), "api-defaults"),
    *both("api/client-keys", access.ClientKeys.as_view(), "api-client-keys"),
    *both("api/client-keys/<int:number>", access.ClientKeyItem.as_view(), "api-client-key"),
    *both("api/admin-tokens", access.AdminTokens.as_view(), "api-admin-tokens"),
    *both("api/admin-tokens/<int:number>", access.AdminTokenItem.as_view(), "api-admin-token"),
]
