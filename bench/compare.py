"""``python -m bench.compare``: Sluice beside every gateway that the package registries offer, in one run.

Prints the tables, keeps the raw numbers in ``bench/results/``, and with ``--publish`` writes tables and plot
into ``docs/performance.md``. ``--from FILE`` publishes an earlier run again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import contenders, machine, measure, peers, tables
from bench.contenders import OTHER_CORE, Contender

RESULTS = Path(__file__).with_name("results")
SIZES = (300, 5_000, 500_000)
CONNECTIONS = (1, 8, 64, 256)
RATES = (20, 100, 400)
Start = Callable[[Path, Contender], AbstractContextManager[Contender]]


def main() -> None:
    options = arguments()
    if options.source:
        tables.publish(json.loads(Path(options.source).read_text()), Path(options.source))
        return
    report = run(options)
    stamp = report["started_at"][:16].replace(":", "").replace("T", "-")
    file = RESULTS / f"compare-{stamp}-{report['machine']['commit']}.json"
    file.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\n{tables.all_of(report)}\n{file.relative_to(machine.ROOT)}")
    if options.publish:
        tables.publish(report, file)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2, help="of load per line (2)")
    parser.add_argument("--repeats", type=int, default=3, help="of every line; the median counts (3)")
    parser.add_argument("--only", action="append", choices=list(CONTENDERS), help="instead of all")
    parser.add_argument("--publish", action="store_true", help="write docs/performance.md's tables and plot")
    parser.add_argument("--from", dest="source", metavar="FILE", help="publish these raw numbers")
    return parser.parse_args()


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure; the raw numbers."""
    report: dict[str, Any] = {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m bench.compare", *sys.argv[1:]]),
        "machine": machine.describe(),
        "seconds_per_line": options.seconds,
        "repeats": options.repeats,
        "contenders": {},
    }
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, contextlib.ExitStack() as running:
        work = Path(folder)
        upstream = running.enter_context(contenders.upstream(work))
        report["direct"] = {"rates": [at_rate(upstream, rate, options.seconds) for rate in RATES]}
        for name in options.only or CONTENDERS:
            with CONTENDERS[name](work, upstream) as contender:
                report["contenders"][name] = measured(contender, upstream, options)
        if not options.only:
            report["scaling"] = scaling(work, upstream, options.seconds)
    report["peers"] = peers.versions()
    return report


def measured(contender: Contender, upstream: Contender, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one contender."""
    print(f"{contender.name}: started", flush=True)
    found: dict[str, Any] = {"name": contender.name, "cold_start_s": round(machine.age_s(contender.pid), 1)}
    found["idle_mb"] = machine.resident_mb(contender.pid)
    measure.wrk(contender, measure.body(contender.model, "whole"), 8, 1)  # warm up
    lines: list[dict[str, Any]] = []
    for size in SIZES:
        lines += [line(contender, upstream, "whole", n, size, options) for n in CONNECTIONS]
    for shape, many in (("burst", (1, 64)), ("paced", (64,))):
        lines += [line(contender, upstream, shape, n, SIZES[0], options) for n in many]
    found["lines"] = lines
    found["rates"] = [at_rate(contender, rate, options.seconds) for rate in RATES]
    try:
        medians = measure.first_content_ms([upstream, contender], rounds=100)
        found["first_content_added_ms"] = round(medians[contender.name] - medians[upstream.name], 3)
    except (OSError, RuntimeError) as error:  # a peer that cannot stream here
        found["first_content_added_ms"], found["stream_error"] = None, str(error)[:200]
    found["after_mb"] = machine.resident_mb(contender.pid)
    return found


def line(
    contender: Contender,
    upstream: Contender,
    shape: str,
    connections: int,
    size: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """One line, repeated; every repeat is kept."""
    # A paced stream takes two seconds and its load six: once is enough.
    repeats = 1 if shape == "paced" else options.repeats
    rows = [
        measure.load(contender, upstream, shape, connections, options.seconds, size=size)
        for _ in range(repeats)
    ]
    result = {"shape": shape, "connections": connections, "body_bytes": size}
    kept: dict[str, Any] = {**result, "repeats": [row.as_json() for row in rows]}
    print(f"  {shape} {size} x{connections}: {[row.cpu_ms for row in rows]}", flush=True)
    return kept


def at_rate(contender: Contender, rate: int, seconds: float) -> dict[str, Any]:
    """Latency at a constant rate, counted from the moment each request was due."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(measure.body(contender.model, "whole", SIZES[0]))
        file.flush()
        words = [contender.url + measure.PATH, str(rate), str(max(seconds, 5)), file.name]
        argv = ["taskset", "-c", OTHER_CORE, sys.executable, "-m", "bench.open_loop", *words]
        done = subprocess.run(
            [*argv, *contender.headers], capture_output=True, text=True, check=True, cwd=machine.ROOT
        )
    found: dict[str, Any] = json.loads(done.stdout)
    print(f"  {contender.name} at {rate}/s: {done.stdout.strip()}", flush=True)
    return found


@contextlib.contextmanager
def _nginx(work: Path, upstream: Contender) -> Iterator[Contender]:
    with contenders.nginx(work, upstream.url) as contender:
        yield contender


@contextlib.contextmanager
def _sluice(work: Path, upstream: Contender) -> Iterator[Contender]:
    with contenders.gateway(work, upstream.url) as contender:
        contender.name = "Sluice"
        yield contender


@contextlib.contextmanager
def _weighted(work: Path, upstream: Contender, workers: int = 1) -> Iterator[Contender]:
    with (
        contenders.redis(work) as cache_url,
        contenders.gateway(work, upstream.url, cache_url, "weighted-pool", workers) as contender,
    ):
        contender.name = "Sluice, weighted, Redis"
        yield contender


def scaling(work: Path, upstream: Contender, seconds: float) -> list[dict[str, Any]]:
    """One and two workers behind one Redis, on all cores of the machine, which the load needs too."""
    rows = []
    for workers in (1, 2):
        with _weighted(work, upstream, workers) as contender:
            measure.wrk(contender, measure.body(contender.model, "whole"), 8, 1)
            row = measure.load(contender, upstream, "whole", 64, max(seconds, 3))
            rows.append({"workers": workers, **row.as_json()})
            print(f"  {workers} workers: {row.rps}/s, {row.cpu_ms} ms", flush=True)
    return rows


def _peer(name: str) -> Start:
    return lambda work, upstream: peers.PEERS[name](work, upstream.url)


CONTENDERS: dict[str, Start] = {
    "nginx": _nginx,
    "sluice": _sluice,
    "sluice-weighted": _weighted,
    **{name: _peer(name) for name in peers.PEERS},
}

if __name__ == "__main__":
    main()
