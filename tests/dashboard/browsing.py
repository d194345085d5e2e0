"""A real browser against the real server over the test's own database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
]
# Every page of the dashboard, over the pools of the fixture `setup`.
PAGES = [
    "/dashboard/",
    "/dashboard/pools/chat/",
    "/dashboard/pools/chat/?window=24h",
    "/dashboard/providers/",
    "/dashboard/requests/",
    "/dashboard/try/?model=chat&assume=a/m=503",
    "/dashboard/changes/",
]
# What a page may say in the console: the notes of browser and htmx on a request that failed or was replaced.
HARMLESS = (
    "Failed to load resource",
    "htmx:afterRequest",
    "htmx:sendError",
    "htmx:sendAbort",
    "Response Status Error Code",
)


def database_url() -> str:
    """Where the tests' tables are, for another process."""
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{found['NAME']}"
    who = f"{found['USER']}:{found['PASSWORD']}".rstrip(":")
    return f"postgres://{who}@{found['HOST']}:{found['PORT']}/{found['NAME']}"


@contextmanager
def serving() -> Iterator[str]:
    """The gateway over the test's database; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")} | {
        "DATABASE_URL": database_url(),
        "SECRET_KEY": settings.SECRET_KEY,
        "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
        "CACHE_URL": "",
        "GATEWAY_DRAIN_S": "1",
        "GATEWAY_PROBE_INTERVAL_S": "100000",
        "PYTHONWARNINGS": "ignore",
    }
    config = ["--config", "gateway_project/gunicorn.conf.py", "--bind", bind]
    command = [sys.executable, "-m", "gunicorn", *config]
    server = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(f"http://{bind}/health/ready")
        yield f"http://{bind}"
    finally:
        # The worker too, at once: nothing of it is needed, and a graceful end would wait for the browser.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_for(url: str) -> None:
    """Until the server is ready, for twenty seconds at most."""
    with httpx.Client(trust_env=False) as http:
        for _ in range(200):
            try:
                if http.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    raise AssertionError(f"{url} did not become ready")


class Visitor:
    """One person's browser windows. ``faults`` is what went wrong in them: scripts, console, policy."""

    def __init__(self, browser, base: str, user: User, **how) -> None:
        self.base = base
        self.faults: list[str] = []
        self.context = browser.new_context(base_url=base, **how)
        self.context.set_default_timeout(8_000)
        client = Client()
        client.force_login(user)
        value = client.cookies[settings.SESSION_COOKIE_NAME].value
        self.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": base}])

    def open(self, path: str):
        """A new window at ``path``."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("console", self._heard)
        page.goto(path)
        return page

    def _heard(self, message) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(HARMLESS):
            self.faults.append(f"console: {message.text}")
