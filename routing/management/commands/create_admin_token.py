"""``create_admin_token``: a token for the admin API, shown once."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from routing import services
from routing.management.operator import named, operator

SHOWN = """Created the {sort} token "{name}" (id {id}). It is shown only now:

  {key}

Try it:  curl http://{bind}/admin/routing/model-pools -H 'Authorization: Bearer {key}'
Revoke it:  manage.py revoke_api_key --admin {id}"""


class Command(BaseCommand):
    help = "Create a token for the admin API and print it once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="whose token it is, for people")
        parser.add_argument("--read-only", action="store_true", help="it may look and explain, not change")
        parser.add_argument("--json", action="store_true", help='print {"id", "name", "key"}')

    def handle(self, *args: Any, **options: Any) -> None:
        values = {"name": options["name"], "read_only": options["read_only"]}
        try:
            row, key = services.create_admin_token(values=values, actor=operator(), source="command")
        except services.ServiceError as error:
            raise CommandError(named(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({"id": row.pk, "name": row.name, "key": key}))
            return
        sort = "read-only admin" if row.read_only else "admin"
        shown = SHOWN.format(sort=sort, id=row.pk, name=row.name, key=key, bind=settings.GATEWAY_BIND)
        self.stdout.write(shown)
