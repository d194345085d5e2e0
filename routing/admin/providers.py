"""The pages of providers: what is configured, and how they do."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from routing import queries, services
from routing.admin import marks, standing
from routing.admin.base import ServiceAdmin, ServiceForm, switch_action
from routing.admin.discovery import ask_and_tell, check_connections, discover_models
from routing.admin.fields import LinesField, SecondsField, WholeField
from routing.admin.standing import Standing, StandingList
from routing.kinds import KINDS
from routing.models import ModelPool, Provider, kind_choices

MOST_MODELS_SHOWN = 200
MOST_EVENTS_SHOWN = 10


class ProviderForm(ServiceForm):
    """A provider; its key is write-only."""

    class Meta:
        help_texts: ClassVar = {
            "options": (
                'Settings of the kind, such as {"api_version": "2024-10-21"} or {"region": "eu-west-1"}.'
            )
        }
        field_classes: ClassVar = {
            "connect_timeout_s": SecondsField,
            "first_byte_timeout_s": SecondsField,
            "idle_timeout_s": SecondsField,
            "total_timeout_s": SecondsField,
            "max_in_flight": WholeField,
        }

    kind = forms.ChoiceField(choices=kind_choices)
    configured_models = LinesField(required=False, help_text="One exact upstream id per line.")
    credential = forms.CharField(
        label="Key",
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"}),
    )
    remove_credential = forms.BooleanField(label="Remove the key", required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        state = key_state(self.instance)
        if "credential" in self.fields:
            field = self.fields["credential"]
            keep = f"Now: {state}; leave empty to keep." if state else "Not set."
            field.help_text = f"A key, or a reference such as ${{OPENAI_API_KEY}}. {keep}"
            field.widget.attrs["placeholder"] = state
        if "remove_credential" in self.fields and not state:
            del self.fields["remove_credential"]

    def values(self) -> dict[str, Any]:
        """Without a credential when it is to stay."""
        values = super().values()
        typed, remove = values.pop("credential", ""), values.pop("remove_credential", False)
        if typed or remove:
            values["credential"] = typed
        values.pop("name", None)
        return values


def key_state(row: Provider) -> str:
    """The key as people may see it: the reference, ``set, ends …f3a``, or nothing."""
    text = queries.credential_text(row.credential_ref, row.credential_encrypted, row.credential_hint)
    return f"set, ends {row.credential_hint}" if row.credential_encrypted else text


@admin.register(Provider)
class ProviderAdmin(ServiceAdmin):
    """Upstream accounts."""

    form = ProviderForm
    change_form_template = "admin/routing/provider_form.html"
    list_display = ("named", "status_and_probe", "switch", "pool_count", "listed_count")
    list_filter = ("enabled", "kind", "probe_state")
    search_fields = ("name", "base_url")
    search_help_text = "Name or base URL."
    readonly_fields = (
        "status",
        "switch",
        "circuits",
        "changes",
        "last_probe",
        "key",
        "models",
        "in_flight",
        "used_by",
    )
    actions = (
        switch_action(enabled=True),
        switch_action(enabled=False),
        discover_models,
        check_connections,
    )
    health_fields = (
        "status",
        "switch",
        "circuits",
        "changes",
        "last_probe",
        "in_flight",
        "models",
        "used_by",
    )
    limit_fields = (
        "connect_timeout_s",
        "first_byte_timeout_s",
        "idle_timeout_s",
        "total_timeout_s",
        "max_in_flight",
        "options",
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The health of what is there first; the key's state alone for those who may only look."""
        may_write = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        keys = ("credential", "remove_credential") if may_write else ("key",)
        if may_write and (obj is None or not key_state(obj)):
            keys = ("credential",)
        self_set = obj is not None and any(getattr(obj, name) for name in self.limit_fields)
        sections = [
            (None, {"fields": ("name", "kind", "base_url", *keys, "configured_models")}),
            ("Limits", {"classes": () if self_set else ("collapse",), "fields": self.limit_fields}),
            *self.writing_fieldsets(request, obj),
        ]
        if obj is None:
            return sections
        return [("Health", {"fields": self.health_fields}), *sections]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        """With the counts of the list."""
        return queries.providers()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """A list that knows how its rows stand."""
        return StandingList

    def stand(self, names: list[str]) -> Standing:
        """How these providers do."""
        return standing.providers(names)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row, with how it stands."""
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            row.standing = self.stand([row.name])
            standing.tell_if_stale(request, row.standing)
        return row

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A name is given once."""
        return (*self.readonly_fields, "name") if obj else self.readonly_fields

    def get_urls(self) -> list[URLPattern]:
        """With the two buttons of a provider's page."""
        return [
            path(
                f"<int:pk>/{word}/",
                self.admin_site.admin_view(require_POST(self._button(keep=keep))),
                name=f"routing_provider_{word}",
            )
            for word, keep in (("test", False), ("discover", True))
        ] + super().get_urls()

    def _button(self, *, keep: bool) -> Any:
        def press(request: HttpRequest, pk: int) -> HttpResponse:
            if not self.has_change_permission(request):
                raise PermissionDenied
            rows = Provider.objects.filter(pk=pk)
            if not rows:
                messages.error(request, "This provider is there no more.")
                return HttpResponseRedirect(reverse("admin:routing_provider_changelist"))
            ask_and_tell(request, rows, keep=keep)
            return HttpResponseRedirect(reverse("admin:routing_provider_change", args=[pk]))

        return press

    @admin.display(description="name", ordering="name")
    def named(self, row: Provider) -> SafeString:
        """The name, and what kind of provider it is."""
        kind = KINDS.get(row.kind)
        return format_html("{}{}", row.name, marks.lines([kind.label if kind is not None else row.kind]))

    @admin.display(description="health")
    def status_and_probe(self, row: Any) -> SafeString:
        """The status, and when it was last asked."""
        asked = f"Probed {marks.moment(row.probed_at)}." if row.probed_at else "Not asked yet."
        return format_html("{}{}", self.status(row), marks.lines([asked]))

    @admin.display(description="health")
    def status(self, row: Any) -> SafeString | str:
        """One word, and the evidence."""
        shape = row.standing.of(row.name)
        if "problem" in shape:
            return marks.unusable(shape["problem"])
        if not shape:
            return marks.NOTHING
        said = [shape["status_reason"]] if shape.get("status_reason") and shape["enabled"] else []
        error = shape.get("last_error", "")
        if error and not any(error in text for text in said):
            said.append(error)
        if not said and shape["inventory"]["state"] == "ok":
            said.append(f"The last probe listed {shape['inventory']['discovered']} models.")
        if shape.get("circuits") and shape["status"] == "healthy":
            said.append("See its circuits.")
        return format_html("{}{}", marks.mark(shape["status"]), marks.lines(said))

    @admin.display(description="switch", ordering="enabled")
    def switch(self, row: Provider) -> SafeString:
        """On or off; who, when, why."""
        return marks.switch(row)

    @admin.display(description="circuits")
    def circuits(self, row: Any) -> SafeString | str:
        """Those that are not simply closed, the credential's too."""
        shape = row.standing.of(row.name)
        rows = [
            (
                one["model"],
                marks.mark(one["state"]),
                one["failures"],
                marks.moment(one.get("until")),
                one.get("cause", ""),
            )
            for one in shape.get("circuits", ())
        ]
        key = shape.get("credential", {})
        if key.get("state") in {"missing", "refused", "on_trial"}:
            word = key["state"].replace("_", " ")
            rows.insert(
                0,
                (
                    "the key",
                    marks.toned("bad", word),
                    marks.NOTHING,
                    marks.moment(key.get("until")),
                    key.get("cause", ""),
                ),
            )
        return marks.table(("Model", "State", "Failures", "Until", "Cause"), rows) if rows else "All closed."

    @admin.display(description="last changes")
    def changes(self, row: Any) -> SafeString | str:
        """What happened to its health, the newest first, as far as the worker that answers remembers."""
        if not row.standing.is_live:
            return marks.NOTHING
        rows = [
            (
                marks.moment(one["at"]),
                one.get("model", marks.NOTHING),
                one["event"].replace("_", " "),
                one.get("cause", ""),
                marks.moment(one.get("until")),
            )
            for one in row.standing.events[:MOST_EVENTS_SHOWN]
        ]
        return marks.table(("At", "Model", "Event", "Cause", "Until"), rows) if rows else "None."

    @admin.display(description="last probe", ordering="probed_at")
    def last_probe(self, row: Provider) -> SafeString | str:
        """When it was asked for its models, and what came of it."""
        if row.probed_at is None:
            return "Not asked yet."
        word = {"ok": "ok", "failed": "bad"}.get(row.probe_state, "idle")
        said = []
        if row.probe_error:
            said.append(row.probe_error)
        if row.probe_failures > 1:
            said.append(
                f"{row.probe_failures} failures in a row since {marks.moment(row.probe_first_failed_at)}."
            )
        at = marks.moment(row.probed_at)
        return format_html("{} {}{}", marks.toned(word, row.probe_state), at, marks.lines(said))

    @admin.display(description="key")
    def key(self, row: Provider) -> str:
        """Whether there is one."""
        return key_state(row) or "not set"

    @admin.display(description="in flight")
    def in_flight(self, row: Any) -> str:
        """Calls under way of the worker that answers the page."""
        shape = row.standing.of(row.name)
        if "in_flight" not in shape or not row.standing.is_live:
            return marks.NOTHING
        limit = f" of {shape['max_in_flight']}" if "max_in_flight" in shape else ""
        return f"{shape['in_flight']}{limit}{', at its limit' if shape['busy'] else ''} (in this worker)"

    @admin.display(description="models")
    def models(self, row: Provider) -> SafeString:
        """What is listed and configured, and which of it pools use."""
        listed = set(row.inventory.filter(listed=True).values_list("model", flat=True))
        used: dict[str, list[str]] = {}
        for model, pool in row.candidates.values_list("model", "pool__canonical_model").order_by("model"):
            used.setdefault(model, []).append(pool)
        known = listed | set(row.configured_models)
        everything = sorted(known | used.keys(), key=lambda name: (name not in used, name))
        rows = [
            (
                model,
                _where(model, listed, row, known=bool(known)),
                ", ".join(sorted(used.get(model, ()))) or marks.NOTHING,
            )
            for model in everything[:MOST_MODELS_SHOWN]
        ]
        inventory = reverse("admin:routing_providermodel_changelist")
        return format_html(
            '{} listed, {} used. <a href="{}?provider__id__exact={}">Inventory</a>{}',
            len(listed),
            len(used),
            inventory,
            row.pk,
            marks.table(("Model", "Known from", "Used by"), rows) if rows else "",
        )

    @admin.display(description="used by")
    def used_by(self, row: Provider) -> SafeString | str:
        """The pools and aliases that would miss it."""
        pools = ModelPool.objects.filter(candidates__provider=row).distinct().order_by("canonical_model")
        links = [marks.link("modelpool", pool.pk, f"pool {pool.canonical_model}") for pool in pools]
        others = [name for name in queries.users_of_provider(row.name) if name.startswith("alias ")]
        return marks.lines([*links, *others], css="user") or "Nothing."

    @admin.display(description="pools", ordering="pool_count")
    def pool_count(self, row: Any) -> SafeString | int:
        """How many pools use it, with the way to them."""
        if not row.pool_count:
            return 0
        pools = reverse("admin:routing_modelpool_changelist")
        return format_html(
            '<a href="{}?candidates__provider__id__exact={}">{}</a>', pools, row.pk, row.pool_count
        )

    @admin.display(description="models", ordering="listed_count")
    def listed_count(self, row: Any) -> SafeString | int:
        """How many models discovery lists, with the way to them."""
        if not row.listed_count:
            return 0
        found = reverse("admin:routing_providermodel_changelist")
        return format_html('<a href="{}?provider__id__exact={}">{}</a>', found, row.pk, row.listed_count)

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


def _where(model: str, listed: set[str], row: Provider, *, known: bool) -> SafeString | str:
    found = [
        word
        for word, there in (("discovery", model in listed), ("configuration", model in row.configured_models))
        if there
    ]
    if found:
        return ", ".join(found)
    return marks.toned("bad", "missing") if known else marks.NOTHING
