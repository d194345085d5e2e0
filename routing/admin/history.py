"""The pages of what is only looked at: revisions, inventories, leases."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse

from routing.admin.base import ReadOnlyAdmin
from routing.admin.diffs import diff_html
from routing.admin.undo import undo
from routing.api.permissions import may_undo
from routing.document import from_json
from routing.models import Lease, ProviderModel, RoutingRevision


@admin.register(RoutingRevision)
class RoutingRevisionAdmin(ReadOnlyAdmin):
    """The history."""

    list_display = ("number", "created_at", "actor", "source", "summary", "reason")
    list_per_page = 50
    list_filter = ("source", "actor")
    search_fields = ("summary", "reason", "actor")
    date_hierarchy = "created_at"
    fields = ("number", "created_at", "actor", "source", "reason", "summary", "reverts", "diff")
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        """With the page that asks before it undoes."""

        def ask(request: HttpRequest, number: int) -> HttpResponse:
            return undo(self, request, number)

        view = self.admin_site.admin_view(ask)
        return [path("<int:number>/undo/", view, name="routing_routingrevision_undo"), *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Offer the undoing to those who may."""
        revision = kwargs.get("obj")
        if revision is not None and may_undo(request.user, from_json(revision.changes)):
            context["undo_url"] = reverse("admin:routing_routingrevision_undo", args=[revision.pk])
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="changes")
    def diff(self, row: RoutingRevision) -> str:
        """One line per change."""
        return diff_html(from_json(row.changes))


@admin.register(ProviderModel)
class ProviderModelAdmin(ReadOnlyAdmin):
    """What discovery found."""

    list_display = ("provider", "model", "listed", "owned_by", "first_seen_at", "last_seen_at")
    list_filter = ("listed", "provider")
    list_select_related = ("provider",)
    search_fields = ("model",)


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    """Who does the background work."""

    list_display = ("name", "holder", "until_at")
