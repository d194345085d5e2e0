"""``python -m tests.long.load``: pages and API over a full database, and how long each takes to answer.

A million records on a PostgreSQL of its own, a hundred thousand on SQLite; 200 pools, 1,000 candidates, the
live numbers of a day. Prints a report as Markdown; the exit status is 1 when an answer was over its budget.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import httpx

from tests.e2e.server import ROOT, Server
from tests.long import fill
from tests.long.services import Postgres

RUNS = 3
POOLS_MS, REQUESTS_MS = 300, 500
RECORDS = {"postgresql": 1_000_000, "sqlite": 100_000}
# Each filter's values: what most rows have, what few have, what none has.
FILTERS = {
    "model": ("pool-000", "pool-150", "provider-00/model-000", "nosuch"),
    "provider": ("provider-00", fill.RARE_PROVIDER, "nosuch"),
    "status": ("2xx", "4xx", "5xx", "429", "302"),
    "outcome": ("ok", "error", "cut", "nosuch"),
    "caller": ("key-00", "key-45", fill.RARE_CALLER, "nosuch"),
    "since": ("15m", "24h", "7d"),
    "failover": ("1",),
    "source": ("try_it",),
    "id": ("nosuch",),
}
API_FILTERS = (
    {},
    {"canonical_model": "pool-000"},
    {"canonical_model": "nosuch"},
    {"provider": "provider-00"},
    {"status": "5xx"},
    {"outcome": "cut"},
    {"caller_id": "id-key-rare"},
    {"failover_used": "true"},
    {"request_id": "nosuch"},
)
SESSION = """
from django.contrib.auth.models import User
from django.test import Client
user = User.objects.create_superuser("load", password="load")
client = Client()
client.force_login(user)
print(client.cookies["sessionid"].value)
"""


@dataclass
class Answer:
    """One address: the best, the median and the worst of its times, and its budget.

    The best is what counts: everything else on the machine only adds to it.
    """

    group: str
    address: str
    best_ms: float
    median_ms: float
    worst_ms: float
    budget_ms: int | None


@dataclass
class Report:
    """What one database gave."""

    database: str
    records: int
    filled: dict[str, int]
    answers: list[Answer] = field(default_factory=list)
    pruning: str = ""

    @property
    def over(self) -> list[Answer]:
        return [one for one in self.answers if one.budget_ms is not None and one.best_ms > one.budget_ms]

    def markdown(self) -> str:
        lines = [
            f"### {self.database}, {self.records:,} records",
            "",
            f"Inserting: {self.filled['empty']:,} records a second into an empty table, "
            f"{self.filled['full']:,} into the full one. {self.pruning}",
            "",
            "| what | addresses | median | slowest (best, median, worst) | budget | over |",
            "|---|---|---|---|---|---|",
        ]
        for group, found in itertools.groupby(self.answers, key=lambda one: one.group):
            some = list(found)
            slowest = max(some, key=lambda one: one.best_ms)
            budget = f"{slowest.budget_ms} ms" if slowest.budget_ms else "–"
            middle = statistics.median(one.best_ms for one in some)
            times = f"{slowest.best_ms:.0f}, {slowest.median_ms:.0f}, {slowest.worst_ms:.0f} ms"
            lines.append(
                f"| {group} | {len(some)} | {middle:.0f} ms | {times} `{slowest.address}` "
                f"| {budget} | {sum(one in self.over for one in some)} |"
            )
        return "\n".join(lines)


class Measurement:
    """Asks a running gateway."""

    def __init__(self, report: Report, http: httpx.Client) -> None:
        self.report = report
        self.http = http

    def ask(self, group: str, address: str, budget_ms: int | None = None) -> httpx.Response:
        """One address, a few times; the first time counts as well."""
        times = []
        for _ in range(RUNS):
            began = time.perf_counter()
            answer = self.http.get(address)
            times.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, (address, answer.status_code, answer.text[:300])
        self.report.answers.append(
            Answer(group, address, min(times), statistics.median(times), max(times), budget_ms)
        )
        return answer

    def pages(self) -> None:
        for address in ("/dashboard/", "/dashboard/?q=pool-1", "/dashboard/?state=OK"):
            self.ask("Pools", address, POOLS_MS)
        for window in ("15m", "1h", "24h"):
            self.ask("a pool", f"/dashboard/pools/{fill.pool(0)}/?window={window}", POOLS_MS)
        self.ask("Providers", "/dashboard/providers/", POOLS_MS)

    def requests(self, deep: str) -> None:
        """Every filter alone and every pair, from the newest and from nine tenths down."""
        alone = [{name: value} for name, values in FILTERS.items() for value in values]
        pairs = [
            {one: first, other: second}
            for one, other in itertools.combinations(FILTERS, 2)
            for first in FILTERS[one]
            for second in FILTERS[other]
        ]
        for name, cases in (("no filter", [{}]), ("one filter", alone), ("two filters", pairs)):
            for where, after in (("newest", {}), ("deep", {"after": deep})):
                for case in cases:
                    query = urlencode(case | after)
                    self.ask(f"Requests, {name}, {where}", f"/dashboard/requests/?{query}", REQUESTS_MS)

    def api(self) -> None:
        for case in API_FILTERS:
            self.ask("API requests", f"/admin/requests?{urlencode(case)}", REQUESTS_MS)
        self.ask("API model-pools", "/admin/routing/model-pools", REQUESTS_MS)
        self.ask("API routing-state", "/admin/routing-state?include=all", REQUESTS_MS)

    def admin(self) -> None:
        lists = ("modelpool", "provider", "alias", "clientkey", "routingrevision")
        for name in lists:
            self.ask("admin lists", f"/admin/routing/{name}/", REQUESTS_MS)
        records = "/admin/proxying/requestrecord/"
        for query in ("", "?outcome=cut", "?status=503", "?q=pool-150", "?q=nosuch", "?p=100"):
            self.ask("admin records", records + query)


def measure(server: Server, report: Report) -> None:
    """Everything, over one connection."""
    session = server.shell(SESSION).strip().splitlines()[-1]
    token = json.loads(server.manage("create_admin_token", "load", "--json").stdout)["key"]
    deep = server.shell(
        "from proxying.models import RequestRecord as R\nfrom dashboard.record_queries import cursor_of\n"
        f"print(cursor_of(R.objects.order_by('-started_at')[{report.records * 9 // 10}]))"
    ).strip()
    server.start()
    try:
        options = {"base_url": server.url, "trust_env": False, "timeout": 60}
        with httpx.Client(cookies={"sessionid": session}, **options) as http:
            seen = Measurement(report, http)
            seen.pages()
            seen.requests(deep)
            seen.admin()
        with httpx.Client(headers={"authorization": f"Bearer {token}"}, **options) as http:
            Measurement(report, http).api()
    finally:
        server.stop()
    report.pruning = pruning(server)


def started(server: Server, *arguments: str) -> str:
    """Python beside the server, however long it takes; what it prints."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=server.env, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def pruning(server: Server) -> str:
    """The oldest tenth is deleted while another process inserts: how long a batch of its own takes."""
    slowest, ended = [0.0], threading.Event()

    def insert() -> None:
        command = [sys.executable, "-m", "tests.long.fill", "insert"]
        with subprocess.Popen(command, cwd=ROOT, env=server.env, stdin=-1, stdout=-1, text=True) as writer:
            assert writer.stdin is not None
            assert writer.stdout is not None
            while not ended.is_set():
                writer.stdin.write("\n")
                writer.stdin.flush()
                slowest[0] = max(slowest[0], float(writer.stdout.readline()))
            writer.stdin.close()

    thread = threading.Thread(target=insert)
    thread.start()
    began = time.perf_counter()
    said = started(server, "manage.py", "prune_records", "--older-than", f"{fill.DAYS * 9 // 10}d")
    took_s = time.perf_counter() - began
    ended.set()
    thread.join()
    count = int(said.split()[1])
    return (
        f"Deleting {count:,} old ones took {took_s:.1f} s; the slowest insert of {fill.BATCH} meanwhile took "
        f"{slowest[0] * 1000:.0f} ms."
    )


