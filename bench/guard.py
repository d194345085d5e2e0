"""``python -m bench.guard``: fails when a request has become much more expensive; a minute, for CI.

The measure is a ratio: processor time per request of the gateway to that of a bare relay under gunicorn's
own worker, in turns on the same core, the best of several short runs each. So it hardly depends on the
machine or on what else runs there; no wall-clock time is looked at. Asked for are a call that goes straight
through, a stream of 200 events, and both again of a provider with another wire format.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench import contenders, measure, translation
from bench.contenders import Contender

ROUNDS = 6
SECONDS = 1.0


class Line(NamedTuple):
    """What is asked of the gateway, and how many bare relays it may cost: half as much again as measured."""

    name: str
    kind: str
    shape: str
    limit: float


LINES = (
    Line("straight", "openai_compatible", "whole", 5.2),
    Line("straight, streamed", "openai_compatible", "burst", 25.0),
    Line("translated", "anthropic", "whole", 6.2),
    Line("translated, streamed", "anthropic", "burst", 35.0),
)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sluice-guard-") as folder, contextlib.ExitStack() as running:
        work = Path(folder)
        plain = running.enter_context(contenders.upstream(work))
        relay = running.enter_context(contenders.relay(work, plain.url))
        port = running.enter_context(translation.provider(work))
        gateway = running.enter_context(
            contenders.gateway(work, configuration=translation.configuration(port))
        )
        best = measured(relay, plain, gateway, Contender("wires", f"http://127.0.0.1:{port}"))
    bare = best[relay.name]
    print(f"CPU per request: bare relay {bare:.3f} ms")
    for line in LINES:
        ratio = best[line.name] / bare
        print(f"  {line.name:22}{best[line.name]:7.3f} ms; ratio {ratio:5.2f}, at most {line.limit}")
    if dear := [line.name for line in LINES if best[line.name] / bare > line.limit]:
        sys.exit(f"More expensive than before ({', '.join(dear)}): profile it as bench/README.md says.")


def measured(relay: Contender, plain: Contender, gateway: Contender, wires: Contender) -> dict[str, float]:
    """The least milliseconds of processor time per request, by line."""
    best: dict[str, float] = {}
    path = measure.PATH
    for number in range(ROUNDS + 1):  # the first warms up
        bodies = {line.name: translation.request("chat", line.kind, line.shape) for line in LINES}
        taken = {relay.name: translation.once(relay, plain, path, measure.body("any", "whole"), SECONDS)}
        taken |= {
            name: translation.once(gateway, wires, path, body, SECONDS) for name, body in bodies.items()
        }
        if number:
            best = {name: min(cpu_ms, best.get(name, cpu_ms)) for name, cpu_ms in taken.items()}
    return best


if __name__ == "__main__":
    main()
