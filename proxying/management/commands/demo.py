"""``demo break|heal NAME``: make one of the demo's fake vendors fail, and mend it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import httpx
from django.core.management.base import BaseCommand, CommandError

from proxying import demo, demo_state


class Command(BaseCommand):
    help = "Break or heal a fake vendor of the demo that `make run` started."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["break", "heal"])
        parser.add_argument("name", choices=list(demo.VENDORS))
        parser.add_argument("--mode", choices=demo.MODES[1:], default="fail", help="how it is broken (fail)")
        parser.add_argument("--status", type=int, default=503, help="what `fail` answers (503)")
        parser.add_argument("--port", type=int, help="of demo_provider (that of the running demo)")

    def handle(self, *args: Any, **options: Any) -> None:
        mode = options["mode"] if options["action"] == "break" else "ok"
        order = {"provider": options["name"], "mode": mode, "status": options["status"]}
        port = options["port"] or demo_state.read().provider_port
        try:
            answer = httpx.post(f"http://127.0.0.1:{port}/__demo", json=order, trust_env=False)
        except httpx.TransportError as problem:
            raise CommandError(
                f"No demo provider answers on port {port}: is `make run` running?"
            ) from problem
        if answer.status_code != httpx.codes.OK:
            raise CommandError(answer.json()["error"]["message"])
        what = {"ok": "answers again", "fail": f"now fails with {options['status']}"}
        what |= {"slow": "is now slow", "cut": "now breaks off in mid-answer"}
        self.stdout.write(f"{options['name']} {what[mode]}.")
