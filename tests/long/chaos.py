"""Chaos under load: stores stopped and started, a worker killed, a provider flapping, clients leaving.

``python -m tests.long --minutes 10`` runs it and prints what it found as Markdown; the exit status is 1 when
a promise of ``docs/reliability.md`` was broken. The load generator keeps a ledger of every request, and holds
it against the request records and against what the providers saw at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.e2e.server import Server
from tests.long.services import Postgres, Redis
from tests.proxying.sockets import CHAT, Client
from tests.proxying.storm import Random, judge

CLIENTS = 12
PAUSE_S = 0.05
# What may be lost by SIGKILL besides what was under way: a second of records that were not stored yet.
KILL_LOSES_S = 1.0
RECOVERS_WITHIN_S = 10.0
# Of the worker that outlives the second half of a run: what it may hold more at the end than after its first
# minute, in which it imports what its first page, first price and first outage need.
WARM_AFTER_S = 60.0
GROWS_BY_MB = 12.0
READ_EVERY_S = 2.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
CONFIG = """
providers:
  a: {{type: openai_compatible, base_url: "{a}", models: [m], timeouts: {timeouts}}}
  b: {{type: openai_compatible, base_url: "{b}", models: [m], timeouts: {timeouts}}}
  c: {{type: openai_compatible, base_url: "{c}", models: [m], timeouts: {timeouts}}}
models: {{configured_provider_models_mode: allowlist}}
routing:
  model_pools:
    pool:
      candidates:
        - {{provider: a, model: m, priority: 1}}
        - {{provider: b, model: m, priority: 2}}
        - {{provider: c, model: m, priority: 3}}
    weighted:
      strategy: weighted_round_robin
      candidates:
        - {{provider: a, model: m, weight: 3}}
        - {{provider: b, model: m, weight: 2}}
        - {{provider: c, model: m, weight: 1}}
