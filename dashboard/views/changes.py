"""The feed of revisions, and undoing one by a new one."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from dashboard import queries
from dashboard.access import actor, common, is_part, page
from dashboard.answers import changed
from dashboard.feed import entries
from routing import services
from routing.api.permissions import Right
from routing.services import Conflict, ServiceError


@page()
def changes(request: HttpRequest) -> HttpResponse:
    """Who changed what, when, via what, and why."""
    text, before = request.GET.get("q", "").strip()[:200], request.GET.get("before", "")
    rows = queries.changes(
        before=int(before) if before.isdigit() and len(before) < 19 else None, touching=text
    )
    shown = rows[: queries.PAGE_SIZE]
    context = {
        **common(request, "changes"),
        "entries": entries(shown, queries.undone(shown)),
        "filters": {"q": text},
        "older": shown[-1].number if len(rows) > queries.PAGE_SIZE else None,
        "paged": bool(before),
    }
    return render(
        request, "dashboard/_changes.html" if is_part(request) else "dashboard/changes.html", context
    )


@page("POST", right=Right.OPERATE)
def undo(request: HttpRequest, number: int) -> HttpResponse:
    """Write a new change that takes revision ``number`` back."""
    confirm = request.POST.getlist("confirm")
    try:
        result = services.revert_revision(
            number=number,
            actor=actor(request),
            source="dashboard",
            reason=request.POST.get("reason", "").strip()[:500] or f"Undo revision {number}.",
            confirm=confirm,
        )
    except ServiceError as error:
        return _refused(request, number, error)
    text = f"Undid revision {number}."
    if is_part(request):
        return changed(request, text, revision=result.revision)
    messages.success(request, text)
    return HttpResponseRedirect("/dashboard/changes/")


def _refused(request: HttpRequest, number: int, error: ServiceError) -> HttpResponse:
    context = {
        **common(request, "changes"),
        "number": number,
        "message": error.message,
        "details": error.details if isinstance(error, Conflict) else (),
        "pools": getattr(error, "pools", ()),
    }
    if not is_part(request):
        return render(request, "dashboard/not_undone.html", context, status=error.status)
    response = render(request, "dashboard/_not_undone.html", context, status=error.status)
    response["HX-Retarget"] = "#dialog"
    response["HX-Reswap"] = "innerHTML"
    return response
