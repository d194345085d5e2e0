"""The pages of providers, pools, aliases and defaults."""

from __future__ import annotations

import time
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, Model, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html_join

from routing import queries, services, snapshot
from routing.admin.base import ServiceAdmin, ServiceForm, switch_action
from routing.admin.discovery import check_connections, discover_models
from routing.admin.fields import LinesField, StatusesField
from routing.document import object_key
from routing.eligibility import evaluate
from routing.models import (
    Alias,
    ModelPool,
    PoolCandidate,
    Provider,
    RoutingDefaults,
    kind_choices,
)
from routing.router import decide, plan
from routing.types import NO_HEALTH, RouteRequest

SWITCH_COLUMNS = ("enabled", "switch_reason", "switch_expires_at", "switch_updated_by", "switch_updated_at")


class ProviderForm(ServiceForm):
    """A provider; its key is write-only."""

    kind = forms.ChoiceField(choices=kind_choices)
    configured_models = LinesField(required=False, help_text="One exact upstream id per line.")
    credential = forms.CharField(
        required=False, strip=True, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )
    remove_credential = forms.BooleanField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row = self.instance
        text = queries.credential_text(row.credential_ref, row.credential_encrypted, row.credential_hint)
        state = f"Now: {text.replace('set ', 'set, ends ')}; leave empty to keep." if text else "Not set."
        if "credential" in self.fields:
            self.fields[
                "credential"
            ].help_text = f"A key, or a reference such as ${{OPENAI_API_KEY}}. {state}"

    def values(self) -> dict[str, Any]:
        """Without a credential when it is to stay."""
        values = super().values()
        typed, remove = values.pop("credential", ""), values.pop("remove_credential", False)
        if typed or remove:
            values["credential"] = typed
        values.pop("name", None)
        return values


