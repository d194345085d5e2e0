"""``demo_provider``: the demo's fake vendors as a process of their own."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from proxying import demo, demo_server


class Command(BaseCommand):
    help = "Run the demo's fake vendors on 127.0.0.1. POST /__demo switches how one behaves."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8090, help="where they listen (8090)")

    def handle(self, *args: Any, **options: Any) -> None:
        port = options["port"]
        self.stdout.write(f"Demo vendors {', '.join(demo.VENDORS)} on http://127.0.0.1:{port}/NAME/v1")
        try:
            asyncio.run(demo_server.serve(port))
        except OverflowError as problem:
            raise CommandError(f"--port takes a number up to 65535, not {port}.") from problem
        except OSError as problem:
            raise CommandError(
                f"Port {port} of 127.0.0.1 cannot be used ({problem.strerror}); choose another with --port."
            ) from problem
