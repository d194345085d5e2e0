"""The whole gateway as an operator runs it: ``manage.py serve`` as a process, a database, real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
# Prepares an empty database in one process: three commands would start Django three times.
_PREPARE = """
import sys, django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("import_config", sys.argv[1], stdout=sys.stderr)
call_command("create_api_key", "tests", json=True)
"""
_CONFIG = """
providers:
  one:
    type: openai_compatible
    api_key: "${{ONE_KEY}}"
    base_url: {base_url}
    models: [m]
models: {{configured_provider_models_mode: allowlist}}
routing:
  model_pools:
    pool:
      candidates: [{{provider: one, model: m}}]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(directory: Path, **settings: str) -> dict[str, str]:
    """What the processes see; nothing of the developer's own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "SENTRY"))}
    env |= {"DATABASE_URL": f"sqlite:///{directory}/db.sqlite3", "CACHE_URL": "", "SECRET_KEY": "tests"}
    env |= {
        "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
        "ONE_KEY": "secret",
        "PYTHONUNBUFFERED": "1",
    }
    return env | settings


class Deployed:
    """A running gateway. ``key`` is a client key; ``log`` is what it has written so far."""

    def __init__(self, directory: Path, base_url: str, **settings: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.env = environment(directory, **settings)
        self.process: subprocess.Popen[bytes] | None = None
        config = directory / "gateway.yaml"
        config.write_text(_CONFIG.format(base_url=base_url))
        done = subprocess.run(
            [sys.executable, "-c", _PREPARE, str(config)],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.key = json.loads(done.stdout)["key"]

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def start(self, *arguments: str) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", "--bind", f"127.0.0.1:{self.port}", *arguments],
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=log,
            )

    async def wait_until_ready(self, within_s: float = 20.0) -> None:
        ends_at = time.monotonic() + within_s
        async with httpx.AsyncClient(trust_env=False) as http:
            while time.monotonic() < ends_at:
                try:
                    if (await http.get(f"{self.base_url}/health/ready")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
        raise AssertionError(f"not ready in time:\n{self.log}")

    async def wait_for_log(self, text: str, *, times: int = 1, within_s: float = 10.0) -> None:
        async with asyncio.timeout(within_s):
            while self.log.count(text) < times:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self, within_s: float) -> int:
        """The exit code."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, within_s)

    def workers(self) -> list[int]:
        """Their process ids, oldest first."""
        assert self.process is not None
        master = self.process.pid
        return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]

    def memory_bytes(self) -> int:
        """What the workers hold of the machine's memory."""
        pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.workers())
        return sum(pages) * os.sysconf("SC_PAGESIZE")

    def rows(self) -> list[tuple[Any, ...]]:
        """Status and outcome of each request record, oldest first."""
        import sqlite3

        with sqlite3.connect(self.directory / "db.sqlite3") as database:
            return database.execute(
                "select status, outcome from proxying_requestrecord order by id"
            ).fetchall()

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@asynccontextmanager
async def deployed(
    directory: Path, base_url: str, *arguments: str, **settings: str
) -> AsyncIterator[Deployed]:
    """A gateway that is ready; stopped at the end."""
    gateway = await asyncio.to_thread(lambda: Deployed(directory, base_url, **settings))
    try:
        gateway.start(*arguments)
        await gateway.wait_until_ready()
        yield gateway
    finally:
        await asyncio.to_thread(gateway.kill)


class Wire:
    """One raw client connection."""

    def __init__(self, gateway: Deployed, *, receive_buffer: int = 0) -> None:
        self.gateway = gateway
        self.receive_buffer = receive_buffer

    async def __aenter__(self) -> Wire:
        sock = socket.socket()
        if self.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.gateway.port))
        limit = self.receive_buffer or 2**16
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=limit)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def ask(
        self, body: dict[str, Any] | None = None, path: str = "/v1/chat/completions", method: str = ""
    ) -> None:
        """Send a request: a POST when there is a body."""
        raw = b"" if body is None else json.dumps(body).encode()
        method = method or ("GET" if body is None else "POST")
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n"
        head += f"authorization: Bearer {self.gateway.key}\r\ncontent-length: {len(raw)}\r\n\r\n"
        self.writer.write(head.encode() + raw)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        first, *lines = raw.decode().split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def whole(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer, its length known."""
        status, headers = await self.head()
        return status, headers, await self.reader.readexactly(int(headers["content-length"]))

    async def rest_of_chunks(self, within_s: float) -> bytes:
        """The body of an answer sent in chunks, its head not read yet."""
        async with asyncio.timeout(within_s):
            await self.head()
            pieces = []
            while size := int(await self.reader.readline(), 16):
                pieces.append(await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            return b"".join(pieces)

    async def rest(self, within_s: float = 10.0) -> bytes:
        """Everything until the gateway closes."""
        return await asyncio.wait_for(self.reader.read(-1), within_s)


CHAT = {"model": "pool", "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**CHAT, "stream": True}
