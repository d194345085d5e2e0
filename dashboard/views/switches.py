"""The switch: what would follow, then the one service call. Works with and without scripts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from dashboard import queries, switching
from dashboard.access import actor, common, is_part, page
from dashboard.answers import changed
from dashboard.forms import SwitchForm, TargetForm
from dashboard.switching import Rehearsal
from dashboard.templatetags.sluice import dom_id
from routing.api.permissions import Right
from routing.resolver import Survey
from routing.services import Conflict, ServiceError, SwitchResult, WouldEmptyPool


@dataclass(slots=True)
class Ask:
    """What the form asks and says: filled in step by step, then shown."""

    form: TargetForm
    survey: Survey
    rehearsal: Rehearsal | None = None
    error: str = ""
    conflict: Conflict | None = None
    status: int = 200
    typed_wrong: bool = False
    reason_missing: bool = False


@page("GET", "HEAD", "POST", right=Right.OPERATE)
def switch(request: HttpRequest) -> HttpResponse:
    """Ask what it takes to switch something, or switch it."""
    form = SwitchForm(request.POST) if request.method == "POST" else TargetForm(request.GET)
    if not form.is_valid():
        text = "; ".join(f"{name}: {errors[0]}" for name, errors in form.errors.items())
        return _refused(request, f"This switch cannot be used: {text}")
    ask = Ask(form, queries.survey())
    try:
        ask.rehearsal = switching.rehearse(form, ask.survey)
        if isinstance(form, SwitchForm) and _is_complete(ask, form):
            return _done(request, form, ask.rehearsal, _perform(request, ask, form))
    except WouldEmptyPool as error:
        ask.error, ask.status = error.message, error.status
    except Conflict as error:
        ask.conflict, ask.error, ask.status = error, error.message, error.status
        ask.survey = queries.survey()
    except ServiceError as error:
        # T47: the service's own status, whatever it is.
        if ask.rehearsal is None:
            return _refused(request, error.message, error.status)
        ask.error, ask.status = error.message, error.status
    return _show(request, ask)


def _is_complete(ask: Ask, form: SwitchForm) -> bool:
    """Whether everything was given that the consequences call for."""
    rehearsal = ask.rehearsal
    if rehearsal is None or not rehearsal.phrase:
        return True
    ask.typed_wrong = form.cleaned_data["typed"].strip() != rehearsal.phrase
    ask.reason_missing = not form.cleaned_data["reason"].strip()
    if ask.typed_wrong or ask.reason_missing:
        ask.status = 409
        return False
    return True


def _perform(request: HttpRequest, ask: Ask, form: SwitchForm) -> SwitchResult:
    """Switch. Pools that health had emptied already are found by the service; they are to be typed too."""
    assert ask.rehearsal is not None  # noqa: S101 - the view has just set it
    try:
        return switching.perform(form, ask.rehearsal, actor(request), ask.survey.health)
    except WouldEmptyPool as error:
        emptied = tuple(sorted({*ask.rehearsal.emptied, *error.pools}))
        ask.rehearsal = replace(ask.rehearsal, emptied=emptied, needs_dialog=True)
        if not _is_complete(ask, form):
            raise
        return switching.perform(form, ask.rehearsal, actor(request), ask.survey.health)


def _done(request: HttpRequest, form: SwitchForm, rehearsal: Rehearsal, result: SwitchResult) -> HttpResponse:
    word = "Enabled" if form.enabled else "Disabled"
    text = (
        f"{word} {rehearsal.name}." if result.changed else f"Nothing changed: {rehearsal.name} is as asked."
    )
    if not is_part(request):
        messages.success(request, text)
        for warning in result.warnings:
            messages.warning(request, warning)
        return HttpResponseRedirect(_next(request))
    return changed(
        request, text, revision=result.revision if result.changed else None, warnings=result.warnings
    )


def _show(request: HttpRequest, ask: Ask) -> HttpResponse:
    heavy = ask.rehearsal is None or ask.rehearsal.needs_dialog or ask.conflict is not None
    context = {
        **common(request, "pools"),
        "ask": ask,
        "form": ask.form,
        "rehearsal": ask.rehearsal,
        "seen": ask.survey.table.revision if ask.conflict else ask.form.cleaned_data.get("seen"),
        "heavy": heavy,
        "next": _next(request),
        "slot": dom_id(ask.form.key),
    }
    if not is_part(request):
        return render(request, "dashboard/switch.html", context, status=ask.status)
    response = render(request, "dashboard/_switch.html", context, status=ask.status)
    response["HX-Retarget"] = "#dialog" if heavy else f"#slot-{dom_id(ask.form.key)}"
    response["HX-Reswap"] = "innerHTML"
    return response


def _refused(request: HttpRequest, message: str, status: int = 400) -> HttpResponse:
    context = {**common(request, "pools"), "message": message, "next": _next(request)}
    if not is_part(request):
        return render(request, "dashboard/not_switched.html", context, status=status)
    response = render(request, "dashboard/_not_switched.html", context, status=status)
    response["HX-Retarget"] = "#dialog"
    response["HX-Reswap"] = "innerHTML"
    return response


def _next(request: HttpRequest) -> str:
    """The page to go back to: the one the operator came from, when it is ours."""
    given = request.POST.get("next") or request.headers.get("referer", "")
    allowed = url_has_allowed_host_and_scheme(given, {request.get_host()}, require_https=request.is_secure())
    return given if allowed and "/dashboard/switch" not in given else "/dashboard/"
