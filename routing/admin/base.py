"""What the admin pages share: a form collects everything, one service writes it or says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from routing import queries, services
from routing.admin.diffs import diff_html
from routing.document import from_json
from routing.models import RoutingRevision
from routing.services.switches import document_key

WRITING_FIELDS = ("change_reason", "confirm", "expected_revision")


class ServiceForm(forms.ModelForm):  # type: ignore[type-arg]  # the model is named by each form's Meta
    """A form whose values go to a service. ``actor`` and ``write`` are set by the admin page."""

    actor: ClassVar[services.Actor]
    write: ClassVar[Callable[..., Model]]
    waits_for_inlines: ClassVar[bool] = False

    change_reason = forms.CharField(
        label="Reason", required=False, max_length=500, help_text="Kept with the revision."
    )
    confirm = forms.BooleanField(
        label="Leave pools empty",
        required=False,
        help_text="Only needed when this leaves a model pool without a candidate that is switched on.",
    )
    expected_revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["expected_revision"].initial = queries.head_revision()
        self.instance.admin_form = self  # where the inlines find the values of this form

    def how(self) -> services.How:
        """Who writes, why, and seen from which revision."""
        return {
            "actor": self.actor,
            "source": "admin",
            "reason": self.cleaned_data.get("change_reason", ""),
            "confirm": self.cleaned_data.get("confirm", False),
            "expected_revision": self.cleaned_data.get("expected_revision"),
        }

    def values(self) -> dict[str, Any]:
        """What the form says of the object itself."""
        return {name: value for name, value in self.cleaned_data.items() if name not in WRITING_FIELDS}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # not in the stubs
        if not self.errors and not self.waits_for_inlines:
            self.rehearse(lambda: type(self).write(self))

    def rehearse(self, step: Callable[[], object]) -> None:
        """Let the service check everything, and take it back; refusals become errors of this form."""
        try:
            with transaction.atomic():
                step()
                transaction.set_rollback(True)
        except services.Invalid as error:
            for name, texts in (error.errors or {"": [error.message]}).items():
                self.add_error(name if name in self.fields else None, list(texts))
        except services.ServiceError as error:
            self.add_error("confirm" if error.param == "confirm" else None, error.message)


class ServiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # one base for several models
    """An admin page over services. Subclasses say how to write and delete."""

    form = ServiceForm
    save_on_top = True

    class Media:
        css: ClassVar = {"all": ["routing/admin.css"]}

    def key_of(self, obj: Any) -> str:
        """The object's key in the document."""
        return document_key(obj)

    def write(self, form: ServiceForm) -> Model:
        """Call the one service that saves what the form says."""
        raise NotImplementedError

    def remove(self, obj: Any, how: services.How) -> None:
        """Call the service that deletes."""
        raise NotImplementedError

    def users(self, obj: Any) -> list[str]:
        """What stands in the way of deleting."""
        return []

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """A form class for this request, that knows who asks and how to write."""
        form = super().get_form(request, obj, change, **kwargs)
        form.actor = actor(request)  # type: ignore[attr-defined]
        form.write = staticmethod(self.write)  # type: ignore[attr-defined]
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the fields of writing for those who may only look."""
        return [*super().get_fieldsets(request, obj), *self.writing_fieldsets(request, obj)]

    def writing_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """The fields of writing, for those who may."""
        may_write = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        return [("This change", {"fields": list(WRITING_FIELDS)})] if may_write else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Write through the service."""
        obj.pk = self.write(form).pk

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        """Everything was written with the object."""

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        self.remove(obj, {"actor": actor(request), "source": "admin"})

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete one by one, each a revision of its own."""
        with transaction.atomic():
            for obj in queryset:
                self.delete_model(request, obj)

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> Any:
        """What goes, and what stands in the way; not the hundreds of rows of an inventory."""
        found = list(objs)
        missing = set()
        if not self.has_delete_permission(request):
            missing.add(self.opts.verbose_name)
        in_use = [f"{obj} is used by {user}" for obj in found for user in self.users(obj)]
        counts = {self.opts.verbose_name_plural: len(found)}
        return [str(obj) for obj in found], counts, missing, in_use

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: the revision says it."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: the revision says it."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Nothing: the revision says it."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The revisions that touched this object, newest first."""
        obj = self.get_object(request, object_id)
        if obj is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        if not self.has_view_or_change_permission(request, obj):
            raise PermissionDenied
        key = self.key_of(obj)
        within = key.replace("pool/", "candidate/", 1) + "/" if key.startswith("pool/") else ""
        found = self.get_paginator(request, queries.revisions_of(queries.revisions(), key, within=within), 50)
        page = found.get_page(request.GET.get("p"))
        rows = [(revision, _changes(revision, key, within)) for revision in page]
        context = {
            **self.admin_site.each_context(request),
            "title": f"History: {obj}",
            "opts": self.opts,
            "object": obj,
            "rows": rows,
            "page": page,
            "media": self.media,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/routing/history.html", context)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # one base for several models
    """A table that is shown and never edited here."""

    change_form_template = "admin/routing/shown_form.html"

    class Media:
        css: ClassVar = {"all": ["routing/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False


class SwitchForm(forms.Form):
    """What the page of a switch asks."""

    reason = forms.CharField(max_length=500, required=False)
    minutes = forms.IntegerField(
        min_value=1, max_value=5_000_000, required=False, help_text="Empty: until someone changes it."
    )
    confirm = forms.BooleanField(required=False, label="Leave pools empty")


def switch_action(*, enabled: bool) -> Callable[..., HttpResponse | None]:
    """An admin action that switches the chosen rows on or off, after a page that asks why."""
    word = "enable" if enabled else "disable"

    @admin.action(description=f"{word.capitalize()} the selected…", permissions=["change"])
    def act(page: ServiceAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        form = SwitchForm(request.POST if "apply" in request.POST else None)
        if form.is_bound and form.is_valid() and _switch_all(page, request, queryset, form, enabled):
            return None
        context = {
            **page.admin_site.each_context(request),
            "title": f"{word.capitalize()} {page.opts.verbose_name_plural}",
            "opts": page.opts,
            "rows": queryset,
            "form": form,
            "media": page.media,
            "action": f"switch_{'on' if enabled else 'off'}",
        }
        return TemplateResponse(request, "admin/routing/switch.html", context)

    act.__name__ = f"switch_{'on' if enabled else 'off'}"
    return act


def _switch_all(
    page: ServiceAdmin, request: HttpRequest, queryset: QuerySet[Any], form: SwitchForm, enabled: bool
) -> bool:
    minutes = form.cleaned_data["minutes"]
    try:
        with transaction.atomic():
            for row in queryset:
                services.set_switch(
                    target=services.SwitchTarget.from_key(services.switch_key(row)),
                    enabled=enabled,
                    expires_in_s=minutes * 60 if minutes else None,
                    actor=actor(request),
                    source="admin",
                    reason=form.cleaned_data["reason"],
                    confirm=form.cleaned_data["confirm"],
                )
    except services.ServiceError as error:
        form.add_error("confirm" if error.param == "confirm" else None, error.message)
        return False
    names = ", ".join(str(row) for row in queryset)
    page.message_user(request, f"{'Enabled' if enabled else 'Disabled'} {names}.", messages.SUCCESS)
    return True


def actor(request: HttpRequest) -> services.Actor:
    """Who is logged in."""
    return services.Actor(request.user.get_username())


def _changes(revision: RoutingRevision, key: str, within: str) -> SafeString:
    return diff_html(
        change
        for change in from_json(revision.changes)
        if change.object == key or (within and change.object.startswith(within))
    )
