"""``python -m bench.tls``: what TLS to a provider costs, on connections that are kept.

The same gateway with the same fake provider, without TLS and with it, and nginx as a plain proxy the same
way. The lines take turns, several times round; of each the least processor time counts.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import contenders, machine, measure
from bench.contenders import OTHER_CORE, Contender, free_port
from tests.certificates import self_signed

RESULTS = Path(__file__).with_name("results")
SHAPES = ("whole", "burst", "paced")
CONNECTIONS = 64
CONFIGURATION = """\
providers:
  bench-a: {{type: openai_compatible, base_url: "{url}/v1", models: [bench-model]}}
  bench-b: {{type: openai_compatible, base_url: "{url}/v1", models: [bench-model]}}
routing:
  model_pools:
    priority-pool:
      candidates:
        - {{provider: bench-a, model: bench-model, priority: 1}}
        - {{provider: bench-b, model: bench-model, priority: 2}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description=__doc__)
    parser.add_argument("--seconds", type=int, default=2, help="of load per line and round (2)")
    parser.add_argument("--rounds", type=int, default=4, help="(4)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-tls-") as folder, contextlib.ExitStack() as running:
        work = Path(folder)
        certificate = self_signed(work, "127.0.0.1")
        plain, secure = running.enter_context(provider(work, certificate))
        for name in ("plain", "tls"):  # nginx keeps its files beside its configuration
            (work / name).mkdir()
        lines = [
            running.enter_context(gateway(work, plain.url, {})),
            running.enter_context(gateway(work, secure, {"SSL_CERT_FILE": str(certificate)})),
            running.enter_context(contenders.nginx(work / "plain", plain.url)),
            running.enter_context(contenders.nginx(work / "tls", secure)),
        ]
        names = ["Sluice", "Sluice, TLS", "nginx", "nginx, TLS"]
        taken = measured(dict(zip(names, lines, strict=True)), plain, options)
    show(taken)
    now = datetime.datetime.now(datetime.UTC)
    report = {"started_at": now.isoformat(timespec="seconds"), "machine": machine.describe(), "lines": taken}
    file = RESULTS / f"{now:%Y-%m-%d-%H%M}-{report['machine']['commit']}-tls.json"
    file.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\n{file.relative_to(machine.ROOT)}")


@contextlib.contextmanager
def provider(work: Path, certificate: Path) -> Iterator[tuple[Contender, str]]:
    """The fake provider, and its address with TLS."""
    port, tls_port, log = free_port(), free_port(), work / "upstream.log"
    argv = [sys.executable, "-m", "bench.upstream", str(port), str(tls_port), str(certificate)]
    with contenders.process(argv, OTHER_CORE, log):
        contenders.wait_for(f"http://127.0.0.1:{port}/stats", log)
        yield Contender("direct", f"http://127.0.0.1:{port}"), f"https://127.0.0.1:{tls_port}"


def gateway(work: Path, url: str, env: dict[str, str]) -> contextlib.AbstractContextManager[Contender]:
    return contenders.gateway(work, configuration=CONFIGURATION.format(url=url), env=env)


def measured(
    lines: dict[str, Contender], provider: Contender, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """The cheapest round of each line and shape."""
    found: dict[str, dict[str, Any]] = {name: {} for name in lines}
    for line in lines.values():
        measure.wrk(line, measure.body(line.model, "whole"), 8, 1)  # warm up
    for shape in SHAPES:
        for _ in range(1 if shape == "paced" else options.rounds):
            for name, line in lines.items():
                row = measure.load(line, provider, shape, CONNECTIONS, options.seconds).as_json()
                if row["errors"]:
                    sys.exit(f"{name}: {row['errors']} requests failed.")
                found[name][shape] = min(row, found[name].get(shape, row), key=cpu_ms)
    return found


def cpu_ms(row: dict[str, Any]) -> float:
    return float(row["cpu_ms"])


def show(taken: dict[str, dict[str, Any]]) -> None:
    print(f"{'CPU ms':14}{'whole':>9}{'burst':>9}{'chunk':>9}")
    for name, found in taken.items():
        chunk = found["paced"]["cpu_ms_per_chunk"]
        print(f"{name:14}{found['whole']['cpu_ms']:9.3f}{found['burst']['cpu_ms']:9.2f}{chunk:9.4f}")


if __name__ == "__main__":
    main()
