"""The feed of revisions, and undoing one by a new one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from dashboard import queries
from dashboard.access import actor, common, is_part, page, why_not_undo
from dashboard.answers import changed
from dashboard.feed import entries
from routing import services
from routing.api.permissions import Right
from routing.document import from_json
from routing.services import Conflict, ServiceError


@page()
def changes(request: HttpRequest) -> HttpResponse:
    """Who changed what, when, via what, and why."""
    text = request.GET.get("q", "").replace("\0", "").strip()[:200]  # PostgreSQL keeps no NUL and refuses one
    before = request.GET.get("before", "")
    rows = queries.changes(
        before=int(before) if before.isdigit() and len(before) < 19 else None, touching=text
    )
    shown = rows[: queries.PAGE_SIZE]
    context = {
        **common(request, "changes"),
        "entries": entries(shown, queries.undone(shown), partial(why_not_undo, request)),
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
    revision = queries.revision(number)
    why_not = why_not_undo(request, from_json(revision.changes)) if revision is not None else ""
    if why_not:
        return _not_undone(request, number, why_not, status=403)
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
    details = error.details if isinstance(error, Conflict) else ()
    pools = getattr(error, "pools", ())
    return _not_undone(request, number, error.message, status=error.status, details=details, pools=pools)


def _not_undone(
    request: HttpRequest, number: int, message: str, *, status: int, **also: Sequence[Any]
) -> HttpResponse:
    context = {**common(request, "changes"), "number": number, "message": message, **also}
    if not is_part(request):
        return render(request, "dashboard/not_undone.html", context, status=status)
    response = render(request, "dashboard/_not_undone.html", context, status=status)
    response["HX-Retarget"] = "#dialog"
    response["HX-Reswap"] = "innerHTML"
    return response
