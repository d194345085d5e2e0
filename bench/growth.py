"""``python -m bench.growth``: what a request and the models list cost with many pools and many keys.

All gateways run at once on one core and are loaded in turns; the best of several short runs counts.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench import contenders, machine, measure
from bench.contenders import Contender, More

SIZES = (More(10, 10), More(100, 10), More(1000, 10), More(10, 10_000))
ROUNDS, SECONDS, CONNECTIONS = 4, 1, 16
LISTS = 15


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sluice-growth-") as folder, contextlib.ExitStack() as running:
        work = Path(folder)
        upstream = running.enter_context(contenders.upstream(work))
        gateways = [
            running.enter_context(contenders.gateway(work, upstream.url, more=more)) for more in SIZES
        ]
        taken: list[list[float]] = [[] for _ in gateways]
        for gateway in gateways:
            measure.wrk(gateway, measure.body(gateway.model, "whole"), CONNECTIONS, SECONDS)  # warm up
        for _ in range(ROUNDS):
            for gateway, times in zip(gateways, taken, strict=True):
                row = measure.load(gateway, upstream, "whole", CONNECTIONS, SECONDS)
                if row.errors or row.cpu_ms is None:
                    sys.exit(f"{row.errors} requests failed.")
                times.append(row.cpu_ms)
        print(f"{'pools':>6}{'keys':>8}{'CPU ms/request':>16}{'CPU ms/list':>13}{'MB':>7}")
        for more, gateway, times in zip(SIZES, gateways, taken, strict=True):
            memory = machine.resident_mb(gateway.pid)
            print(f"{more.pools:6}{more.keys:8}{min(times):16.3f}{listing_ms(gateway):13.2f}{memory:7.0f}")


def listing_ms(gateway: Contender) -> float:
    """Processor time of one models list over HTTP, from what the gateway remembers of it."""
    name, _, value = gateway.headers[0].partition(": ")
    request = urllib.request.Request(f"{gateway.url}/v1/models", headers={name: value})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    rounds = []
    for _ in range(3):
        before = machine.cpu_s(gateway.pid)
        for _ in range(LISTS):
            with opener.open(request, timeout=10) as answer:
                answer.read()
        rounds.append((machine.cpu_s(gateway.pid) - before) / LISTS * 1000)
        time.sleep(0.1)
    return statistics.median(rounds)


if __name__ == "__main__":
    main()
