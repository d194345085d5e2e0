"""Makes a database ready for the demo: tables, configuration, an operator, a client key. Safe to repeat."""

from __future__ import annotations

import io
import json
import secrets
import socket
from pathlib import Path
from typing import Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection

from proxying import demo, demo_state
from proxying.demo_state import DemoState
from routing.keys import key_digest
from routing.models import ClientKey, Provider

OPERATOR: Final = "operator"


def prepare() -> DemoState:
    """Make everything that is missing; answer what the newcomer needs to know.

    Raises:
        CommandError: the settings point at a database that is not a demo's.
    """
    if not uses_sqlite():
        raise CommandError(
            "The demo keeps to its own SQLite file, and DATABASE_URL names another database. "
            "Unset it, or start the gateway itself: manage.py serve"
        )
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    state = demo_state.read()
    state.provider_port = free_port(state.provider_port)
    load_configuration(state.provider_port)
    state.password = operator_password(state.password)
    state.client_key = client_key(state.client_key)
    demo_state.write(state)
    return state


def uses_sqlite() -> bool:
    """Whether the settings name a SQLite file: a demo writes to nothing else."""
    return connection.vendor == "sqlite"


def is_free(host: str, port: int) -> bool:
    """Whether this address can be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(wanted: int) -> int:
    """The wanted port of 127.0.0.1, or another when it is taken."""
    if is_free("127.0.0.1", wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def load_configuration(port: int) -> None:
    """Import the demo's configuration, unless it is there: what the operator changed since stays."""
    base_urls = dict(Provider.objects.filter(name__in=demo.VENDORS).values_list("name", "base_url"))
    if base_urls == {name: f"http://127.0.0.1:{port}/{name}/v1" for name in demo.VENDORS}:
        return
    path = Path(settings.VAR_DIR) / "demo.yaml"
    path.write_text(demo.configuration(port))
    call_command("import_config", str(path), stdout=io.StringIO())


def operator_password(known: str) -> str:
    """The operator's password: made with the operator; empty when somebody has changed it since."""
    users = get_user_model().objects
    operator = users.filter(username=OPERATOR).first()
    if operator is None:
        password = secrets.token_urlsafe(9)
        users.create_superuser(username=OPERATOR, email="", password=password)
        return password
    return known if known and operator.check_password(known) else ""


def client_key(known: str) -> str:
    """The demo's client key: the one of the last run while it is valid, else a new one."""
    if known and ClientKey.objects.filter(digest=key_digest(known).hex(), enabled=True).exists():
        return known
    printed = io.StringIO()
    call_command("create_api_key", "demo", "--json", stdout=printed)
    return str(json.loads(printed.getvalue())["key"])
