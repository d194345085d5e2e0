"""Undoing a revision from its page: a new revision, after a page that shows what goes back."""

from __future__ import annotations

from typing import Final

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
from routing.document import from_json, split_key
from routing.models import RoutingRevision

_CONFIGURE: Final = ("routing.change_modelpool", "routing.change_provider")
_KEYS: Final = {"client_key": "routing.change_clientkey", "admin_token": "routing.change_admintoken"}


class UndoForm(forms.Form):
    """Why, and whether pools may be left empty."""

    reason = forms.CharField(max_length=500, required=False)
    confirm = forms.BooleanField(required=False, label="Leave pools empty")


def may_undo(request: HttpRequest, revision: RoutingRevision) -> bool:
    """Who may configure; keys and tokens besides only with their own permission."""
    kinds = {split_key(change.object)[0] for change in from_json(revision.changes)}
    return request.user.has_perms([*_CONFIGURE, *(_KEYS[kind] for kind in kinds if kind in _KEYS)])


def undo(page: admin.ModelAdmin[RoutingRevision], request: HttpRequest, number: int) -> HttpResponse:
    """Ask, then write the revision that takes this one back."""
    revision = get_object_or_404(RoutingRevision, pk=number)
    if not may_undo(request, revision):
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
