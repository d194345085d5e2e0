"""Laying values over rows: only the columns that are given, checked before they are saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import models

from routing.assembly import BadRowError, merge_policy
from routing.config_providers import base_url_problem
from routing.kinds import KINDS
from routing.services.errors import Invalid
from routing.types import PoolPolicy

Values = Mapping[str, Any]


def lay(row: models.Model, values: Values, columns: Iterable[str]) -> None:
    """Set the columns that ``values`` has.

    Raises:
        Invalid: ``values`` has a name that is no column of these.
    """
    known = frozenset(columns)
    for name, value in values.items():
        if name not in known:
            raise Invalid(f"There is no value {name} here.", param=name)
        setattr(row, name, value)


def save(row: models.Model, *, exclude: Iterable[str] = ()) -> None:
    """Validate and save.

    Raises:
        Invalid: with all that is wrong, by column.
    """
    try:
        row.full_clean(exclude=frozenset(exclude))
    except ValidationError as error:
        errors = {name: list(texts) for name, texts in error.message_dict.items()}
        raise invalid(errors) from error
    row.save()


def invalid(errors: Mapping[str, list[str]]) -> Invalid:
    """One error from many; ``__all__`` is the object as a whole."""
    first = next(iter(errors))
    message = " ".join(
        text if name == "__all__" else f"{name}: {text}" for name, texts in errors.items() for text in texts
    )
    return Invalid(message, param=None if first == "__all__" else first, errors=errors)


def check_provider(values: Values) -> None:
    """Kind, base URL, models and options of a provider, all problems at once.

    Raises:
        Invalid: with all that is wrong, by column.
    """
    errors: dict[str, list[str]] = {}
    kind = KINDS.get(values["kind"])
    if kind is None:
        errors["kind"] = [f"Unknown kind {values['kind']!r}; it is one of {', '.join(sorted(KINDS))}."]
    elif not values["base_url"] and not kind.default_base_url:
        errors["base_url"] = [f"It is required for the type {kind.name}."]
    if values["base_url"] and (problem := url_problem(values["base_url"])):
        errors["base_url"] = [problem]
    if not is_names(values["configured_models"]):
        errors["configured_models"] = ["A list of model names without white space around them."]
    if not _is_texts(values["options"]):
        errors["options"] = ["A mapping of names to texts."]
    if errors:
        raise invalid(errors)


def check_policy(values: Values) -> None:
    """The policy columns of a pool or of the defaults.

    Raises:
        Invalid: a value of the wrong type or out of its range.
    """
    for name, value in values.items():
        try:
            merge_policy(PoolPolicy(), {name: value})
        except BadRowError as error:
            raise Invalid(str(error).removeprefix("Its policy cannot be used: "), param=name) from error


def url_problem(url: str) -> str:
    """Why this cannot be a base URL, in the words of the import; or an empty string."""
    problem = base_url_problem(url)
    if not problem and any(character.isspace() for character in url):
        problem = "must not have white space"
    return f"It {problem}." if problem else ""


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: where a credential would go."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def is_names(value: object) -> bool:
    """Whether this is a list of trimmed, non-empty names."""
    return isinstance(value, list) and all(
        isinstance(name, str) and name and name == name.strip() and len(name) <= 300 for name in value
    )


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(text, str) for name, text in value.items()
    )
