"""Fields and serializers of the admin API: strict about unknown names, explicit about switches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.utils import html

from routing import refusals

Taken = TypeVar("Taken")

LARGEST_NUMBER: Final = 2**63 - 1
_IGNORED: Final = frozenset({"csrfmiddlewaretoken"})
_IDENTITY: Final = frozenset({"id", "name", "canonical_model"})
_FORM_WORDS: Final = {"true": True, "false": False}


@extend_schema_field(OpenApiTypes.BOOL)
class OnOff(serializers.ChoiceField):
    """A boolean that has to be said: in HTML forms a choice of on and off, never a box.

    The box that nobody ticked would post ``False`` and switch something off that nobody meant.
    """

    default_error_messages = {"invalid_choice": refusals.sentence(refusals.NOT_FLAG)}

    def __init__(self, **kwargs: Any) -> None:
        # Blank is allowed for the form only: its choice begins with neither.
        super().__init__(choices=[(True, "on"), (False, "off")], allow_blank=True, **kwargs)

    def get_value(self, dictionary: Mapping[Any, Any]) -> Any:
        """What the body has; a form's blank choice is nothing said."""
        value = super().get_value(dictionary)
        if html.is_html_input(dictionary) and value == "":
            return None if self.allow_null else serializers.empty
        return value

    def to_internal_value(self, data: Any) -> Any:
        """A JSON boolean; from forms and queries also its word."""
        if isinstance(data, bool):
            return data
        if isinstance(data, str) and html.is_html_input(getattr(self.root, "initial_data", None)):
            word = _FORM_WORDS.get(data.strip().lower())
            if word is not None:
                return word
        return self.fail("invalid_choice", input=data)

    def to_representation(self, value: Any) -> Any:
        """The boolean itself."""
        return value


@extend_schema_field(
    {
        "oneOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "string"}}],
        "description": "true, or the pools that may be left without a candidate.",
    }
)
class Confirm(serializers.Field):  # type: ignore[type-arg]  # two types in, two types out
    """``true``, or the list of pools that may be left without a candidate that is switched on."""

    default_error_messages = {"invalid": "true, or a list of canonical models."}

    def get_value(self, dictionary: Mapping[Any, Any]) -> Any:
        """From a query or a form: the word ``true``, or every pool that is named."""
        if not html.is_html_input(dictionary):
            return super().get_value(dictionary)
        found = [name for name in dictionary.getlist(self.field_name) if name]  # type: ignore[attr-defined]  # a QueryDict
        if not found:
            return serializers.empty
        word = _FORM_WORDS.get(found[0].lower()) if len(found) == 1 else None
        return found if word is None else word

    def to_internal_value(self, data: Any) -> bool | list[str]:
        """The value as services take it."""
        if isinstance(data, bool):
            return data
        if isinstance(data, list) and all(isinstance(name, str) for name in data):
            return data
        return self.fail("invalid")

    def to_representation(self, value: Any) -> Any:
        """The value itself."""
        return value


class PlainNumber(serializers.Field):  # type: ignore[type-arg]  # mixed into fields of several types
    """A number, or one as text in plain digits: DRF alone reads ``true`` as 1.0 and ``1_0`` as 10."""

    def to_internal_value(self, data: Any) -> Any:
        """The number."""
        if isinstance(data, bool) or (isinstance(data, str) and not refusals.is_plain_number(data)):
            self.fail("invalid")
        return super().to_internal_value(data)


class Seconds(PlainNumber, serializers.FloatField):
    """A number of seconds, from a millisecond on; ``most`` is what the place itself allows."""

    default_error_messages = {"invalid": refusals.sentence(refusals.NOT_SECONDS)}

    def __init__(self, *, most: float = refusals.MAX_SECONDS, **kwargs: Any) -> None:
        super().__init__(min_value=0.001, max_value=most, **kwargs)

    def to_internal_value(self, data: Any) -> float:
        """Seconds."""
        value: float = super().to_internal_value(data)
        return _unless(refusals.seconds(value), value)


