"""Scripted providers on an event loop of their own, for tests whose client blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from tests.upstream import Script, Upstream

# Three candidates of one pool; every test takes a trio of its own, so that health is nobody else's.
NAMES = ("a", "b", "c")
U = TypeVar("U", bound=Upstream)


class Providers:
    """Running upstreams; started and stopped from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstreams", daemon=True)
        self._thread.start()
        self._running: list[Upstream] = []

    def start(self, **default: object) -> Upstream:
        """One more upstream."""
        upstream = Upstream()
        upstream.default = Script(**default)
        return self.run(upstream)

    def run(self, upstream: U) -> U:
        """Let it listen."""
        asyncio.run_coroutine_threadsafe(upstream.start(), self._loop).result(5)
        self._running.append(upstream)
        return upstream

    def stop(self, upstream: Upstream) -> None:
        """Refuse connections from now on."""
        asyncio.run_coroutine_threadsafe(upstream.stop(), self._loop).result(5)

    def close(self) -> None:
        """Stop everything."""
        for upstream in self._running:
            self.stop(upstream)
        asyncio.run_coroutine_threadsafe(_settle(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


async def _settle() -> None:
    """Let what was told to end come to its end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks, timeout=1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def providers() -> Iterator[Providers]:
    """Providers for a while."""
    held = Providers()
    try:
        yield held
    finally:
        held.close()


# For tests of faults; the others must not fail because the machine is busy.
FAST = "{connect: 800ms, first_byte: 700ms, idle: 700ms, total: 4s}"
PATIENT = "{connect: 5s, first_byte: 5s, idle: 5s, total: 10s}"


def config(
    pools: dict[str, list[tuple[str, Upstream, dict[str, int]]]], *, timeouts: str = PATIENT, extra: str = ""
) -> str:
    """A configuration file: pools of ``(provider, upstream, priority and weight)``, model ``m`` each."""
    lines = ["providers:"]
    for candidates in pools.values():
        for name, upstream, _ in candidates:
            lines += [
                f"  {name}:",
                "    type: openai_compatible",
                f"    base_url: {upstream.base_url}",
                "    api_key: ${UPSTREAM_KEY}",
                "    models: [m]",
                f"    timeouts: {timeouts}",
            ]
    lines += ["models:", "  configured_provider_models_mode: allowlist", "routing:", "  model_pools:"]
    for pool, candidates in pools.items():
        lines.append(f"    {pool}:")
        if any("weight" in shape for _, _, shape in candidates):
            lines.append("      strategy: weighted_round_robin")
        lines.append("      candidates:")
        for name, _, shape in candidates:
            fields = ", ".join(f"{key}: {value}" for key, value in shape.items())
            lines.append(f"        - {{provider: {name}, model: m, {fields}}}")
    return "\n".join([*lines, extra, ""])
