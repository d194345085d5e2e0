"""Undoing a revision from its page: a new revision, after a page that shows what goes back."""

from __future__ import annotations

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse

from routing import services
from routing.admin.base import actor
from routing.admin.diffs import diff_html
from routing.api.permissions import may_undo
from routing.document import from_json
from routing.models import RoutingRevision


class UndoForm(forms.Form):
    """Why, and whether pools may be left empty."""

    reason = forms.CharField(max_length=500, required=False)
    confirm = forms.BooleanField(required=False, label="Leave pools empty")


def undo(page: admin.ModelAdmin[RoutingRevision], request: HttpRequest, number: int) -> HttpResponse:
    """Ask, then write the revision that takes this one back."""
    revision = get_object_or_404(RoutingRevision, pk=number)
    if not may_undo(request.user, from_json(revision.changes)):
        raise PermissionDenied
    form = UndoForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            done = services.revert_revision(
                number=number,
                actor=actor(request),
                source="admin",
                reason=form.cleaned_data["reason"] or f"Undo revision {number}.",
                confirm=form.cleaned_data["confirm"],
            )
        except services.ServiceError as error:
            form.add_error("confirm" if error.param == "confirm" else None, error.message)
        else:
            messages.success(request, f"Undid revision {number} with revision {done.revision}.")
            return HttpResponseRedirect(reverse("admin:routing_routingrevision_change", args=[done.revision]))
    context = {
        **page.admin_site.each_context(request),
        "title": f"Undo revision {number}",
        "opts": page.opts,
        "revision": revision,
        "changes": diff_html(from_json(revision.changes)),
        "form": form,
        "media": page.media,
    }
    return TemplateResponse(request, "admin/routing/undo.html", context)