class Whole(PlainNumber, serializers.IntegerField):
    """A whole number above 0."""

    default_error_messages = {"invalid": refusals.sentence(refusals.NOT_WHOLE)}

    def __init__(self, *, most: int = refusals.MAX_COUNT, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=most, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        """The number."""
        value: int = super().to_internal_value(data)
        return _unless(refusals.whole_number(value, most=self.max_value or value), value)


class WholeSeconds(PlainNumber, serializers.IntegerField):
    """A whole number of seconds."""

    default_error_messages = {"invalid": refusals.sentence(refusals.NOT_WHOLE_SECONDS)}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=refusals.MAX_SECONDS, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        """Seconds."""
        value: int = super().to_internal_value(data)
        return _unless(refusals.whole_seconds(value), value)


class Status(PlainNumber, serializers.IntegerField):
    """An HTTP status."""

    default_error_messages = {"invalid": refusals.sentence(refusals.NOT_STATUS)}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=100, max_value=599, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        """The number."""
        value: int = super().to_internal_value(data)
        return _unless(refusals.status(value), value)


class Word(serializers.ChoiceField):
    """One of a few words; ``what`` is what they say, for example ``strategy``."""

    def __init__(self, words: Iterable[str], what: str, **kwargs: Any) -> None:
        self.words, self.what = tuple(words), what
        super().__init__(choices=self.words, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        """The word."""
        return _unless(refusals.word(data, self.words, self.what), data)


class OptionText(serializers.CharField):
    """The value of a provider's option."""

    default_error_messages = {"invalid": refusals.sentence(refusals.NOT_TEXT)}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_blank=True, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        """The text."""
        value: str = super().to_internal_value(data)
        return _unless(refusals.option(value), value)


def _unless(problem: str, value: Taken) -> Taken:
    if problem:
        raise serializers.ValidationError(refusals.sentence(problem), code="invalid")
    return value


class Strict(serializers.Serializer[Any]):
    """A serializer that refuses names it does not know; what is read-only may come back as it was read."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """What an object is called comes first, also when a subclass names it."""
        fields = super().get_fields()
        return {name: fields[name] for name in sorted(fields, key=lambda name: name not in _IDENTITY)}

    def to_internal_value(self, data: Any) -> Any:
        """Check the names, then the values."""
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields and name not in _IGNORED]
            if unknown:
                raise serializers.ValidationError({str(name): "There is no such field." for name in unknown})
        return super().to_internal_value(data)


class WriteQuery(Strict):
    """How to write, as query parameters: for every write, also those without a body."""

    dry_run = OnOff(required=False, help_text="Answer what it would do, and write nothing.")
    confirm = Confirm(required=False)
    expected_revision = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=LARGEST_NUMBER,
        help_text="The revision that you looked at: 409 when what you touch changed since.",
    )
    reason = serializers.CharField(required=False, max_length=500, allow_blank=True)
    format = serializers.CharField(required=False, help_text="json or api (HTML).")

    def to_internal_value(self, data: Any) -> Any:
        """Refuse ``?dry_run`` and ``?expected_revision=`` without a value: nothing said would write."""
        blank = [name for name in ("dry_run", "confirm", "expected_revision") if data.get(name) == ""]
        if blank:
            raise serializers.ValidationError(
                {name: refusals.sentence(refusals.text("", refusals.MAX_LINE)) for name in blank}
            )
        return super().to_internal_value(data)


class WriteBody(Strict):
    """How to write, as fields of the body."""

    reason = serializers.CharField(
        required=False, write_only=True, max_length=500, allow_blank=True, help_text="Kept with the revision."
    )
    confirm = Confirm(required=False, write_only=True)
    expected_revision = serializers.IntegerField(
        required=False, write_only=True, allow_null=True, min_value=0, max_value=LARGEST_NUMBER
    )
    dry_run = OnOff(required=False, write_only=True)
