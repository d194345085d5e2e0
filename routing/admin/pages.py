"""The pages of aliases and of the routing defaults."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from routing import queries, services
from routing.admin.base import ServiceAdmin, ServiceForm
from routing.admin.policy import PolicyForm
from routing.document import object_key
from routing.models import Alias, RoutingDefaults
from routing.types import PoolPolicy


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


class DefaultsForm(PolicyForm):
    """The policy of all pools."""

    def inherited(self) -> PoolPolicy:
        """What is built in."""
        return PoolPolicy()


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
        if self.has_add_permission(request):
            return HttpResponseRedirect(reverse("admin:routing_routingdefaults_add"))
        return super().changelist_view(request, extra_context)

    def write(self, form: ServiceForm) -> Model:
        """One row, one revision."""
        return services.save_defaults(values=form.values(), **form.how())
