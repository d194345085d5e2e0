"""The demo's database, and the commands `demo` and `run_demo`."""

from __future__ import annotations

import io
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from proxying import demo, demo_setup, demo_state
from proxying.demo_state import DemoState
from proxying.management.commands.run_demo import commands
from routing.models import Alias, ClientKey, ModelPool, PoolCandidate, Provider, RoutingRevision


@pytest.fixture(autouse=True)
def var_dir(tmp_path: Path, settings) -> Path:
    settings.VAR_DIR = tmp_path
    settings.STATIC_ROOT = tmp_path / "static"
    return tmp_path


@pytest.fixture
def sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo takes SQLite only; the tests themselves may run on PostgreSQL."""
    monkeypatch.setattr(demo_setup, "uses_sqlite", lambda: True)


def taken_port() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


@pytest.mark.django_db
@pytest.mark.usefixtures("sqlite")
def test_prepare_makes_pools_operator_and_key() -> None:
    state = demo_setup.prepare()
    assert [row.canonical_model for row in ModelPool.objects.all()] == ["demo-balanced", "demo-chat"]
    assert list(Alias.objects.values_list("name", "target")) == [("assistant", "demo-chat")]
    weights = PoolCandidate.objects.filter(pool__canonical_model="demo-balanced")
    assert dict(weights.values_list("provider__name", "weight")) == {
        "demo-primary": 3,
        "demo-backup": 2,
        "demo-economy": 1,
    }
    operator = get_user_model().objects.get(username="operator")
    assert operator.is_superuser
    assert operator.check_password(state.password)
    assert ClientKey.objects.get().user_path == ""
    assert state.client_key.startswith("sk-sluice-")
    assert demo_state.read() == state


@pytest.mark.django_db
@pytest.mark.usefixtures("sqlite")
def test_prepare_again_changes_nothing() -> None:
    first = demo_setup.prepare()
    revisions = RoutingRevision.objects.count()
    assert demo_setup.prepare() == first
    assert (RoutingRevision.objects.count(), ClientKey.objects.count()) == (revisions, 1)


@pytest.mark.django_db
@pytest.mark.usefixtures("sqlite")
def test_prepare_keeps_what_the_operator_changed() -> None:
    demo_setup.prepare()
    PoolCandidate.objects.filter(pool__canonical_model="demo-balanced").update(weight=7)
    operator = get_user_model().objects.get()
    operator.set_password("changed")
    operator.save()
    ClientKey.objects.update(enabled=False)
    again = demo_setup.prepare()
    assert set(PoolCandidate.objects.filter(weight=7).values_list("provider__name", flat=True)) == set(
        demo.VENDORS
    )
    assert again.password == ""
    assert ClientKey.objects.filter(enabled=True).count() == 1


@pytest.mark.django_db
@pytest.mark.usefixtures("sqlite")
def test_prepare_moves_the_vendors_when_their_port_is_taken() -> None:
    with taken_port() as listening:
        port = listening.getsockname()[1]
        demo_state.write(DemoState(provider_port=port))
        state = demo_setup.prepare()
    assert state.provider_port != port
    assert Provider.objects.get(name="demo-primary").base_url == (
        f"http://127.0.0.1:{state.provider_port}/demo-primary/v1"
    )


def test_prepare_keeps_off_another_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_setup, "uses_sqlite", lambda: False)
    with pytest.raises(CommandError, match="DATABASE_URL names another database"):
        demo_setup.prepare()


def test_run_says_that_the_port_is_taken() -> None:
    with taken_port() as listening:
        bind = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(CommandError, match=f"^{bind} is already in use.*--bind 127.0.0.1:8001'$"):
            call_command("run_demo", "--bind", bind)


def test_run_starts_the_vendors_and_the_gateway(settings) -> None:
    vendors, gateway = commands("127.0.0.1:8001", DemoState(provider_port=8123)).values()
    assert vendors[1:] == [str(settings.BASE_DIR / "manage.py"), "demo_provider", "--port", "8123"]
    assert gateway[0:2] == ["env", "GATEWAY_LOG_FORMAT=text"]
    assert gateway[-3:] == ["serve", "--bind", "127.0.0.1:8001"]


class Switchboard(BaseHTTPRequestHandler):
    """Notes what it is sent."""

    orders: list[object]

    def do_POST(self) -> None:
        self.orders.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("words", "mode", "says"),
    [
        (["break", "demo-primary"], "fail", "demo-primary now fails with 503."),
        (["break", "demo-primary", "--mode", "cut"], "cut", "demo-primary now breaks off in mid-answer."),
        (["heal", "demo-primary"], "ok", "demo-primary answers again."),
    ],
)
def test_demo_command_switches_the_running_demo(words: list[str], mode: str, says: str) -> None:
    Switchboard.orders = []
    with HTTPServer(("127.0.0.1", 0), Switchboard) as server:
        threading.Thread(target=server.handle_request).start()
        demo_state.write(DemoState(provider_port=server.server_port))
        said = io.StringIO()
        call_command("demo", *words, stdout=said)
    assert Switchboard.orders == [{"provider": "demo-primary", "mode": mode, "status": 503}]
    assert said.getvalue() == f"{says}\n"


def test_demo_command_needs_a_running_demo() -> None:
    demo_state.write(DemoState(provider_port=demo_setup.free_port(0)))
    with pytest.raises(CommandError, match="is `make run` running"):
        call_command("demo", "break", "demo-primary")
