"""The pages of model pools, with their candidates."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from routing import queries, services
from routing.admin import marks, standing
from routing.admin.base import ServiceAdmin, ServiceForm, switch_action
from routing.admin.fields import RankField
from routing.admin.policy import PolicyForm
from routing.admin.standing import Standing, StandingList
from routing.models import ModelPool, PoolCandidate
from routing.shapes import Shape
from routing.types import PoolPolicy


class PoolForm(PolicyForm):
    """A pool; its candidates come with the inline."""

    waits_for_inlines = True

    def inherited(self) -> PoolPolicy:
        """The routing defaults."""
        return queries.default_policy()


class CandidateForm(forms.ModelForm):  # type: ignore[type-arg]  # the model is named by the inline
    """One candidate. Whether its pool has it already is seen where the pool is seen as a whole."""

    class Meta:
        field_classes: ClassVar = {"priority": RankField, "weight": RankField}

    def validate_unique(self) -> None:
        """Left to the service."""

    def validate_constraints(self) -> None:
        """Left to the service."""


class CandidateFormSet(BaseInlineFormSet):  # type: ignore[type-arg]  # Django's base is generic in stubs only
    """All candidates of a pool, written with it."""

    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        form = super()._construct_form(i, **kwargs)  # type: ignore[misc]  # not in the stubs
        form.instance.pool = self.instance  # the one that knows how it stands; no query for each row
        return form

    def candidates(self) -> list[dict[str, Any]]:
        """What the rows that stay say, in their order."""
        return [
            {
                "provider_name": row["provider"].name,
                "model": row["model"],
                "priority": row["priority"],
                "weight": row["weight"],
                "enabled": row["enabled"],
            }
            for row in (form.cleaned_data for form in self.forms if hasattr(form, "cleaned_data"))
            if row and not row.get("DELETE")
        ]

    def validate_unique(self) -> None:
        """Left to the service."""

    def clean(self) -> None:
        """Let the service look at the pool as a whole."""
        form: ServiceForm = self.instance.admin_form
        if any(self.errors) or form.errors:
            return
        form.rehearse(lambda: _write_pool(form, self.candidates()))
        if form.errors:
            raise ValidationError("Nothing was saved: see the messages at the fields above.")


class CandidateInline(admin.TabularInline):  # type: ignore[type-arg]  # Django's base is generic in stubs only
    """The candidates of a pool, each with how it stands."""

    model = PoolCandidate
    form = CandidateForm
    formset = CandidateFormSet
    verbose_name = "candidate"
    verbose_name_plural = "candidates"
    fields = ("provider", "model", "priority", "weight", "enabled", "state")
    readonly_fields = ("state",)
    autocomplete_fields = ("provider",)
    extra = 0
    min_num = 1

    def get_queryset(self, request: HttpRequest) -> QuerySet[PoolCandidate]:
        """With their providers: no query for each row."""
        return super().get_queryset(request).select_related("provider")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Providers are looked at from here, and changed on their own pages."""
        formset = super().get_formset(request, obj, **kwargs)
        field = formset.form.base_fields.get("provider")
        if field is not None:
            widget: Any = field.widget
            widget.can_add_related = widget.can_change_related = widget.can_delete_related = False
        return formset

    @admin.display(description="state")
    def state(self, row: PoolCandidate) -> SafeString | str:
        """Effective, standby or blocked, with all reasons; and its switch, when somebody set it."""
        known: Standing | None = getattr(row.pool, "standing", None)
        if known is None or not row.pk:
            return marks.NOTHING
        selector = f"{row.provider.name}/{row.model}"
        pool = known.of(row.pool.canonical_model)
        shape = next((one for one in pool.get("candidates", ()) if one["selector"] == selector), None)
        if shape is None:
            return marks.unusable("It is left out; see the log.")
        return format_html("{}{}", _candidate_state(shape), marks.lines(marks.switch_lines(row)))


def _candidate_state(shape: Shape) -> SafeString:
    shown = marks.mark(shape["status"])
    if shape["status"] == "enabled":
        shown = marks.toned("ok", "In rotation") if "share" in shape else marks.toned("idle", "Standby")
    if shape["is_effective_candidate"]:
        shown = marks.toned("warn" if shape["reasons"] else "ok", "Effective")
    said = [f"{shape['share']:.1%} of requests"] if "share" in shape else []
    return format_html("{}{}{}", shown, marks.lines(said), marks.reasons(shape))


