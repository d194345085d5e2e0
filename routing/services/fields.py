"""Laying values over rows: only the columns that are given, checked before they are saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import models

from routing import refusals
from routing.kinds import KINDS
from routing.services.errors import Invalid

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


def save(row: models.Model, *, exclude: Iterable[str] = (), constraints: bool = True) -> None:
    """Validate and save.

    Without ``constraints`` Django does not ask the database about each one, for the caller has asked the same
    by itself; the database refuses the row all the same.

    Raises:
        Invalid: with all that is wrong, by column.
    """
    try:
        row.full_clean(exclude=frozenset(exclude), validate_constraints=constraints)
    except ValidationError as error:
        errors = {name: list(texts) for name, texts in error.message_dict.items()}
        raise invalid(errors) from error
    row.save()


def invalid(errors: Mapping[str, list[str]]) -> Invalid:
    """One error from many; ``__all__`` is the object as a whole. A problem alone is named by ``param``."""
    first = next(iter(errors))
    if [len(texts) for texts in errors.values()] == [1]:
        return Invalid(errors[first][0], param=None if first == "__all__" else first, errors=errors)
    message = " ".join(
        text if name == "__all__" else f"{name}: {text}" for name, texts in errors.items() for text in texts
    )
    return Invalid(message, param=None if first == "__all__" else first, errors=errors)


def check_provider(values: Values) -> None:
    """Kind, base URL, models, options and limits of a provider, all problems at once.

    Raises:
        Invalid: with all that is wrong, by column.
    """
    kind = KINDS.get(values["kind"])
    problems = {
        "kind": "" if kind else refusals.unknown_type(values["kind"], KINDS),
        "base_url": refusals.base_url(values["base_url"]) if values["base_url"] else "",
        "configured_models": refusals.names(values["configured_models"]),
        "options": refusals.options(values["options"]),
    }
    if kind is not None and not values["base_url"] and not kind.default_base_url:
        problems["base_url"] = refusals.no_base_url(kind.name)
    if kind is not None and not problems["options"]:
        address = values["base_url"] or kind.default_base_url
        given = values["options"]
        problems["options"] = refusals.region(kind, address, given) or refusals.choices(given)
    for column in ("connect_timeout_s", "first_byte_timeout_s", "idle_timeout_s", "total_timeout_s"):
        problems[column] = "" if values[column] is None else refusals.seconds(values[column])
    if values["max_in_flight"] is not None:
        problems["max_in_flight"] = refusals.whole_number(values["max_in_flight"])
    refuse(problems)


def check_policy(values: Values) -> None:
    """The policy columns of a pool or of the defaults; null and empty text are "not set".

    Raises:
        Invalid: with all that is wrong, by column.
    """
    refuse(
        {name: rule(values[name]) for name, rule in refusals.POLICY.items() if not _is_unset(values[name])}
    )


def check_rank(values: Values) -> None:
    """Priority and weight of a candidate.

    Raises:
        Invalid: with all that is wrong, by column.
    """
    refuse({name: refusals.rank(values[name]) for name in ("priority", "weight")})


def refuse(problems: Mapping[str, str]) -> None:
    """Refuse what has a problem; an empty one is none.

    Raises:
        Invalid: there is one.
    """
    errors = {name: [refusals.sentence(problem)] for name, problem in problems.items() if problem}
    if errors:
        raise invalid(errors)


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: where a credential would go."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def _is_unset(value: object) -> bool:
    return value is None or value == ""
