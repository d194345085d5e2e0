"""Changes of a revision as HTML: one line each, what was and what is told apart by more than colour."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from routing.document import Change
from routing.summary import change_text, field_text, object_text, value_text


def diff_html(changes: Iterable[Change]) -> SafeString:
    """All changes, in their order."""
    return mark_safe("".join(_line(change) for change in changes))  # noqa: S308 - each line is escaped


def _line(change: Change) -> SafeString:
    if change.field == "*":
        css = "removed" if change.after is None else "added"
        fields = change.before if change.after is None else change.after
        said = ", ".join(
            f"{name}={value_text(value)}"
            for name, value in sorted((fields or {}).items())
            if value not in (None, "", [], {}) and not name.startswith("switch_") and name != "enabled"
        )
        more = format_html(" <small>({})</small>", said) if said else ""
        return format_html('<div class="change change-{}">{}{}</div>', css, change_text(change), more)
    return format_html(
        '<div class="change">~ {}: {} <del class="value">{}</del> → <ins class="value">{}</ins></div>',
        object_text(change.object),
        change.field,
        field_text(change, change.before),
        field_text(change, change.after),
    )
