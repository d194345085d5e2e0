"""What the tables' names are asked before they are saved; the rest is asked by the services."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from routing import refusals


def provider_name(value: str) -> None:
    """A provider is called as it can stand in addresses and exact names.

    Raises:
        ValidationError: it is not.
    """
    _refuse(refusals.provider_name(value))


def name(value: str) -> None:
    """A model, a pool or an alias: one line, trimmed.

    Raises:
        ValidationError: it is not.
    """
    _refuse(refusals.names([value]))


def target(value: str) -> None:
    """What an alias leads to: a name, or two with a slash between.

    Raises:
        ValidationError: it is neither.
    """
    _refuse(refusals.line(value, 400))


def _refuse(problem: str) -> None:
    if problem:
        raise ValidationError(refusals.sentence(problem))
