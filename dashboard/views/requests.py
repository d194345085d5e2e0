"""The list of requests, and one request with its waterfall."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from dashboard import record_queries
from dashboard.access import common, is_part, page
from dashboard.snippets import stub_curl
from dashboard.traces import trace, traces, waterfall

RECORDS = "proxying.view_requestrecord"
LOOKS = tuple(str(number) for number in range(10))


@page(permission=RECORDS)
def requests(request: HttpRequest) -> HttpResponse:
    """What became of each request, newest first; the filters are in the URL."""
    # PostgreSQL takes no text with a NUL, and no record has one.
    filters = {name: request.GET.get(name, "").replace("\0", "")[:300] for name in record_queries.FILTERS}
    cursor = request.GET.get("after", "")
    too_long, rows = False, []
    try:
        rows = record_queries.newest(filters, cursor)
    except record_queries.SearchTooLongError:
        too_long = True
    shown = rows[: record_queries.PAGE_SIZE]
    given = {name: value for name, value in filters.items() if value}
    older = record_queries.cursor_of(shown[-1]) if len(rows) > len(shown) else ""
    context = {
        **common(request, "requests"),
        "traces": traces(shown),
        "filters": filters,
        "given": given,
        "too_long": too_long,
        "older": urlencode({**given, "after": older}) if older else "",
        "newest": urlencode(given) if cursor else None,
        "since_choices": record_queries.SINCE,
        "outcomes": record_queries.OUTCOMES,
        "sources": record_queries.SOURCES,
        "hello": stub_curl(request.build_absolute_uri("/v1"), "chat_completions", "…"),
        "statuses": record_queries.STATUSES,
    }
    template = "dashboard/_requests.html" if is_part(request) else "dashboard/requests.html"
    return render(request, template, context)


@page(permission=RECORDS)
def request_detail(request: HttpRequest, decision_id: str) -> HttpResponse:
    """One request: the decision, every attempt on a time axis, what it cost."""
    record = record_queries.record(decision_id)
    if record is None:
        return _not_yet(request, decision_id)
    base_url = request.build_absolute_uri("/v1")
    context = {
        **common(request, "requests"),
        "trace": trace(record),
        "bars": waterfall(record),
        "curl": "",
    }
    if record.requested_model:
        context["curl"] = stub_curl(
            base_url, record.endpoint, record.requested_model, streamed=record.streamed
        )
    return render(request, "dashboard/request.html", context)


def _not_yet(request: HttpRequest, decision_id: str) -> HttpResponse:
    """A page that looks again each second: whoever has just sent the request is faster than its record."""
    looked = request.GET.get("looked", "")
    if looked not in LOOKS:
        raise Http404(f"There is no record of {decision_id}.")
    response = render(request, "dashboard/not_yet.html", {**common(request, "requests"), "id": decision_id})
    response["Refresh"] = f"1; url={request.path}?looked={int(looked) + 1}"
    return response
