"""``import_config``: make the configuration as a file says, in one transaction and one revision."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing import queries, services
from routing.config_file import ConfigFile, parse
from routing.config_plan import lines, plan
from routing.config_surroundings import surroundings
from routing.management.operator import operator


class Command(BaseCommand):
    help = "Import a configuration file (docs/configuration.md). Nothing is written when it has a problem."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the YAML file, or - for standard input")
        parser.add_argument("--dry-run", action="store_true", help="print what would change, write nothing")
        parser.add_argument(
            "--check",
            action="store_true",
            help="print what differs, write nothing, exit 1 when something does",
        )
        parser.add_argument("--prune", action="store_true", help="also delete what the file does not have")
        parser.add_argument(
            "--confirm",
            metavar="POOL",
            action="append",
            default=[],
            help="allow that this pool is left without a candidate that is switched on; may be repeated",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name, prune = options["file"], options["prune"]
        revision, current = queries.head_revision(), queries.read_document()
        file = parse(read_source(name), surroundings(current=current, prune=prune))
        for warning in file.warnings:
            self.stderr.write(f"warning: {warning}")
        refuse_problems(name, file)
        planned = plan(current, file.objects, prune=prune)
        applied = write(
            {
                "desired": planned.desired,
                "prune": prune,
                "secrets": file.secrets,
                "confirm": options["confirm"],
                "expected_revision": revision,
                "dry_run": options["dry_run"] or options["check"],
                "reason": "" if name == "-" else f"Import of {Path(name).name}",
            }
        )
        for line in lines(applied.changes, planned.kept):
            self.stdout.write(line)
        count = len(applied.changes)
        if options["check"]:
            self.finish_check(name, count + len(planned.missing))
        elif options["dry_run"]:
            asked = [pool for pool in applied.emptied if pool not in options["confirm"]]
            self.finish_dry_run(count, asked)
        elif count:
            self.stdout.write(f"Imported {name}: {counted(count, 'change')}, revision {applied.revision}.")
        else:
            self.stdout.write(f"Nothing to change: revision {applied.revision} is what the file says.")

    def finish_check(self, name: str, differences: int) -> None:
        """Exit 1 when file and database differ."""
        if differences:
            raise CommandError(
                f"{name} and the database differ in {counted(differences, 'place')}. To make the database as "
                f"the file says: manage.py import_config {name} (with --prune also what is kept goes)."
            )
        self.stdout.write(f"{name} and the database agree.")

    def finish_dry_run(self, count: int, pools: Sequence[str]) -> None:
        """Say what the real import would ask for."""
        if pools:
            flags = " ".join(f"--confirm {pool}" for pool in pools)
            self.stderr.write(
                f"warning: this leaves no candidate switched on in {', '.join(pools)}; to import add {flags}"
            )
        self.stdout.write(f"Dry run: {counted(count, 'change')} to make, nothing was written.")


def read_source(name: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror or error}.") from error


def refuse_problems(name: str, file: ConfigFile) -> None:
    """Stop with all problems at once."""
    if file.problems:
        problems = "\n".join(f"  {problem}" for problem in file.problems)
        raise CommandError(
            f"{name} has {counted(len(file.problems), 'problem')}; nothing was written.\n{problems}\n"
            "The format is described in docs/configuration.md."
        )


def write(arguments: Mapping[str, Any]) -> services.Applied:
    """Call the service, and say what to do when it refuses."""
    try:
        return services.apply_document(**arguments, actor=operator(), source="import")
    except services.WouldEmptyPool as error:
        flags = " ".join(f"--confirm {pool}" for pool in error.pools)
        raise CommandError(
            f"Nothing was written: this would leave no candidate switched on in {', '.join(error.pools)}. "
            f"If that is meant, run it again with {flags}."
        ) from error
    except services.ServiceError as error:
        raise CommandError(f"Nothing was written. {error.message}") from error


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
