"""Request records in Django's admin: to look at, to search, never to change."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, Final

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from proxying.models import RequestRecord
from routing.types import Affinity, Endpoint

COUNTED_AT_MOST: Final = 10_000
_SEARCHED: Final = (
    "request_id",
    "decision_id",
    "canonical_model",
    "selected_provider_name",
    "caller_name",
)
_LISTS: Final = ("attempts", "blocked_candidates")


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # Django's is generic in the stubs only
    """Counts no further than a bound: counting a table of millions takes seconds."""

    @cached_property
    def count(self) -> int:
        """Rows, or the bound when there are more."""
        rows: Any = self.object_list
        return len(rows.order_by().values_list("pk")[:COUNTED_AT_MOST])


class _Known(admin.SimpleListFilter):
    """Offers what a column may have, without reading the table for what it does have."""

    values: tuple[str, ...] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The values; one that is in the address besides them is kept."""
        given = self.value()
        own = () if given is None or given in self.values else (given,)
        return [(one, one) for one in (*self.values, *own)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RequestRecord]) -> QuerySet[RequestRecord]:
        """The rows that have the chosen one."""
        given = self.value()
        return queryset if given is None else queryset.filter(Q((str(self.parameter_name), given)))


class _Outcome(_Known):
    title = parameter_name = "outcome"
    values = ("ok", "error", "cut", "client_gone")


class _Endpoint(_Known):
    title = parameter_name = "endpoint"
    values = tuple(one.value for one in Endpoint)


class _Affinity(_Known):
    title = parameter_name = "affinity"
    values = tuple(one.value for one in Affinity)


class _Status(_Known):
    title = parameter_name = "status"
    values = ("200", "400", "401", "403", "404", "429", "500", "502", "503", "504")

    def queryset(self, request: HttpRequest, queryset: QuerySet[RequestRecord]) -> QuerySet[RequestRecord]:
        """As all; no row has a status that is no number."""
        given = self.value()
        if given is not None and not (given.isascii() and given.isdigit() and len(given) < 5):
            return queryset.none()
        return super().queryset(request, queryset)


@admin.register(RequestRecord)
class RequestRecordAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    """One row per client request."""

    list_display = (
        "started_at",
        "requested_model",
        "served_by",
        "status",
        "outcome",
        "attempt_count",
        "latency_ms",
        "caller_name",
        "request_id",
    )
    list_filter = (_Outcome, _Status, _Endpoint, "failover_used", "streamed", _Affinity)
    search_fields = _SEARCHED
    search_help_text = "A whole request id, decision id, pool, provider or caller's name."
    date_hierarchy = None
    ordering = ("-started_at", "-id")
    list_per_page = 50
    show_full_result_count = False
    paginator = BoundedPaginator
    exclude = _LISTS

    def get_readonly_fields(self, request: HttpRequest, obj: RequestRecord | None = None) -> tuple[str, ...]:
        """Everything; the two lists of objects as tables."""
        plain = (field.name for field in RequestRecord._meta.fields if field.name not in _LISTS)
        return (*plain, "attempt_table", "blocked_table")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RequestRecord]:
        """The list needs none of the JSON columns."""
        rows = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and (match.url_name or "").endswith("_changelist"):
            return rows.defer("attempts", "blocked_candidates", "error_message")
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RequestRecord], search_term: str
    ) -> tuple[QuerySet[RequestRecord], bool]:
        """Whole values only, each by its index: a part of one would be looked for in every row there is."""
        term = search_term.strip().replace("\0", "")
        if not term:
            return queryset, False
        return queryset.filter(reduce(or_, (Q(**{name: term}) for name in _SEARCHED))), False

    @admin.display(description="served by", ordering="selected_provider_name")
    def served_by(self, record: RequestRecord) -> str:
        """Provider and exact model."""
        both = (record.selected_provider_name, record.selected_exact_model)
        return "/".join(name for name in both if name) or "–"

    @admin.display(description="attempts")
    def attempt_table(self, record: RequestRecord) -> SafeString:
        """What each upstream call came to."""
        rows = (
            (
                f"{one.get('provider')}/{one.get('model')}",
                "none" if one.get("status") is None else one["status"],
                one.get("latency_ms"),
                one.get("error") or "ok",
            )
            for one in record.attempts
        )
        return _table(("candidate", "status", "latency, ms", "result"), rows)

    @admin.display(description="blocked candidates")
    def blocked_table(self, record: RequestRecord) -> SafeString:
        """Who was left out, and why."""
        rows = (
            (one.get("selector"), one.get("status"), one.get("reason")) for one in record.blocked_candidates
        )
        return _table(("candidate", "status", "reason"), rows)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody writes records by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: RequestRecord | None = None) -> bool:
        """Nobody changes records."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RequestRecord | None = None) -> bool:
        """``manage.py prune_records`` deletes the old ones."""
        return False


def _table(head: tuple[str, ...], rows: Any) -> SafeString:
    lines = [format_html_join("", "<td>{}</td>", ((cell,) for cell in row)) for row in rows]
    if not lines:
        return format_html("{}", "none")
    return format_html(
        "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>",
        format_html_join("", "<th>{}</th>", ((word,) for word in head)),
        format_html_join("", "<tr>{}</tr>", ((line,) for line in lines)),
    )
