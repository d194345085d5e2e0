"""``python -m bench.translation``: what a translated call costs, beside one that goes straight through.

Every client dialect at every wire format, whole and as a stream of 200 events, about 1 KB up and 1 KB down.
The lines take turns, several times round; of each the least processor time counts, since whatever else the
machine does can only add to it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import contenders, machine, measure
from bench.contenders import OTHER_CORE, Contender
from bench.wires import WORDS
from routing.kinds import KINDS
from tests.clients.vendors import CHOSEN, PREFIXES, VENDORS

RESULTS = Path(__file__).with_name("results")
CONNECTIONS = 16
# Dialect: where its clients ask, and the wire that takes it as it is.
DIALECTS = {
    "chat": ("/v1/chat/completions", "openai"),
    "messages": ("/v1/messages", "anthropic"),
    "responses": ("/v1/responses", "openai"),
}
PROVIDERS = {**CHOSEN, "openai, chat only": "openai_compatible"}
BUDGET_RATIO, BUDGET_CHUNK_US = 1.5, 60


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.translation", description=__doc__)
    parser.add_argument("--seconds", type=int, default=1, help="of load per line and round (1)")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        work = Path(folder)
        with provider(work) as port, contenders.gateway(work, configuration=configuration(port)) as gateway:
            taken = measured(gateway, f"http://127.0.0.1:{port}", options)
    print(f"{'client':12}{'provider':20}{'CPU ms':>9}{'x':>7}{'streamed':>10}{'x':>7}{'us/event':>10}")
    for dialect, (_, own) in DIALECTS.items():
        straight = taken[dialect, own]
        for name in [own, *(one for one in PROVIDERS if one != own)]:
            if (dialect, name) in taken:
                show(dialect, name, taken[dialect, name], straight)
    print(f"\n{write(taken, options).relative_to(machine.ROOT)}")


def write(taken: dict[Any, dict[str, float]], options: argparse.Namespace) -> Path:
    """Keep the raw numbers."""
    now = datetime.now(UTC)
    report = {
        "started_at": now.isoformat(timespec="seconds"),
        "command": " ".join(["python -m bench.translation", *sys.argv[1:]]),
        "machine": machine.describe(),
        "rounds": options.rounds,
        "seconds_per_line": options.seconds,
        "cpu_ms": {f"{dialect} at {name}": line for (dialect, name), line in taken.items()},
    }
    file = RESULTS / f"{now:%Y-%m-%d-%H%M}-{report['machine']['commit']}-translation.json"
    file.write_text(json.dumps(report, indent=1) + "\n")
    return file


def show(dialect: str, name: str, line: dict[str, float], straight: dict[str, float]) -> None:
    ratios = [line[shape] / straight[shape] for shape in ("whole", "burst")]
    chunk_us = (line["burst"] - line["whole"]) / WORDS * 1000
    over = " over budget" if ratios[0] > BUDGET_RATIO or chunk_us > BUDGET_CHUNK_US else ""
    cells = f"{line['whole']:>9.3f}{ratios[0]:>7.2f}{line['burst']:>10.2f}{ratios[1]:>7.2f}{chunk_us:>10.1f}"
    print(f"{dialect:12}{name:20}{cells}{over}")


@contextlib.contextmanager
def provider(work: Path) -> Iterator[int]:
    """The fake provider's port."""
    port, log = contenders.free_port(), work / "wires.log"
    with contenders.process([sys.executable, "-m", "bench.wires", str(port)], OTHER_CORE, log):
        contenders.wait_for(f"http://127.0.0.1:{port}/stats", log)
        yield port


def configuration(port: int) -> str:
    """A provider of each kind and a pool for it."""
    lines = ["providers:"]
    for kind in PROVIDERS.values():
        wire = KINDS[kind].wire
        lines += [
            f"  {kind}:",
            f"    type: {kind}",
            f"    base_url: http://127.0.0.1:{port}{PREFIXES[wire]}",
            "    api_key: ${BENCH_KEY}",
            f"    models: ['{VENDORS[kind].model}']",
        ]
    lines += ["models:", "  configured_provider_models_mode: allowlist", "routing:", "  model_pools:"]
    for kind in PROVIDERS.values():
        candidate = f"{{provider: {kind}, model: '{VENDORS[kind].model}', priority: 1}}"
        lines += [f"    at-{kind}:", "      candidates:", f"        - {candidate}"]
    return "\n".join([*lines, ""])


def request(dialect: str, kind: str, shape: str) -> str:
    """About 1 KB of conversation, as a client of the dialect sends it."""
    words = measure.SENTENCE * 20
    data: dict[str, Any] = (
        {"model": f"at-{kind}", "stream": True} if shape == "burst" else {"model": f"at-{kind}"}
    )
    if dialect == "responses":
        data |= {"instructions": "Be brief.", "input": words, "max_output_tokens": 1000}
    elif dialect == "messages":
        data |= {"system": "Be brief.", "messages": [{"role": "user", "content": words}], "max_tokens": 1000}
    else:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": words}]
        data |= {"messages": messages, "max_tokens": 1000}
    return json.dumps(data, separators=(",", ":"))


def measured(
    gateway: Contender, upstream_url: str, options: argparse.Namespace
) -> dict[Any, dict[str, float]]:
    """Milliseconds of processor time per request, by dialect and provider, whole and streamed."""
    taken: dict[Any, dict[str, float]] = {}
    upstream = Contender("direct", upstream_url)
    for _ in range(options.rounds):
        for dialect, (path, _) in DIALECTS.items():
            for name, kind in PROVIDERS.items():
                if name not in CHOSEN and dialect != "responses":
                    continue
                line = taken.setdefault((dialect, name), {})
                for shape in ("whole", "burst"):
                    cpu_ms = once(gateway, upstream, path, request(dialect, kind, shape), options.seconds)
                    line[shape] = min(cpu_ms, line.get(shape, cpu_ms))
    return taken


def once(gateway: Contender, upstream: Contender, path: str, body: str, seconds: float) -> float:
    before, cpu_before = measure.sent(upstream), machine.cpu_s(gateway.pid)
    result = measure.wrk(gateway, body, CONNECTIONS, seconds, path)
    time.sleep(0.3)
    after, cpu_after = measure.sent(upstream), machine.cpu_s(gateway.pid)
    if result["errors"]:
        sys.exit(f"{path}: {int(result['errors'])} requests failed: {body[:60]}")
    return (cpu_after - cpu_before) * 1000 / (after["requests"] - before["requests"])


if __name__ == "__main__":
    main()
