"""``revoke_api_key``: refuse a client key, or with ``--admin`` an admin token, from now on."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing import services
from routing.management.operator import operator


class Command(BaseCommand):
    help = (
        "Revoke a client key by its id (see list_api_keys). Its row stays, so that records keep their owner."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int, help="the number that list_api_keys shows")
        parser.add_argument("--admin", action="store_true", help="revoke an admin token instead")

    def handle(self, *args: Any, **options: Any) -> None:
        number, admin = options["id"], options["admin"]
        try:
            if admin:
                name = services.revoke_admin_token(token_id=number, actor=operator(), source="command").name
            else:
                name = services.revoke_client_key(key_id=number, actor=operator(), source="command").name
        except services.NotFound as error:
            flag = " --admin" if admin else ""
            raise CommandError(
                f"{error.message} To see what there is:  manage.py list_api_keys{flag}"
            ) from error
        except services.ServiceError as error:
            raise CommandError(error.message) from error
        sort = "admin token" if admin else "client key"
        self.stdout.write(f'Revoked the {sort} "{name}" (id {number}): it is refused from now on.')