"""
# Faults that these patient timeouts forgive.
SLOW = ("slow headers", "slow body", "body stalls", "stall before content", "stall after content")
TIMEOUTS = "{connect: 2s, first_byte: 3s, idle: 3s, total: 20s}"


@dataclass(slots=True)
class Entry:
    """One request. ``verdict``: right, honest, cut, left, lost (its connection broke), hung or wrong."""

    request_id: str
    sent_at: float
    verdict: str = ""
    status: int = 0
    code: str = ""
    done_at: float = 0.0

    def is_near(self, kill: float) -> bool:
        """Whether it was under way, or its record not yet stored, when a worker was killed."""
        ended_at = self.done_at or self.sent_at + 1.0
        return self.sent_at - KILL_LOSES_S <= kill <= ended_at + KILL_LOSES_S


Row = tuple[str, int, list[str]]


@dataclass
class Chaos:
    """One run."""

    server: Server
    postgres: Postgres
    redis: Redis
    providers: dict[str, Random]
    token: str
    ledger: list[Entry] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    outages: Counter[str] = field(default_factory=Counter)
    ready: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[int, str]] = field(default_factory=list)
    memory: dict[int, list[float]] = field(default_factory=dict)
    half_at: float = 0.0
    ends_at: float = 0.0

    @property
    def port(self) -> int:
        return int(self.server.bind.rpartition(":")[2])

    async def load(self) -> None:
        """Clients until the end, each over a connection that it keeps while it lasts."""
        await asyncio.gather(*(self._client(number) for number in range(CLIENTS)))

    async def _client(self, number: int) -> None:
        chance, count = random.Random(number), 0
        while time.monotonic() < self.ends_at:
            try:
                async with Client(self.port, self.server.key) as client:
                    while time.monotonic() < self.ends_at:
                        count += 1
                        entry = Entry(f"c{number}-{count}", time.time())
                        if not await self._one(client, entry, chance):
                            break
                        await asyncio.sleep(PAUSE_S)
            except OSError:
                self.outages["refused connections"] += 1
                await asyncio.sleep(0.1)

    async def _one(self, client: Client, entry: Entry, chance: random.Random) -> bool:
        """One request; false when its connection has ended."""
        self.ledger.append(entry)
        stream, leaves = chance.random() < 0.5, chance.random() < 0.05
        fields = {"model": chance.choice(["pool", "weighted"]), "stream": stream}
        if chance.random() < 0.3:
            fields["user"] = f"u{chance.randrange(50)}"
        body = json.dumps({**CHAT, **fields}).encode()
        try:
            client.send(body, **{"x-request-id": entry.request_id})
            if leaves:
                await asyncio.sleep(chance.random() * 0.02)
                entry.verdict = "left"
                return False
            got = await asyncio.wait_for(client.read(), 30)
            entry.verdict, entry.status = judge(entry.request_id, stream, got), got.status
            if got.status != 200:
                entry.code = str(got.error["code"])
            if not got.complete:
                entry.verdict = "lost"
        except (OSError, EOFError):
            entry.verdict = "lost"
        except TimeoutError:
            entry.verdict = "hung"
        entry.done_at = time.time()
        return entry.verdict not in {"lost", "hung"}

    async def disturb(self, kill: bool = True) -> None:
        """One round of everything, until the end."""
        steps = [self._without_redis, self._without_postgres]
        steps += [self._without_a_worker] if kill else []
        while time.monotonic() < self.ends_at - 12:
            for step in steps:
                await asyncio.sleep(3)
                if time.monotonic() < self.ends_at - 12:
                    await step()

    async def flap(self) -> None:
        """The first provider fails with every fault in turn, is well, is down altogether."""
        provider = self.providers["a"]
        while time.monotonic() < self.ends_at:
            for share in (0.3, 0.0, 1.0, 0.0):
                provider.chance = share
                await asyncio.sleep(2.5)
        provider.chance = 0.0

    async def _without_redis(self) -> None:
        await asyncio.to_thread(self.redis.stop)
        self.outages["redis"] += 1
        await asyncio.sleep(4)
        await self._look()
        await asyncio.to_thread(self.redis.start)

    async def _without_postgres(self) -> None:
        await asyncio.to_thread(self.postgres.stop)
        self.outages["postgres"] += 1
        await asyncio.sleep(4)
        await self._look()
        await self._switch()
        await asyncio.to_thread(self.postgres.start)
        # Until the records of the outage are stored: a worker killed before takes them with it.
        await asyncio.sleep(RECOVERS_WITHIN_S)

    async def _without_a_worker(self) -> None:
        """The oldest dies; from the half on the youngest, so that one is there to have its memory read."""
        workers = await asyncio.to_thread(self._workers)
        self.kills.append(time.time())
        os.kill(workers[0 if time.monotonic() < self.half_at else -1], signal.SIGKILL)
        self.outages["killed workers"] += 1
        await asyncio.sleep(3)

    def _workers(self) -> list[int]:
        assert self.server.process is not None
        pid = self.server.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def weigh(self) -> None:
        """From the half on: every worker's resident memory in MB."""
        await asyncio.sleep(max(0.0, self.half_at - time.monotonic()))
        while time.monotonic() < self.ends_at:
            for worker in await asyncio.to_thread(self._workers):
                with suppress(OSError, IndexError):  # it was killed just now
                    pages = await asyncio.to_thread(Path(f"/proc/{worker}/statm").read_text)
                    readings = self.memory.setdefault(worker, [])
                    readings.append(int(pages.split()[1]) * PAGE_BYTES / 2**20)
            await asyncio.sleep(READ_EVERY_S)

    async def _look(self) -> None:
        async with self._http() as http:
            self.ready[(await http.get("/health/ready")).json()["status"]] += 1

    async def _switch(self) -> None:
        body = {"kind": "provider", "provider_name": "c", "enabled": False, "confirm": True}
        async with self._http() as http:
            got = await http.put(
                "/admin/routing-state", json=body, headers={"authorization": f"Bearer {self.token}"}
            )
        with suppress(ValueError):
            self.refused.append((got.status_code, got.json()["error"]["code"]))
            return
        self.refused.append((got.status_code, got.text[:100]))

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.server.url, trust_env=False, timeout=30)

    def records(self) -> dict[str, list[Row]]:
        """Outcome, status and providers called, by request id."""
        import psycopg

        query = "SELECT request_id, outcome, status, attempts FROM proxying_requestrecord"
        with psycopg.connect(self.postgres.url.replace("postgres://", "postgresql://")) as database:
            rows = database.execute(query).fetchall()
        found: dict[str, list[Row]] = {}
        for request_id, outcome, status, attempts in rows:
            called = [one["provider"] for one in attempts]
            found.setdefault(request_id, []).append((outcome, status, called))
        return found


@dataclass
class Finding:
    """What a run found. ``broken`` are the promises that were not kept."""

    minutes: float
    verdicts: Counter[str]
    codes: Counter[str]
    outages: Counter[str]
    ready: Counter[str]
    refused: Counter[tuple[int, str]]
    records: int
    missing_by_kill: int
    resent: int
    memory: list[float]
    broken: list[str]

    def markdown(self) -> str:
        """The report."""
        lines = [
            f"- {self.minutes:.1f} minutes, {sum(self.verdicts.values())} requests: "
            + ", ".join(f"{count} {word}" for word, count in self.verdicts.most_common()),
            "- disturbances: "
            + ", ".join(f"{count} x {word}" for word, count in sorted(self.outages.items())),
            f"- error codes that clients saw: {dict(self.codes) or 'none'}",
            f"- `/health/ready` during outages: {dict(self.ready)}; switches without a database: "
            + str({f"{status} {code}": count for (status, code), count in self.refused.items()}),
            f"- {self.records} records; {self.missing_by_kill} requests without one, all within "
            f"{KILL_LOSES_S:.0f} s of a SIGKILL",
            f"- upstream calls sent again over a new connection: {self.resent}",
            "- memory of the worker that outlived the second half: "
            + (
                f"{self.memory[0]:.0f} MB after a minute, {self.memory[-1]:.0f} MB at the end, "
                f"{max(self.memory):.0f} MB at most"
                if self.memory
                else "not read"
            ),
            "- broken promises: " + ("none" if not self.broken else "; ".join(self.broken)),
        ]
        return "\n".join(lines)