@admin.register(Provider)
class ProviderAdmin(ServiceAdmin):
    """Upstream accounts."""

    form = ProviderForm
    list_display = ("name", "kind", "enabled", "switch_reason", "probe_state", "pool_count", "listed_count")
    list_filter = ("enabled", "kind", "probe_state")
    search_fields = ("name", "base_url")
    readonly_fields = (*SWITCH_COLUMNS, "probe_state", "probed_at", "probe_error", "probe_failures")
    actions = (
        switch_action(enabled=True),
        switch_action(enabled=False),
        discover_models,
        check_connections,
    )
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "credential", "remove_credential")}),
        ("Models", {"fields": ("configured_models",)}),
        (
            "Limits",
            {
                "classes": ("collapse",),
                "fields": (
                    "connect_timeout_s",
                    "first_byte_timeout_s",
                    "idle_timeout_s",
                    "total_timeout_s",
                    "max_in_flight",
                    "options",
                ),
            },
        ),
        ("Switch", {"fields": SWITCH_COLUMNS}),
        ("Discovery", {"fields": ("probe_state", "probed_at", "probe_error", "probe_failures")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        """With the counts of the list."""
        return queries.providers()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A name is given once."""
        return (*self.readonly_fields, "name") if obj else self.readonly_fields

    @admin.display(description="pools", ordering="pool_count")
    def pool_count(self, row: Any) -> int:
        """How many pools use it."""
        return int(row.pool_count)

    @admin.display(description="models", ordering="listed_count")
    def listed_count(self, row: Any) -> int:
        """How many models discovery lists."""
        return int(row.listed_count)

    def write(self, form: ServiceForm) -> Model:
        """One provider, one revision."""
        name = form.cleaned_data.get("name") or form.instance.name
        return services.save_provider(name=name, values=form.values(), **form.how())

    def remove(self, obj: Provider, how: services.How) -> None:
        """Refused while something uses it."""
        services.delete_provider(name=obj.name, **how)

    def users(self, obj: Provider) -> list[str]:
        """Pools and aliases."""
        return queries.users_of_provider(obj.name)


class PoolForm(ServiceForm):
    """A pool; its candidates come with the inline."""

    waits_for_inlines = True
    failover_on_statuses = StatusesField(required=False, help_text="For example 429, 503.")


class CandidateFormSet(BaseInlineFormSet):  # type: ignore[type-arg]  # Django's base is generic in stubs only
    """All candidates of a pool, written with it."""

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

    def clean(self) -> None:
        """Let the service look at the pool as a whole."""
        super().clean()
        form: ServiceForm = self.instance.admin_form
        if any(self.errors) or form.errors:
            return
        form.rehearse(lambda: _write_pool(form, self.candidates()))
        if form.errors:
            raise ValidationError([text for texts in form.errors.values() for text in texts])


class CandidateInline(admin.TabularInline):  # type: ignore[type-arg]  # Django's base is generic in stubs only
    """The candidates of a pool."""

    model = PoolCandidate
    formset = CandidateFormSet
    fields = ("provider", "model", "priority", "weight", "enabled", "switch_reason", "switch_expires_at")
    readonly_fields = ("switch_reason", "switch_expires_at")
    autocomplete_fields = ("provider",)
    extra = 0
    min_num = 1


@admin.register(ModelPool)
class ModelPoolAdmin(ServiceAdmin):
    """Canonical models with their candidates."""

    form = PoolForm
    inlines = (CandidateInline,)
    list_display = ("canonical_model", "enabled", "switch_reason", "strategy", "candidate_count")
    list_filter = ("enabled", "strategy")
    search_fields = ("canonical_model", "candidates__model", "candidates__provider__name")
    readonly_fields = (*SWITCH_COLUMNS, "effective_candidate", "blocked")
    actions = (switch_action(enabled=True), switch_action(enabled=False))
    fieldsets = (
        (None, {"fields": ("canonical_model", "description")}),
        ("State", {"fields": ("effective_candidate", "blocked", *SWITCH_COLUMNS)}),
        ("Policy", {"fields": queries.POLICY_FIELDS, "description": "Empty: as in the routing defaults."}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelPool]:
        """With the count of the list."""
        return ModelPool.objects.annotate(candidate_count=Count("candidates")).order_by("canonical_model")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A name is given once."""
        return (*self.readonly_fields, "canonical_model") if obj else self.readonly_fields

    @admin.display(description="candidates", ordering="candidate_count")
    def candidate_count(self, row: Any) -> int:
        """How many candidates it has."""
        return int(row.candidate_count)

    @admin.display(description="effective candidate")
    def effective_candidate(self, row: ModelPool) -> str:
        """What comes first by configuration and discovery; live failures are on the dashboard."""
        table = snapshot.load()
        if row.canonical_model not in table.pools:
            return "–"
        made = plan(table, NO_HEALTH, RouteRequest(row.canonical_model), now=time.time())
        first = decide(made, decision_id="", ticket=0).effective_candidate
        return first.selector if first else "none: every candidate is blocked"

    @admin.display(description="blocked candidates")
    def blocked(self, row: ModelPool) -> str:
        """Every blocked candidate with all its reasons."""
        table = snapshot.load()
        pool = table.pools.get(row.canonical_model)
        if pool is None:
            return "–"
        states = evaluate(pool, table, NO_HEALTH, now=time.time()).states
        lines = [
            (state.candidate.selector, " ".join(note.message for note in state.reasons))
            for state in states
            if not state.selectable
        ]
        return format_html_join("", "<div>{}: {}</div>", lines) or "none"

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


@admin.register(Alias)
class AliasAdmin(ServiceAdmin):
    """Other names."""

    list_display = ("name", "target")
    search_fields = ("name", "target")
    fieldsets = ((None, {"fields": ("name", "target")}),)

    def key_of(self, obj: Alias) -> str:
        """The object's key in the document."""
        return object_key("alias", obj.name)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A name is given once."""
        return ("name",) if obj else ()

    def write(self, form: ServiceForm) -> Model:
        """One alias, one revision."""
        name = form.cleaned_data.get("name") or form.instance.name
        return services.save_alias(name=name, target=form.cleaned_data["target"], **form.how())

    def remove(self, obj: Alias, how: services.How) -> None:
        """Nothing stands in the way."""
        services.delete_alias(name=obj.name, **how)


class DefaultsForm(ServiceForm):
    """The policy of all pools."""

    failover_on_statuses = StatusesField(required=False, help_text="For example 429, 503.")


@admin.register(RoutingDefaults)
class RoutingDefaultsAdmin(ServiceAdmin):
    """The one row of defaults."""

    form = DefaultsForm
    fieldsets = (
        (None, {"fields": ("configured_provider_models_mode",)}),
        ("Policy", {"fields": queries.POLICY_FIELDS, "description": "Empty: the built-in default."}),
    )

    def key_of(self, obj: RoutingDefaults) -> str:
        """The object's key in the document."""
        return "defaults"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Once."""
        return super().has_add_permission(request) and not RoutingDefaults.objects.exists()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: empty values are the built-in defaults."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is one row: go to it."""
        if RoutingDefaults.objects.exists():
            return HttpResponseRedirect(reverse("admin:routing_routingdefaults_change", args=[1]))
        return super().changelist_view(request, extra_context)

    def write(self, form: ServiceForm) -> Model:
        """One row, one revision."""
        return services.save_defaults(values=form.values(), **form.how())
