"""A PostgreSQL and a Redis of one's own, to be stopped and started at will; on free ports of loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.e2e.server import free_port


class Postgres:
    """One cluster in a folder; it runs as the user ``postgres`` when we are root, for it refuses to."""

    def __init__(self) -> None:
        # Not below pytest's folder, into which that user may not look.
        self.home = Path(tempfile.mkdtemp(prefix="sluice-postgres."))
        self.port = free_port()
        self.url = f"postgres://chaos@127.0.0.1:{self.port}/postgres"
        self.bin = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self.prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.prefix:
            shutil.chown(self.home, "postgres")
        self._run("initdb", "-D", "data", "-U", "chaos", "--auth=trust", "--no-sync", "--encoding=UTF8")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self.prefix, str(self.bin / program), *arguments],
            cwd=self.home,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c fsync=off -c max_connections=200"
        options += f" -c unix_socket_directories={self.home}"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        """As a crash would, every connection broken; nothing that was committed is lost."""
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def remove(self) -> None:
        """Stop for good."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.home)


class Redis:
    """One server without persistence: a stop loses all pins, tickets and notes."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True)
        self.home = home
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens."""
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        command += ["--appendonly", "no", "--dir", str(self.home)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        ends_at = time.monotonic() + 10
        while time.monotonic() < ends_at:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("Redis did not start.")

    def stop(self) -> None:
        """Kill it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
