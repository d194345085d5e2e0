"""``python -m bench.guard``: fails when a request has become much more expensive; half a minute, for CI.

The measure is a ratio: processor time per request of the gateway to that of a bare relay under the same
server, in turns on the same core, the best of several short runs each. So it hardly depends on the machine or
on what else runs there; no wall-clock time is looked at.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench import contenders, measure

ROUNDS = 6
SECONDS = 1.0
CONNECTIONS = 16
# Measured: 4.6 to 5.4. Half as much again fails.
LIMIT = 7.5


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="sluice-guard-") as folder,
        contenders.upstream(Path(folder)) as upstream,
        contenders.relay(Path(folder), upstream.url) as relay,
        contenders.gateway(Path(folder), upstream.url) as gateway,
    ):
        best: dict[str, float] = {}
        for contender in (relay, gateway):
            measure.wrk(contender, measure.body(contender.model, "whole"), CONNECTIONS, SECONDS)  # warm up
        for _ in range(ROUNDS):
            for contender in (relay, gateway):
                row = measure.load(contender, upstream, "whole", CONNECTIONS, SECONDS)
                if row.errors or row.cpu_ms is None:
                    sys.exit(f"{contender.name}: {row.errors} requests failed.")
                best[contender.name] = min(best.get(contender.name, row.cpu_ms), row.cpu_ms)
    ratio = best[gateway.name] / best[relay.name]
    text = ", ".join(f"{name} {cpu_ms:.3f} ms" for name, cpu_ms in best.items())
    print(f"CPU per request: {text}; ratio {ratio:.2f}, at most {LIMIT}")
    if ratio > LIMIT:
        sys.exit("A request costs more than it did: profile it as bench/README.md says.")


if __name__ == "__main__":
    main()
