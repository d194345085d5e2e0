"""Sluice as an operator starts it: ``manage.py serve`` in processes of its own, with its own database."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
START_WITHIN_S = 30.0
# What of the surroundings of a test run may reach the server.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class Server:
    """One gateway with its database, its log and its client key."""

    def __init__(
        self,
        home: Path,
        *,
        workers: int,
        cache_url: str,
        database_url: str,
        python: str = sys.executable,
        **env: str,
    ) -> None:
        self.home = home
        self.python = python
        self.workers = workers
        self.database_url = database_url
        self.log = home / "server.log"
        self.bind = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.bind}"
        self.key = ""
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.env |= {
            "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
            "DATABASE_URL": database_url,
            "CACHE_URL": cache_url,
            "SECRET_KEY": "of-the-end-to-end-tests",
            "GATEWAY_BIND": self.bind,
            "GATEWAY_DRAIN_S": "1",
            **env,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def manage(self, *args: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a management command beside the server."""
        done = subprocess.run(
            [self.python, "manage.py", *args],
            cwd=ROOT,
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if check and done.returncode:
            raise AssertionError(f"manage.py {args}: {done.stdout}{done.stderr}")
        return done

    def shell(self, code: str) -> str:
        """Run Python with the server's database; what it prints."""
        return self.manage("shell", "--no-imports", "-v0", "-c", code).stdout

    def load(self, config: str) -> None:
        """Import a configuration and make a client key."""
        (self.home / "gateway.yaml").write_text(config)
        self.manage("import_config", str(self.home / "gateway.yaml"))
        self.key = self.key or self.make_key("e2e")["key"]

    def make_key(self, name: str, *args: str) -> dict[str, Any]:
        """A client key's id, name and secret."""
        return json.loads(self.manage("create_api_key", name, "--json", *args).stdout)

    def start(self) -> None:
        """Serve, and wait until ready."""
        command = [self.python, "manage.py", "serve", "--bind", self.bind, "--workers", str(self.workers)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=log, stderr=log)
        deadline = time.monotonic() + START_WITHIN_S
        with self.client() as http:
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    if http.get("/health/ready").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.05)
        raise AssertionError(f"The server did not start:\n{self.log.read_text()}")

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"The server did not end:\n{self.log.read_text()}") from None

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client with the key of this server."""
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=10, **options)

    def chat(self, model: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> httpx.Response:
        """One chat over a connection of its own."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
        with self.client() as http:
            return http.post("/v1/chat/completions", json=body, headers=headers)

    def records(self, where: str = "1", *values: str, count: int = 1) -> list[dict[str, Any]]:
        """Request records of the SQLite file, oldest first, once there are ``count`` of them."""
        path = self.database_url.removeprefix("sqlite:///")

        def read() -> list[dict[str, Any]]:
            with closing(sqlite3.connect(path, timeout=10)) as connection:
                connection.row_factory = sqlite3.Row
                query = f"SELECT * FROM proxying_requestrecord WHERE {where} ORDER BY id"  # noqa: S608 - ours
                rows = [dict(row) for row in connection.execute(query, values)]
            return [{**row, "attempts": json.loads(row["attempts"])} for row in rows]

        until(lambda: len(read()) >= count)
        return read()

    def log_lines(self, request_id: str) -> list[dict[str, Any]]:
        """The structured lines of one request."""

        def read() -> list[dict[str, Any]]:
            lines = [line for line in self.log.read_text().splitlines() if request_id in line]
            return [json.loads(line) for line in lines]

        until(read)
        return read()

    def worker_clients(self) -> list[httpx.Client]:
        """One client with a connection to each worker; close them."""
        found: dict[int, httpx.Client] = {}
        for _ in range(400):
            client = self.client()
            answer = client.get("/health")
            address = answer.extensions["network_stream"].get_extra_info("client_addr")
            worker = self._worker_of(address[1])
            if worker is None or worker in found:
                client.close()
            else:
                found[worker] = client
            if len(found) == self.workers:
                break
        return list(found.values())

    def _worker_of(self, client_port: int) -> int | None:
        """Which process holds the server's end of a connection (from /proc, so on Linux)."""
        ours = f":{int(self.bind.rpartition(':')[2]):04X}", f":{client_port:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inodes = {line[9] for line in lines if line[1].endswith(ours[0]) and line[2].endswith(ours[1])}
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    target = os.readlink(handle)
                except OSError:
                    continue
                if target.removeprefix("socket:[").removesuffix("]") in inodes:
                    return int(pid)
        return None


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("It did not come about in time.")
        time.sleep(0.02)


@contextmanager
def serving(
    home: Path,
    empty: Path,
    *,
    config: str = "",
    workers: int = 1,
    cache_url: str = "",
    database_url: str = "",
    **env: str,
) -> Iterator[Server]:
    """A running server; ``empty`` is a migrated SQLite file to start from."""
    home.mkdir(parents=True, exist_ok=True)
    if not database_url:
        shutil.copyfile(empty, home / "db.sqlite3")
        database_url = f"sqlite:///{home}/db.sqlite3"
    server = Server(home, workers=workers, cache_url=cache_url, database_url=database_url, **env)
    if not database_url.startswith("sqlite"):
        server.manage("migrate", "-v0")
    if config:
        server.load(config)
    server.start()
    try:
        yield server
    finally:
        server.stop()
