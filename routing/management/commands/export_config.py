"""``export_config``: the configuration in force as a file that ``import_config`` reads back unchanged."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing import queries
from routing.config_export import render


class Command(BaseCommand):
    help = (
        "Write the configuration as YAML. Stored provider keys, client keys and switches are not part of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", nargs="?", default="-", help="where to write it; without, standard output"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        text = render(queries.read_document())
        if options["file"] == "-":
            self.stdout.write(text, ending="")
            return
        path = Path(options["file"])
        try:
            replace_file(path, text)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror or error}.") from error
        self.stdout.write(f"Wrote revision {queries.head_revision()} to {path}.")


def replace_file(path: Path, text: str) -> None:
    """Write a file whole or not at all; the mode of one that is there stays."""
    with NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False
    ) as file:
        temporary = Path(file.name)
        file.write(text)
    try:
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
