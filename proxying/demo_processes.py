"""Runs the demo's two processes together: both stop when one ends, or on SIGINT, SIGTERM and SIGHUP."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import httpx

POLITE_S: Final = 3.0
"""How long a process may take to finish its work after SIGTERM, and again after SIGINT."""
READY_S: Final = 60.0


class EndedError(Exception):
    """A process ended by itself, or the gateway did not become ready."""


async def run(commands: Mapping[str, Sequence[str]], ready_url: str, on_ready: Callable[[], None]) -> None:
    """Run the commands until a signal comes; call ``on_ready`` once ``ready_url`` answers 200.

    Raises:
        EndedError: one of them ended by itself, or was not ready within ``READY_S``.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    processes: dict[str, Process] = {}
    try:
        for name, argv in commands.items():
            # Sessions of their own: Ctrl-C reaches this process only, which stops them in order.
            processes[name] = await asyncio.create_subprocess_exec(*argv, start_new_session=True)
        await _watch(processes, stop, ready_url, on_ready)
    finally:
        for process in reversed(processes.values()):
            await _end(process)


async def _watch(
    processes: Mapping[str, Process], stop: asyncio.Event, ready_url: str, on_ready: Callable[[], None]
) -> None:
    """Wait for the signal, or for what must not happen."""
    tasks = {asyncio.create_task(process.wait()): name for name, process in processes.items()}
    stopped = asyncio.create_task(stop.wait())
    ready = asyncio.create_task(_ready(ready_url))
    everything = {*tasks, stopped, ready}
    try:
        done, _ = await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED, timeout=READY_S)
        if ready in done and not stopped.done():
            ready.result()
            on_ready()
            done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopped in done:
            return
        ended = [name for task, name in tasks.items() if task in done]
        raise EndedError(f"{ended[0]} ended by itself." if ended else f"Nothing answers on {ready_url}.")
    finally:
        for task in everything:
            task.cancel()


async def _ready(url: str) -> None:
    """Wait until the URL answers 200."""
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(url)).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.1)


async def _end(process: Process) -> None:
    """Stop a process: politely, then firmly."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), POLITE_S)
