"""``python -m bench``: runs everything, prints a table, writes the raw numbers to ``bench/results/``."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import contenders, decision, machine, measure, peers
from bench.contenders import Contender
from bench.measure import Row

RESULTS = Path(__file__).with_name("results")
CONNECTIONS = (1, 8, 64)


def main() -> None:
    options = arguments()
    lacking = [tool for tool in ("wrk", "taskset", "nginx", "redis-server") if not shutil.which(tool)]
    if lacking:
        sys.exit(
            f"Not installed: {', '.join(lacking)}. "
            "On Debian: apt install wrk util-linux nginx-light redis-server"
        )
    report: dict[str, Any] = {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "machine": machine.describe(),
        "seconds_per_line": options.seconds,
        "decision": decision.run(),
        "rows": [],
        "first_content_ms": {},
        "idle_mb": {},
    }
    print(json.dumps({"machine": report["machine"], "decision": report["decision"]}, indent=2))
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder, contextlib.ExitStack() as running:
        work = Path(folder)
        upstream = running.enter_context(contenders.upstream(work))
        lines(report, upstream, upstream, options)
        with contenders.nginx(work, upstream.url) as nginx:
            lines(report, nginx, upstream, options)
        if not options.without_gateway:
            ours(report, work, upstream, options)
        for name in options.peer:
            with peers.PEERS[name](work, upstream.url) as peer:
                lines(report, peer, upstream, options)
    file = write(report)
    print(f"\n{file.relative_to(machine.ROOT)}")
    if any(row["errors"] for row in report["rows"]):
        sys.exit("Some requests failed: these numbers do not count.")


def ours(report: dict[str, Any], work: Path, upstream: Contender, options: argparse.Namespace) -> None:
    """The gateway in the set-up of the budgets, then with a weighted pool and Redis."""
    with contenders.gateway(work, upstream.url) as gateway:
        lines(report, gateway, upstream, options)
    with contenders.redis(work) as cache_url:
        weighted = contenders.gateway(work, upstream.url, cache_url, "weighted-pool")
        with weighted as gateway:
            lines(report, gateway, upstream, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="of load per line (8)")
    parser.add_argument("--peer", action="append", default=[], choices=list(peers.PEERS))
    parser.add_argument("--without-gateway", action="store_true", help="try the bench itself")
    return parser.parse_args()


def lines(
    report: dict[str, Any], contender: Contender, upstream: Contender, options: argparse.Namespace
) -> None:
    """Measure one contender; add to the report and print as it comes."""
    if not report["rows"]:
        titles = ("rps", "p50 ms", "p99 ms", "CPU ms", "/chunk")
        print(f"\n{'':37}{'conn':>5}{''.join(f'{title:>9}' for title in titles)}{'MB':>7}")
    if contender.pid:
        report["idle_mb"][contender.name] = machine.resident_mb(contender.pid)
        measure.wrk(contender, measure.body(contender.model, "whole"), 8, 1)  # warm up
    for shape in measure.SHAPES:
        for connections in CONNECTIONS:
            row = measure.load(contender, upstream, shape, connections, options.seconds)
            report["rows"].append(row.as_json())
            show(row)
    names = [upstream, contender] if contender is not upstream else [upstream]
    medians = measure.first_content_ms(names)
    if contender is not upstream:
        added = round(medians[contender.name] - medians[upstream.name], 3)
        report["first_content_ms"][contender.name] = {**medians, "added": added}
        idle = report["idle_mb"][contender.name]
        print(f"{contender.name:30}first content {added:+.2f} ms against direct; idle {idle} MB")


def show(row: Row) -> None:
    cells = [row.rps, row.p50_ms, row.p99_ms, row.cpu_ms, row.cpu_ms_per_chunk]
    text = "".join(
        f"{'-' if cell is None else format(cell, '.3g' if cell < 1 else '.1f'):>9}" for cell in cells
    )
    memory = "-" if row.memory_mb is None else f"{row.memory_mb:.0f}"
    trouble = f"  {row.errors} FAILED" if row.errors else ""
    print(f"{row.contender:30}{row.shape:7}{row.connections:5}{text}{memory:>7}{trouble}", flush=True)


def write(report: dict[str, Any]) -> Path:
    """Keep the raw numbers."""
    RESULTS.mkdir(exist_ok=True)
    stamp = report["started_at"][:16].replace(":", "").replace("T", "-")
    file = RESULTS / f"{stamp}-{report['machine']['commit']}.json"
    file.write_text(json.dumps(report, indent=1) + "\n")
    return file


if __name__ == "__main__":
    main()
