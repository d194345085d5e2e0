"""``probe_providers``: model discovery now, and what it found as a table."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing import probes
from routing.management.commands.list_api_keys import aligned
from routing.types import DiscoveryState


class Command(BaseCommand):
    help = (
        "List the models of all providers that are switched on, or of those named, and keep what they say. "
        "Ends with 1 when one failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="a provider; without names all of them")
        parser.add_argument("--json", action="store_true", help="print a JSON array")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = probes.discover(options["names"] or None)
        except probes.UnknownProviderError as error:
            raise CommandError(str(error)) from error
        rows = probes.described(found)
        if options["json"]:
            self.stdout.write(json.dumps(rows))
        elif rows:
            head = ["PROVIDER", "KIND", "RESULT", "MODELS", "MS", "STATUS", "MESSAGE"]
            for line in aligned([head, *([cell(value) for value in row.values()] for row in rows)]):
                self.stdout.write(line)
        else:
            self.stdout.write("There are no providers yet.")
        failed = sum(row["result"] == DiscoveryState.FAILED for row in rows)
        if failed:
            raise CommandError(f"{failed} of {len(rows)} failed.")


def cell(value: Any) -> str:
    """A value in the table."""
    return "-" if value is None else str(value)