@admin.register(ModelPool)
class ModelPoolAdmin(ServiceAdmin):
    """Canonical models with their candidates."""

    form = PoolForm
    change_form_template = "admin/routing/pool_form.html"
    inlines = (CandidateInline,)
    list_display = ("named", "status", "effective_candidate", "switch")
    list_filter = ("enabled", "strategy", "candidates__provider")
    search_fields = ("canonical_model", "description", "candidates__model", "candidates__provider__name")
    search_help_text = "Canonical model, description, upstream model or provider."
    readonly_fields = ("status", "effective_candidate", "blocked", "switch")
    actions = (switch_action(enabled=True), switch_action(enabled=False))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """How it stands first; the policy closed unless the pool sets some of it."""
        sets_some = obj is not None and any(
            getattr(obj, name) not in {None, ""}
            for name in queries.POLICY_FIELDS
            if name != "failover_on_statuses"
        )
        sets_some = sets_some or (obj is not None and obj.failover_on_statuses is not None)
        policy = {
            "classes": () if sets_some else ("collapse",),
            "fields": queries.POLICY_FIELDS,
            "description": "What is empty is as in the routing defaults.",
        }
        sections = [
            (None, {"fields": ("canonical_model", "description")}),
            ("Policy", policy),
            *self.writing_fieldsets(request, obj),
        ]
        if obj is None:
            return sections
        now = {"fields": ("status", "effective_candidate", "blocked", "switch")}
        return [("Now", now), *sections]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelPool]:
        """With the count of the list."""
        return ModelPool.objects.annotate(candidate_count=Count("candidates")).order_by("canonical_model")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """A list that knows how its rows stand."""
        return StandingList

    def stand(self, names: list[str]) -> Standing:
        """How these pools stand, as the live resolver sees them."""
        return standing.pools(names)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row, with how it stands."""
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            row.standing = self.stand([row.canonical_model])
            standing.tell_if_stale(request, row.standing)
        return row

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A name is given once."""
        return (*self.readonly_fields, "canonical_model") if obj else self.readonly_fields

    @admin.display(description="canonical model", ordering="canonical_model")
    def named(self, row: Any) -> SafeString:
        """The name, how many candidates may serve of how many, and by which strategy."""
        shape = row.standing.of(row.canonical_model)
        selectable = sum(one["selectable"] for one in shape.get("candidates", ()))
        strategy = shape.get("strategy", "").replace("_", " ")
        counted = f"{selectable} of {row.candidate_count} eligible" + (f", {strategy}" if strategy else "")
        return format_html("{}{}", row.canonical_model, marks.lines([counted]))

    @admin.display(description="status")
    def status(self, row: Any) -> SafeString | str:
        """One word, and why."""
        shape = row.standing.of(row.canonical_model)
        if "problem" in shape:
            return marks.unusable(shape["problem"])
        if not shape:
            return marks.NOTHING
        said = [shape["status_reason"]] if shape.get("status_reason") else []
        return format_html("{}{}", marks.mark(shape["status"]), marks.lines(said))

    @admin.display(description="switch", ordering="enabled")
    def switch(self, row: ModelPool) -> SafeString:
        """On or off; who, when, why."""
        return marks.switch(row)

    @admin.display(description="effective candidate")
    def effective_candidate(self, row: Any) -> SafeString | str:
        """What the live resolver would pick for the next request without a session."""
        shape = row.standing.of(row.canonical_model)
        found = shape.get("effective_candidate")
        if found is None:
            return "none" if shape else marks.NOTHING
        primary = shape.get("config_primary_candidate")
        if shape["strategy"] == "priority_failover" and primary and found != primary:
            return format_html("{}{}", found, marks.lines([f"configured primary: {primary}"]))
        return str(found)

    @admin.display(description="blocked candidates")
    def blocked(self, row: Any) -> SafeString | str:
        """Every blocked candidate with all its reasons."""
        shape = row.standing.of(row.canonical_model)
        lines = [
            f"{one['selector']}: {' '.join(note['message'] for note in one['reasons'])}"
            for one in shape.get("candidates", ())
            if not one["selectable"]
        ]
        return marks.lines(lines, css="blocked") or "none"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Wait for the candidates."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        """One pool with its candidates, one revision."""
        form.instance.pk = _write_pool(form, formsets[0].candidates()).pk

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        """Nothing: the revision says it."""
        return []

    def remove(self, obj: ModelPool, how: services.How) -> None:
        """Refused while aliases point at it."""
        services.delete_pool(canonical_model=obj.canonical_model, **how)

    def users(self, obj: ModelPool) -> list[str]:
        """Aliases."""
        return queries.users_of_pool(obj.canonical_model)


def _write_pool(form: ServiceForm, candidates: list[dict[str, Any]]) -> ModelPool:
    values = form.values()
    name = values.pop("canonical_model", None) or form.instance.canonical_model
    return services.save_pool(canonical_model=name, values=values, candidates=candidates, **form.how())
