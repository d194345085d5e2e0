"""Form fields for lists: one name per line, statuses with commas between."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError


class LinesField(forms.CharField):
    """A list of names, one per line."""

    widget = forms.Textarea(attrs={"rows": 4, "cols": 60})

    def prepare_value(self, value: Any) -> Any:
        """Show a stored list as lines."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Take the lines apart; empty ones do not count."""
        if isinstance(value, list):
            return value
        return [line.strip() for line in (value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare as lists."""
        return bool((initial or []) != self.to_python(data))


class StatusesField(forms.CharField):
    """HTTP statuses with commas between; empty: not set."""

    def prepare_value(self, value: Any) -> Any:
        """Show a stored list with commas."""
        return ", ".join(str(status) for status in value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Take the numbers apart; None when there are none."""
        if not value or isinstance(value, list):
            return value or None
        try:
            return [int(part) for part in value.replace(",", " ").split()]
        except ValueError as error:
            raise ValidationError("Give statuses with commas between, for example 429, 503.") from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare as lists; what cannot be read has changed."""
        try:
            return bool((initial or None) != self.to_python(data))
        except ValidationError:
            return True
