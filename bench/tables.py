"""The tables and the plot of ``docs/performance.md``, from the raw numbers of a run of ``bench.compare``."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from html import escape
from math import log
from pathlib import Path
from typing import Any

from bench.machine import ROOT

PAGE = ROOT / "docs/performance.md"
PLOT = ROOT / "docs/images/performance.svg"
Found = dict[str, Any]
Line = dict[str, Any]


def publish(report: Found, source: Path) -> None:
    """Write the tables between the page's marks, and the plot."""
    text = PAGE.read_text()
    for name, table in {**TABLES, "run": lambda found: run(found, source)}.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        if not found:
            raise SystemExit(f"{PAGE.name} has no mark {begin.strip()}")
        text = before + begin + table(report) + "\n" + end + rest.partition(end)[2]
    PAGE.write_text(text)
    PLOT.write_text(plot(report))


def all_of(report: Found) -> str:
    """Every table."""
    return "\n\n".join(f"{name}\n\n{table(report)}" for name, table in TABLES.items())


def run(report: Found, source: Path) -> str:
    """What it was measured on."""
    machine = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in sorted(machine["packages"].items()))
    others = ", ".join(f"{name} {version}" for name, version in sorted(report["peers"].items()))
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; "
        f"{report['started_at'][:10]}, commit {machine['commit']}; {packages}; {others}. "
        f"`{report['command']}`: {report['repeats']} "
        f"repeats of {report['seconds_per_line']:g} s a line. Raw numbers: `bench/results/{source.name}`."
    )


def processor(report: Found) -> str:
    """CPU per request."""
    wanted = [
        ("0.3 KB, 1", "whole", 1, 300),
        ("0.3 KB, 8", "whole", 8, 300),
        ("0.3 KB, 64", "whole", 64, 300),
        ("0.3 KB, 256", "whole", 256, 300),
        ("5 KB, 64", "whole", 64, 5_000),
        ("500 KB, 64", "whole", 64, 500_000),
        ("burst of 200 chunks, 64", "burst", 64, 300),
    ]
    rows = [
        [found["name"], *(cpu(line_of(found, *key)) for _, *key in wanted), per_chunk(found)]
        for found in report["contenders"].values()
    ]
    return markdown(["CPU ms per request", *(title for title, *_ in wanted), "per paced chunk, 64"], rows)


def throughput(report: Found) -> str:
    """Requests per second of one core, and what a request waits."""
    rows = []
    for found in report["contenders"].values():
        row = [found["name"]]
        for connections in (1, 8, 64, 256):
            kept = line_of(found, "whole", connections, 300)
            row.append(f"{median(kept, 'rps'):,.0f}" if kept and not failed(kept) else "fails")
        row.append(added(found))
        rows.append(row)
    titles = ["requests per second", "1", "8", "64", "256 connections", "first content added, ms"]
    return markdown(titles, rows)


def latency(report: Found) -> str:
    """Latency at a constant rate."""
    rates = [entry["rate"] for entry in report["direct"]["rates"]]
    every = [{"name": "direct", **report["direct"]}, *report["contenders"].values()]
    rows = [[found["name"], *map(percentiles, found["rates"])] for found in every]
    return markdown(["p50 / p99 / p99.9, ms", *(f"{rate:g}/s" for rate in rates)], rows)


def percentiles(entry: Found) -> str:
    """Of one rate."""
    if entry["failed"] or not entry["answered"]:
        return f"{entry['failed']:,} not answered"
    return f"{entry['p50_ms']:g} / {entry['p99_ms']:g} / {entry['p999_ms']:g}"


def footprint(report: Found) -> str:
    """Start and memory."""
    rows = [
        [found["name"], f"{found['cold_start_s']:.1f}", f"{found['idle_mb']:.0f}", f"{found['after_mb']:.0f}"]
        for found in report["contenders"].values()
    ]
    return markdown(["", "cold start, s", "MB idle", "MB after the load"], rows)


def scaling(report: Found) -> str:
    """Workers behind one Redis."""
    rows = [
        [str(row["workers"]), f"{row['rps']:,.0f}", f"{row['cpu_ms']:.2f}", f"{row['memory_mb']:.0f}"]
        for row in report.get("scaling", ())
    ]
    return markdown(["workers", "requests per second", "CPU ms per request", "MB, the largest"], rows)


TABLES: dict[str, Callable[[Found], str]] = {
    "processor": processor,
    "throughput": throughput,
    "latency": latency,
    "footprint": footprint,
    "scaling": scaling,
}


def line_of(found: Found, shape: str, connections: int, size: int) -> Line | None:
    """One line of a contender."""
    for line in found["lines"]:
        if (line["shape"], line["connections"], line["body_bytes"]) == (shape, connections, size):
            kept: Line = line
            return kept
    return None


def median(line: Line, field: str) -> float:
    """Of the repeats."""
    return statistics.median(row[field] for row in line["repeats"])


def failed(line: Line) -> bool:
    """Whether a request failed, or none was answered."""
    return any(row["errors"] or not row["requests"] for row in line["repeats"])


def cpu(line: Line | None) -> str:
    """Median with the spread of the repeats."""
    if line is None or failed(line):
        return "fails"
    if line["shape"] != "whole" and not all(row["cpu_ms_per_chunk"] for row in line["repeats"]):
        return "–"  # nothing that it sent was a stream
    values = [row["cpu_ms"] for row in line["repeats"]]
    middle = statistics.median(values)
    spread = (max(values) - min(values)) / 2
    digits = 3 if middle < 0.1 else 2 if middle < 10 else 1
    return f"{middle:.{digits}f} ± {spread:.{digits}f}"


def per_chunk(found: Found) -> str:
    """Of the paced streams."""
    line = line_of(found, "paced", 64, 300)
    if line is None or failed(line):
        return "fails"
    value = line["repeats"][0]["cpu_ms_per_chunk"]
    return f"{value:.3f}" if value else "–"


def added(found: Found) -> str:
    """First streamed content later than direct."""
    value = found["first_content_added_ms"]
    return "fails" if value is None else f"{value:.2f}"


def markdown(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table."""
    head = list(titles)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(report: Found) -> str:
    """CPU per request at 64 connections as bars on a logarithmic scale: an SVG that reads light and dark."""
    bars = []
    for found in report["contenders"].values():
        line = line_of(found, "whole", 64, 300)
        if line is not None and not failed(line):
            bars.append((found["name"], median(line, "cpu_ms")))
    bars.sort(key=lambda bar: bar[1])
    top, step, left, width = 44, 30, 190, 520
    least = min(value for _, value in bars) / 2
    most = max(value for _, value in bars)
    parts = []
    for place, (name, value) in enumerate(bars):
        y = top + place * step
        length = width * _log_share(value, least, most)
        fill = "#2563eb" if name.startswith("Sluice") else "#94a3b8"
        label = f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
        parts.append(
            f'<text x="{left - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="20" rx="3" fill="{fill}"/>'
            f'<text x="{left + length + 8:.1f}" y="{y + 15}">{label}</text>'
        )
    height = top + len(bars) * step + 12
    title = "CPU ms per whole request, 64 connections, one core (logarithmic; less is better)"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {height}" role="img" '
        f'aria-label="{title}" font-family="system-ui, sans-serif" font-size="14" fill="#64748b">\n'
        f'<text x="12" y="24" font-weight="600">{title}</text>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _log_share(value: float, least: float, most: float) -> float:
    return log(value / least) / log(most / least) if most > least else 1.0
