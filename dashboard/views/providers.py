"""Every provider with its health and the evidence for it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from dashboard import queries
from dashboard.access import common, is_part, page
from dashboard.providers import provider_rows


@page()
def providers(request: HttpRequest) -> HttpResponse:
    """Health, circuits, models, key and users of every provider."""
    survey = queries.survey()
    text = request.GET.get("q", "").strip().lower()[:200]
    rows = provider_rows(survey)
    context = {
        **common(request, "providers"),
        "rows": [row for row in rows if text in row.name.lower() or text in row.kind.lower()],
        "total": len(rows),
        "credentials": queries.credentials(),
        "seen": survey.table.revision,
        "now": survey.now,
        "filters": {"q": text},
    }
    template = "dashboard/_providers.html" if is_part(request) else "dashboard/providers.html"
    return render(request, template, context)
