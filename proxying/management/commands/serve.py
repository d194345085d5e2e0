"""``serve``: the gateway under gunicorn, one command for production and the demo."""

from __future__ import annotations

import os
import socket
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from gateway_project.environment import is_bind
from proxying.auth import is_loopback


class Command(BaseCommand):
    help = "Serve the gateway, its API, admin and dashboard with gunicorn."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default=settings.GATEWAY_BIND, help="address and port (GATEWAY_BIND)")
        parser.add_argument(
            "--workers",
            type=int,
            default=settings.GATEWAY_WORKERS,
            help="worker processes (GATEWAY_WORKERS); more than one needs a shared CACHE_URL",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        bind, workers = options["bind"], options["workers"]
        if not is_bind(bind):
            raise CommandError(f"--bind takes an address with a port, such as 127.0.0.1:8000, not {bind!r}.")
        if workers < 1:
            raise CommandError(f"--workers must be at least 1, not {workers}.")
        if settings.GATEWAY_ALLOW_ANONYMOUS and not is_loopback(bind):
            raise CommandError(
                f"GATEWAY_ALLOW_ANONYMOUS is on and {bind} can be reached from other machines: "
                "turn it off and make keys with create_api_key, or bind to 127.0.0.1."
            )
        if workers > 1 and not settings.CACHE_URL:
            raise CommandError(f"{workers} workers need a shared cache: set CACHE_URL, or use one worker.")
        check_database()
        check_port(bind)
        config = settings.BASE_DIR / "gateway_project" / "gunicorn.conf.py"
        arguments = ["--config", str(config), "--chdir", str(settings.BASE_DIR)]
        # The process becomes gunicorn: signals and the exit code are its own. Its script, where there is
        # one: "-m gunicorn" cannot run itself again, as a binary upgrade (SIGUSR2) does.
        script = Path(sys.executable).with_name("gunicorn")
        program = [str(script)] if script.is_file() else ["-m", "gunicorn"]
        command = [sys.executable, *program, *arguments, "--bind", bind, "--workers", str(workers)]
        os.chdir(settings.BASE_DIR)
        os.execv(sys.executable, command)  # noqa: S606


def check_database() -> None:
    """Refuse to start without a database that has every table."""
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as problem:
        raise CommandError(
            f"The database cannot be reached; see DATABASE_URL. It says: {problem}"
        ) from problem
    finally:
        connection.close()
    if missing:
        raise CommandError(f"{len(missing)} migrations are missing: run `python manage.py migrate` first.")


def check_port(bind: str) -> None:
    """Refuse an address that another process has."""
    host, _, port = bind.rpartition(":")
    if bind.startswith("unix:") or not port.isdigit():
        return
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as problem:
            text = f"{bind} cannot be used ({problem.strerror}); choose another with --bind or GATEWAY_BIND."
            raise CommandError(text) from problem