@contextmanager
def database(kind: str, home: Path) -> Iterator[str]:
    """An empty one of this kind; its URL."""
    if kind == "sqlite":
        yield f"sqlite:///{home / 'load.sqlite3'}"
        return
    postgres = Postgres()
    postgres.start()
    try:
        yield postgres.url
    finally:
        postgres.remove()


def run(kind: str, home: Path, records: int) -> Report:
    """One database from nothing to its report."""
    with database(kind, home) as url:
        server = Server(home, workers=1, cache_url="", database_url=url)
        (home / "gateway.yaml").write_text(fill.config())
        started(server, "manage.py", "migrate")
        started(server, "manage.py", "import_config", str(home / "gateway.yaml"))
        filled = started(server, "-m", "tests.long.fill", str(records))
        report = Report(kind, records, json.loads(filled))
        measure(server, report)
        return report


def main() -> int:
    """Both databases, or what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=RECORDS, action="append")
    parser.add_argument("--records", type=int)
    given = parser.parse_args()
    over = []
    tell = sys.stdout.write
    tell(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, one worker; the best of {RUNS}.\n\n")
    for kind in given.database or RECORDS:
        with tempfile.TemporaryDirectory() as home:
            report = run(kind, Path(home), given.records or RECORDS[kind])
        tell(report.markdown() + "\n\n")
        sys.stdout.flush()
        over += report.over
    for one in sorted(over, key=lambda one: -one.best_ms):
        tell(f"over: {one.best_ms:.0f} ms {one.address}\n")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
