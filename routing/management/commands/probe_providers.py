"""``probe_providers``: model discovery now, and what it found as a table."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing import live, probes, snapshot
from routing.management.commands.list_api_keys import aligned
from routing.provider_status import provider_status
from routing.resolver import Resolver
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
        rows = described(found)
        if options["json"]:
            self.stdout.write(json.dumps(rows))
        elif rows:
            head = ["PROVIDER", "KIND", "RESULT", "MODELS", "MS", "STATUS", "MESSAGE"]
            for line in aligned([head, *([str(value) for value in row.values()] for row in rows)]):
                self.stdout.write(line)
        else:
            self.stdout.write("There are no providers yet.")
        failed = sum(row["result"] == DiscoveryState.FAILED for row in rows)
        if failed:
            raise CommandError(f"{failed} of {len(rows)} failed.")


def described(found: list[probes.Probe]) -> list[dict[str, Any]]:
    """One row for each provider, with the status that routing gives it now."""
    report = live.ask(Resolver.health_report)
    table = snapshot.load()
    rows = []
    for probe in found:
        name = probe.provider.name
        models: int | str = (
            len(probe.result.models) if probe.outcome == DiscoveryState.OK and probe.result else "-"
        )
        rows.append(
            {
                "provider": name,
                "kind": probe.provider.kind,
                "result": probe.outcome,
                "models": models,
                "latency_ms": "-" if probe.latency_ms is None else round(probe.latency_ms),
                "status": provider_status(table.providers.get(name, probe.provider), report)["status"],
                "message": probe.message,
            }
        )
    return rows
