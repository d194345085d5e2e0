"""Encrypt stored provider keys anew with the first of GATEWAY_ENCRYPTION_KEYS."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing import services
from routing.credentials import CredentialError, new_encryption_key


class Command(BaseCommand):
    help = (
        "Encrypts every stored provider key anew with the first of GATEWAY_ENCRYPTION_KEYS. To rotate: put a "
        "new key first, restart, run this, then drop the old key. --new-key prints a fresh key, nothing else."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--new-key", action="store_true", help="print a fresh key and stop")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["new_key"]:
            self.stdout.write(new_encryption_key())
            return
        try:
            count = services.rotate_encryption()
        except CredentialError as error:
            raise CommandError(f"Nothing was changed. {error}") from error
        self.stdout.write(f"Encrypted anew: {count}.")
