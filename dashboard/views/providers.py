"""Every provider with its health and the evidence for it."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from dashboard import numbers, queries
from dashboard.access import common, is_part, page
from dashboard.answers import changed
from dashboard.providers import provider_rows
from routing import probes
from routing.api.permissions import Right


@page("POST", right=Right.OPERATE)
def test(request: HttpRequest, name: str) -> HttpResponse:
    """Ask a provider for its models now, and keep what it says."""
    try:
        probe = probes.discover([name])[0]
    except probes.UnknownProviderError as error:
        raise Http404(str(error)) from error
    text = f"{name}: {probe.message}"
    if is_part(request):
        return changed(request, text, revision=None, ok=probe.outcome != "failed")
    messages.add_message(request, messages.WARNING if probe.outcome == "failed" else messages.SUCCESS, text)
    return redirect("dashboard:providers")


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
        "by_provider": numbers.by_provider(queries.traffic()),
        "seen": survey.table.revision,
        "now": survey.now,
        "filters": {"q": text},
    }
    template = "dashboard/_providers.html" if is_part(request) else "dashboard/providers.html"
    return render(request, template, context)