def examine(chaos: Chaos, minutes: float) -> Finding:
    """Hold the ledger against the records and against what the providers saw."""
    records, broken, missing, resent = chaos.records(), [], 0, 0
    for entry in chaos.ledger:
        rows = records.get(entry.request_id, [])
        saw = {name: count for name, one in chaos.providers.items() if (count := one.calls[entry.request_id])}
        resent += sum(count - 1 for count in saw.values())
        at_kill = any(map(entry.is_near, chaos.kills))
        broken += [f"{entry.request_id} {fault}" for fault in _faults_of(entry, at_kill=at_kill)]
        if rows:
            broken += [f"{entry.request_id} {fault}" for fault in _contradictions(entry, rows, saw)]
        elif at_kill:
            missing += 1
        elif entry.verdict != "left" or saw:
            broken.append(f"{entry.request_id} ({entry.verdict}) has no record")
    memory = max(chaos.memory.values(), key=len, default=[])[int(WARM_AFTER_S / READ_EVERY_S) :]
    if memory and memory[-1] - memory[0] > GROWS_BY_MB:
        broken.append(f"a worker grew from {memory[0]:.0f} to {memory[-1]:.0f} MB")
    return Finding(
        minutes=minutes,
        verdicts=Counter(entry.verdict for entry in chaos.ledger),
        codes=Counter(entry.code for entry in chaos.ledger if entry.code),
        outages=chaos.outages,
        ready=chaos.ready,
        refused=Counter(chaos.refused),
        records=sum(map(len, records.values())),
        missing_by_kill=missing,
        resent=resent,
        memory=memory,
        broken=broken[:20] + ([f"and {len(broken) - 20} more"] if len(broken) > 20 else []),
    )


def _faults_of(entry: Entry, *, at_kill: bool) -> list[str]:
    """What the client should not have met: two providers were well all the time."""
    if entry.verdict in {"wrong", "bad error", "hung"}:
        return [f"was {entry.verdict}"]
    if entry.verdict == "honest":
        return [f"got {entry.status} {entry.code}"]
    return ["lost its connection"] if entry.verdict == "lost" and not at_kill else []


def _contradictions(entry: Entry, rows: list[Row], saw: dict[str, int]) -> list[str]:
    """Where the record is not what the client and the providers saw."""
    outcome, _, called = rows[0]
    expected = {"right": "ok", "honest": "error", "cut": "cut"}.get(entry.verdict, outcome)
    found = []
    if len(rows) > 1:
        found.append(f"has {len(rows)} records")
    if len(called) > 3 or len(set(called)) != len(called):
        found.append(f"called {called}")
    if outcome != expected:
        found.append(f"was {entry.verdict}, its record says {outcome}")
    if unknown := saw.keys() - set(called):
        found.append(f"reached {unknown}, its record does not say so")
    return found


@asynccontextmanager
async def prepared(home: Path) -> AsyncIterator[Chaos]:
    """Stores, providers and two workers."""
    async with AsyncExitStack() as stack:
        postgres = await asyncio.to_thread(Postgres)
        stack.callback(_ignoring, postgres.remove)
        redis = Redis(home / "redis")
        stack.callback(_ignoring, redis.stop)
        for service in (postgres, redis):
            await asyncio.to_thread(service.start)
        providers = {}
        for seed, name in enumerate("abc"):
            one = providers[name] = Random(0.0, seed)
            for slow in SLOW:
                del one.faults[slow]
            await one.start()
            stack.push_async_callback(one.stop)
        (home / "server").mkdir(parents=True)
        server = Server(
            home / "server",
            workers=2,
            cache_url=redis.url,
            database_url=postgres.url,
            GATEWAY_CIRCUIT_OPEN_S="1",
            GATEWAY_LOG_FORMAT="json",
        )
        addresses = {name: one.base_url for name, one in providers.items()}
        await asyncio.to_thread(_start, server, CONFIG.format(**addresses, timeouts=TIMEOUTS))
        stack.callback(_ignoring, server.stop)
        token = await asyncio.to_thread(server.manage, "create_admin_token", "chaos", "--json")
        yield Chaos(server, postgres, redis, providers, json.loads(token.stdout)["key"])


def _start(server: Server, config: str) -> None:
    server.manage("migrate", "-v0")
    server.load(config)
    server.start()


def _ignoring(stop) -> None:
    with suppress(Exception):
        stop()


async def run(home: Path, seconds: float, *, kill: bool = True) -> Finding:
    """Disturb a loaded gateway for so long; SIGTERM must then store every record that is left."""
    async with prepared(home) as chaos:
        chaos.half_at = time.monotonic() + seconds / 2
        chaos.ends_at = time.monotonic() + seconds
        await asyncio.gather(chaos.load(), chaos.flap(), chaos.disturb(kill), chaos.weigh())
        await asyncio.to_thread(chaos.server.stop)
        return await asyncio.to_thread(examine, chaos, seconds / 60)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="chaos.") as home:
        found = asyncio.run(run(Path(home), minutes * 60))
    sys.stdout.write(found.markdown() + "\n")
    return 1 if found.broken else 0
