"""The pages of what is only looked at: revisions, inventories, leases."""

from __future__ import annotations

from django.contrib import admin

from routing.admin.base import ReadOnlyAdmin
from routing.admin.diffs import diff_html
from routing.document import from_json
from routing.models import Lease, ProviderModel, RoutingRevision


@admin.register(RoutingRevision)
class RoutingRevisionAdmin(ReadOnlyAdmin):
    """The history."""

    list_display = ("number", "created_at", "actor", "source", "summary", "reason")
    list_filter = ("source", "actor")
    search_fields = ("summary", "reason", "actor")
    date_hierarchy = "created_at"
    fields = ("number", "created_at", "actor", "source", "reason", "summary", "reverts", "diff")
    readonly_fields = fields

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
