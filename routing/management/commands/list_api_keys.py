"""``list_api_keys``: who may send requests, or with ``--admin`` who may use the admin API."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from routing.models import AdminToken, ClientKey, HashedKey
from routing.queries import instant_text


class Command(BaseCommand):
    help = (
        "List the client keys, or with --admin the admin tokens. The keys themselves cannot be shown again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--admin", action="store_true", help="list admin tokens instead")
        parser.add_argument("--json", action="store_true", help="print a JSON array")

    def handle(self, *args: Any, **options: Any) -> None:
        table: type[ClientKey] | type[AdminToken] = AdminToken if options["admin"] else ClientKey
        rows = [describe(row) for row in table._default_manager.order_by("id")]
        if options["json"]:
            self.stdout.write(json.dumps(rows))
        elif rows:
            columns = [name for name in rows[0] if name != "created_by"]
            body = [[shown(row[name]) for name in columns] for row in rows]
            for line in aligned([[name.replace("_", " ").upper() for name in columns], *body]):
                self.stdout.write(line)
        else:
            command = "create_admin_token" if options["admin"] else "create_api_key"
            self.stdout.write(f"There are none yet. Create one:  manage.py {command} NAME")


def describe(row: HashedKey) -> dict[str, Any]:
    """A key without its secret."""
    about: dict[str, Any] = {"id": row.pk, "name": row.name, "prefix": f"{row.prefix}…", "state": state(row)}
    if isinstance(row, ClientKey):
        about |= {"user_path": row.user_path, "models": row.models}
    if isinstance(row, AdminToken):
        about["read_only"] = row.read_only
    return about | {
        "expires_at": instant_text(row.expires_at),
        "created_at": instant_text(row.created_at),
        "created_by": row.created_by,
    }


def state(row: HashedKey) -> str:
    """One word."""
    if not row.enabled:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= timezone.now():
        return "expired"
    return "active"


def shown(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(value) or "all"
    return str(value) if value not in (None, "") else "-"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of a table."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
