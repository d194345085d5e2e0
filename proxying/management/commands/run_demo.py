"""``run_demo``: what `make run` runs. The gateway and the demo's fake vendors, ready to be asked."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from proxying import demo_processes, demo_setup
from proxying.demo_state import DemoState

BANNER = """
Sluice is running on {url}

  Dashboard    {url}/
  Log in as    {operator}, password: {password}
  Client key   {key}

Ask the pool "demo-chat" (the first candidate that works):

  curl -i {url}/v1/chat/completions \\
    -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"model": "demo-chat", "messages": [{{"role": "user", "content": "Hello"}}]}}'

Make its first provider fail, ask again, and see who answers; then mend it (in another terminal):

  .venv/bin/python manage.py demo break demo-primary
  .venv/bin/python manage.py demo heal demo-primary

The pool "demo-balanced" shares its requests 3 : 2 : 1 among three providers. Ctrl-C stops everything.
"""


class Command(BaseCommand):
    help = "Run a demo on this machine: the gateway, three fake vendors, an operator and a client key."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default=settings.GATEWAY_BIND, help="address and port of the gateway")

    def handle(self, *args: Any, **options: Any) -> None:
        bind: str = options["bind"]
        host, _, port = bind.rpartition(":")
        if not port.isdigit():
            raise CommandError("--bind takes an address and a port, such as 127.0.0.1:8000.")
        if not demo_setup.is_free(host.strip("[]"), int(port)):
            raise CommandError(
                f"{bind} is already in use. Stop what listens there, or take another port: "
                "make run ARGS='--bind 127.0.0.1:8001'"
            )
        self.stdout.write("Preparing the demo ...")
        self.stdout.flush()
        state = demo_setup.prepare()
        try:
            asyncio.run(
                demo_processes.run(
                    commands(bind, state), f"http://{bind}/health/ready", lambda: self.announce(bind, state)
                )
            )
        except demo_processes.EndedError as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write("Stopped.")

    def announce(self, bind: str, state: DemoState) -> None:
        """Print what a newcomer needs."""
        self.stdout.write(
            BANNER.format(
                url=f"http://{bind}",
                operator=demo_setup.OPERATOR,
                password=state.password or "the one you set",
                key=state.client_key,
            )
        )
        self.stdout.flush()


def commands(bind: str, state: DemoState) -> dict[str, list[str]]:
    """The demo's processes, in the order of their start."""
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    return {
        "The demo provider": [*manage, "demo_provider", "--port", str(state.provider_port)],
        # Log lines for people; `env` because the settings alone read the environment.
        "The gateway": ["env", "GATEWAY_LOG_FORMAT=text", *manage, "serve", "--bind", bind],
    }
