"""The pages of client keys and admin tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest

from routing import services
from routing.admin.base import ServiceAdmin, ServiceForm
from routing.admin.fields import LinesField
from routing.document import object_key
from routing.models import AdminToken, ClientKey


class KeyAdmin(ServiceAdmin):
    """What client keys and admin tokens share: shown once, then never again; revoked, not deleted."""

    list_filter = ("enabled",)
    search_fields = ("name", "prefix")
    readonly_fields = ("prefix", "created_at", "created_by")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: a revoked key keeps its row, so that records keep their owner."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Write, and show a new key once."""
        row: Any = self.write(form)
        obj.pk, obj.prefix = row.pk, row.prefix
        secret = getattr(form, "secret", "")
        if secret:
            text = f"Copy the key now, it is not shown again: {secret}"
            self.message_user(request, text, messages.WARNING)


class ClientKeyForm(ServiceForm):
    """A client key."""

    models = LinesField(required=False, help_text="Names, one per line, a trailing * allowed; empty: all.")
    secret = ""


@admin.register(ClientKey)
class ClientKeyAdmin(KeyAdmin):
    """Keys for /v1."""

    form = ClientKeyForm
    list_display = ("name", "prefix", "user_path", "enabled", "expires_at", "created_at")
    fieldsets = (
        (None, {"fields": ("name", "user_path", "models", "enabled", "expires_at")}),
        ("Made", {"fields": ("prefix", "created_at", "created_by")}),
    )

    def key_of(self, obj: ClientKey) -> str:
        """The object's key in the document."""
        return object_key("client_key", str(obj.pk))

    def write(self, form: Any) -> Model:
        """One key, one revision."""
        if form.instance.pk:
            return services.update_client_key(key_id=form.instance.pk, values=form.values(), **form.how())
        row, form.secret = services.create_client_key(values=form.values(), **form.how())
        return row


class AdminTokenForm(ServiceForm):
    """An admin token."""

    secret = ""


@admin.register(AdminToken)
class AdminTokenAdmin(KeyAdmin):
    """Tokens for /admin."""

    form = AdminTokenForm
    list_display = ("name", "prefix", "read_only", "enabled", "expires_at", "created_at")
    fieldsets = (
        (None, {"fields": ("name", "read_only", "enabled", "expires_at")}),
        ("Made", {"fields": ("prefix", "created_at", "created_by")}),
    )

    def key_of(self, obj: AdminToken) -> str:
        """The object's key in the document."""
        return object_key("admin_token", str(obj.pk))

    def write(self, form: Any) -> Model:
        """One token, one revision."""
        if form.instance.pk:
            return services.update_admin_token(token_id=form.instance.pk, values=form.values(), **form.how())
        row, form.secret = services.create_admin_token(values=form.values(), **form.how())
        return row
