"""The demo of `make run`, on ports of its own and with everything it keeps in a temporary folder."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.server import PASSED_ON, ROOT, free_port

READY_WITHIN_S = 90.0
# How long each vendor thinks before it answers, so that the numbers are those of language models.
THINKS_S = {"demo-primary": 0.38, "demo-backup": 0.52, "demo-economy": 0.24}
# Names as often as clients ask for them; about as many clients as the history's rates say.
MODELS = [
    *["demo-chat"] * 4,
    "assistant",
    *["demo-balanced"] * 3,
    *["support-assistant"] * 2,
    "summaries",
    "translations",
]
CLIENTS = 12
PROMPTS = (
    "Why was my invoice higher this month?",
    "Summarise the release notes for our customers in two sentences.",
    "Translate the greeting into Portuguese, please.",
    "Which of these reviews mention the battery?",
)


class Demo:
    """A running demo. ``keys`` are its client keys by name, made by ``tests.screenshots.history``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bind = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.bind}"
        self.vendors_url = f"http://127.0.0.1:{free_port()}"
        self.keys: dict[str, str] = {}
        self.log = home / "demo.log"
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.env |= {
            "DJANGO_SETTINGS_MODULE": "tests.screenshots.settings",
            "DEMO_HOME": str(home),
            "SECRET_KEY": "of-a-demo-that-lasts-a-minute-and-is-never-reached-from-outside",
            "GATEWAY_ENVIRONMENT": "production",
            "GATEWAY_DRAIN_S": "1",
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Run it, and wait until it answers.

        Raises:
            AssertionError: it ended, or took too long; with its log.
        """
        port = int(self.vendors_url.rpartition(":")[2])
        (self.home / "demo.json").write_text(json.dumps({"provider_port": port}))
        command = [sys.executable, "manage.py", "run_demo", "--bind", self.bind]
        with self.log.open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_WITHIN_S
        with httpx.Client(trust_env=False, timeout=2) as http:
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    if http.get(f"{self.url}/health/ready").status_code == 200:
                        return process
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
        stop(process)
        raise AssertionError(f"The demo did not start:\n{self.log.read_text()}")

    @property
    def password(self) -> str:
        """The operator's, as the demo prints it."""
        return str(json.loads((self.home / "demo.json").read_text())["password"])

    def live_through_an_hour(self) -> None:
        """Write what its people did and what its clients sent before we came."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.screenshots.history"],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        self.keys = json.loads(done.stdout)

    def vendor(self, name: str, mode: str, **how: Any) -> None:
        """Break a fake vendor, slow it down, or mend it."""
        order = {"provider": name, "mode": mode, **how}
        answer = httpx.post(f"{self.vendors_url}/__demo", json=order, trust_env=False)
        assert answer.status_code == 200, answer.text

    def ask(self, model: str, *, key: str, session: str = "", stream: bool = False) -> None:
        """One chat of a client, whatever becomes of it."""
        headers = {"authorization": f"Bearer {self.keys[key]}"} | (
            {"x-session-id": session} if session else {}
        )
        body = {"model": model, "messages": [{"role": "user", "content": random.choice(PROMPTS)}]}
        with httpx.Client(trust_env=False, timeout=30) as http:
            http.post(f"{self.url}/v1/chat/completions", json=body | {"stream": stream}, headers=headers)

    @contextmanager
    def clients(self) -> Iterator[None]:
        """Clients that chat, one request after another each, as long as the block lasts."""
        done = threading.Event()
        names = itertools.cycle(["web-app", "support-bot", "nightly-batch"])
        threads = [
            threading.Thread(target=self._chat, args=(done, next(names), number)) for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def _chat(self, done: threading.Event, key: str, number: int) -> None:
        draw = random.Random(number)
        while not done.is_set():
            luck = draw.random()
            if luck < 0.01:
                self.ask("demo-primary/nova-small", key=key)
            elif luck < 0.02:
                self.ask("demo-chatt", key=key)
            else:
                visitor = number if luck < 0.6 else draw.random()
                self.ask(draw.choice(MODELS), key=key, session=f"conversation-{visitor}", stream=luck < 0.9)


@contextmanager
def running(home: Path) -> Iterator[Demo]:
    """The demo, as long as the block lasts."""
    demo = Demo(home)
    process = demo.start()
    try:
        for name, delay_s in THINKS_S.items():
            demo.vendor(name, "slow", delay_s=delay_s)
        yield demo
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does: its own processes end with it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
