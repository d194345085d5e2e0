"""Both processes of the demo stop together: on a signal, and when one of them ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from proxying import demo_processes, demo_server
from proxying.demo_processes import EndedError

pytestmark = pytest.mark.anyio

LOG = """
import pathlib, signal, sys, time
log = pathlib.Path(sys.argv[1])
def end(number, frame):
    log.write_text(log.read_text() + "stopped\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
log.write_text("started\\n")
time.sleep(60)
"""


def sleeper(log: Path) -> list[str]:
    """A process that notes its start and its end."""
    return [sys.executable, "-c", LOG, str(log)]


def lines(log: Path) -> list[str]:
    return log.read_text().split()


@pytest.fixture
async def ready_url():
    server = await demo_server.start(0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/__demo"
    server.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signal_stops_both(tmp_path: Path, ready_url: str, number: signal.Signals) -> None:
    announced = []
    logs = [tmp_path / "first", tmp_path / "second"]
    running = asyncio.create_task(
        demo_processes.run(
            {log.name: sleeper(log) for log in logs}, ready_url, lambda: announced.append("ready")
        )
    )
    while not all(log.is_file() and lines(log) for log in logs) or not announced:  # noqa: ASYNC110 - other processes
        await asyncio.sleep(0.02)
    os.kill(os.getpid(), number)
    await asyncio.wait_for(running, 10)
    assert [lines(log) for log in logs] == [["started", "stopped"]] * 2
    assert announced == ["ready"]


async def test_end_of_one_stops_the_other(tmp_path: Path, ready_url: str) -> None:
    log = tmp_path / "first"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(log)!r}).is_file(): time.sleep(0.02)"
    commands = {"The first": sleeper(log), "The second": [sys.executable, "-c", wait]}
    with pytest.raises(EndedError, match=r"^The second ended by itself\.$"):
        await demo_processes.run(commands, ready_url, lambda: None)
    assert lines(log) == ["started", "stopped"]


async def test_silence_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_processes, "READY_S", 0.3)
    with pytest.raises(EndedError, match=r"^Nothing answers on http://127\.0\.0\.1:9/\.$"):
        await demo_processes.run({"One": ["sleep", "60"]}, "http://127.0.0.1:9/", lambda: None)


async def test_deaf_process_is_killed(monkeypatch: pytest.MonkeyPatch, ready_url: str) -> None:
    monkeypatch.setattr(demo_processes, "POLITE_S", 0.1)
    deaf = "import signal, time\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(60)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", deaf)
    await asyncio.sleep(0.2)
    await demo_processes._end(process)
    assert process.returncode == -signal.SIGKILL
