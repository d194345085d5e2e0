"""``create_api_key``: a client key for ``/v1``, shown once."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from routing import services
from routing.management.operator import named, operator

SHOWN = """Created the client key "{name}" (id {id}). It is shown only now:

  {key}

Try it:  curl http://{bind}/v1/models -H 'Authorization: Bearer {key}'
Revoke it:  manage.py revoke_api_key {id}"""


class Command(BaseCommand):
    help = "Create a client key for /v1 and print it once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="whose key it is, for people")
        parser.add_argument(
            "--user-path", default="", metavar="/TEAM/A", help="the path its requests count under"
        )
        parser.add_argument(
            "--models",
            nargs="+",
            action="extend",
            default=[],
            metavar="MODEL",
            help="names it may ask for, a trailing * allowed, commas too; without, all",
        )
        parser.add_argument(
            "--expires-at", metavar="TIME", help="ISO 8601 date or time from which it is refused"
        )
        parser.add_argument("--json", action="store_true", help='print {"id", "name", "key"}')

    def handle(self, *args: Any, **options: Any) -> None:
        models = [part.strip() for item in options["models"] for part in item.split(",") if part.strip()]
        values = {
            "name": options["name"],
            "user_path": options["user_path"],
            "models": models,
            "expires_at": expiry(options["expires_at"]),
        }
        try:
            row, key = services.create_client_key(values=values, actor=operator(), source="command")
        except services.ServiceError as error:
            raise CommandError(named(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({"id": row.pk, "name": row.name, "key": key}))
        else:
            shown = SHOWN.format(id=row.pk, name=row.name, key=key, bind=settings.GATEWAY_BIND)
            self.stdout.write(shown)


def expiry(text: str | None) -> datetime | None:
    """An instant in the future; a date is its first moment, a time without zone is local."""
    if text is None:
        return None
    try:
        day = parse_date(text)
        instant = datetime(day.year, day.month, day.day) if day else parse_datetime(text)  # noqa: DTZ001 - below
    except ValueError as error:
        raise CommandError(f"--expires-at: {text} is no date.") from error
    if instant is None:
        raise CommandError("--expires-at takes a date or time such as 2030-01-31 or 2030-01-31T12:00:00Z.")
    if timezone.is_naive(instant):
        instant = timezone.make_aware(instant)
    if instant <= timezone.now():
        raise CommandError(f"--expires-at: {text} has passed already.")
    return instant
