"""Form fields: names one per line, statuses with commas between, numbers; refused in the words of all."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from routing import refusals


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
        parts = value.replace(",", " ").split()
        if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
            raise ValidationError(refusals.sentence(refusals.NOT_STATUS))
        return [int(part) for part in parts]

    def validate(self, value: Any) -> None:
        """Refuse what is no status."""
        super().validate(value)
        _refuse(refusals.statuses(value) if value else "")

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare as lists; what cannot be read has changed."""
        try:
            return bool((initial or None) != self.to_python(data))
        except ValidationError:
            return True


class WholeField(forms.IntegerField):
    """A whole number above 0."""

    default_error_messages = {"invalid": refusals.sentence(refusals.NOT_WHOLE)}

    def __init__(self, *, min_value: int | None = None, max_value: int | None = None, **kwargs: Any) -> None:
        # The bounds that Django takes from the column stay out: the rule has its own.
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> Any:
        """The number; Django alone reads ``1_0`` as 10."""
        return super().to_python(_plain(value, self.error_messages["invalid"]))

    def validate(self, value: Any) -> None:
        """Refuse what is out of bounds."""
        super().validate(value)
        _refuse("" if value is None else self.problem(value))

    def problem(self, value: int) -> str:
        """What is wrong with the number."""
        return refusals.whole_number(value)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """Let the arrows of the box begin at 1."""
        return {**super().widget_attrs(widget), "min": 1}


class RankField(WholeField):
    """Priority or weight."""

    def problem(self, value: int) -> str:
        """What is wrong with the rank."""
        return refusals.rank(value)


class WholeSecondsField(WholeField):
    """A whole number of seconds."""

    default_error_messages = {"invalid": refusals.sentence(refusals.NOT_WHOLE_SECONDS)}

    def problem(self, value: int) -> str:
        """What is wrong with the time."""
        return refusals.whole_seconds(value)


class SecondsField(forms.FloatField):
    """A number of seconds, from a millisecond on."""

    default_error_messages = {"invalid": refusals.sentence(refusals.NOT_SECONDS)}

    def to_python(self, value: Any) -> Any:
        """The number; Django alone reads ``1_0`` as 10."""
        return super().to_python(_plain(value, self.error_messages["invalid"]))

    def validate(self, value: Any) -> None:
        """Refuse what is out of bounds."""
        super().validate(value)
        _refuse("" if value is None else refusals.seconds(value))


def _plain(value: Any, refusal: Any) -> Any:
    if isinstance(value, str) and value.strip() and not refusals.is_plain_number(value):
        raise ValidationError(refusal, code="invalid")
    return value


def _refuse(problem: str) -> None:
    if problem:
        raise ValidationError(refusals.sentence(problem))
