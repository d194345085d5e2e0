"""The measurements: load by wrk, processor time by /proc, first content by an own client."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import machine
from bench.contenders import OTHER_CORE, Contender

PATH = "/v1/chat/completions"
SHAPES = ("whole", "burst", "paced")


@dataclass(slots=True)
class Row:
    """One line of the result. ``cpu_ms`` is per request; None where no process is measured."""

    contender: str
    shape: str
    connections: int
    requests: int
    errors: int
    rps: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float | None
    cpu_ms_per_chunk: float | None
    memory_mb: float | None

    def as_json(self) -> dict[str, object]:
        return asdict(self)


SENTENCE = "Please summarise the following paragraph for me. "
TYPICAL_BYTES = 1_150


def body(model: str, shape: str, size: int = TYPICAL_BYTES) -> str:
    """The request: about ``size`` bytes of conversation, 1 KB as a chat application sends it."""
    words = f"{shape}: " + SENTENCE * max((size - 160) // len(SENTENCE), 0)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": words}]
    streamed = {"stream": True} if shape != "whole" else {}
    return json.dumps(
        {"model": model, "messages": messages, "temperature": 0.2, **streamed}, separators=(",", ":")
    )


def sent(upstream: Contender) -> dict[str, int]:
    """How much the fake provider has sent so far."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{upstream.url}/stats", timeout=5) as answer:
        counted: dict[str, int] = json.load(answer)
        return counted


def load(
    contender: Contender,
    upstream: Contender,
    shape: str,
    connections: int,
    seconds: float,
    *,
    size: int = TYPICAL_BYTES,
) -> Row:
    """Load one contender with one shape of request of ``size`` bytes."""
    before, cpu_before = sent(upstream), machine.cpu_s(contender.pid) if contender.pid else 0.0
    # A paced stream takes two seconds: a shorter run would see none end.
    lasting = max(seconds, 6) if shape == "paced" else seconds
    result = wrk(contender, body(contender.model, shape, size), connections, lasting)
    time.sleep(0.3)  # what was cut off at the end is still being cleaned up
    after, cpu_after = sent(upstream), machine.cpu_s(contender.pid) if contender.pid else 0.0
    requests, chunks = after["requests"] - before["requests"], after["chunks"] - before["chunks"]
    cpu_ms = (cpu_after - cpu_before) * 1000
    measured = bool(contender.pid)
    return Row(
        contender.name,
        shape,
        connections,
        requests,
        int(result["errors"]),
        round(result["requests"] / result["seconds"], 1),
        round(result["p50_ms"], 2),
        round(result["p99_ms"], 2),
        round(cpu_ms / max(requests, 1), 4) if measured else None,
        round(cpu_ms / chunks, 4) if measured and chunks else None,
        machine.resident_mb(contender.pid) if measured else None,
    )


def wrk(
    contender: Contender, request: str, connections: int, seconds: float, path: str = PATH
) -> dict[str, float]:
    """Run wrk; what its ``done`` printed."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(request)
        file.flush()
        argv = ["taskset", "-c", OTHER_CORE, "wrk", "--threads", "1", "--connections", str(connections)]
        argv += ["--duration", f"{seconds:g}s", "--timeout", "30s"]
        argv += ["--script", str(Path(__file__).with_name("load.lua")), contender.url + path]
        argv += ["--", file.name, *contender.headers]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result: dict[str, float] = json.loads(line.removeprefix("RESULT "))
    return result


def first_content_ms(contenders: list[Contender], rounds: int = 200) -> dict[str, float]:
    """Median milliseconds to the first content of a paced stream, one request at a time, in turns."""
    taken: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            taken[contender.name].append(one_first_content(contender) * 1000)
    return {name: round(statistics.median(values), 3) for name, values in taken.items()}


def one_first_content(contender: Contender) -> float:
    """Seconds to the first content; the connection is then closed."""
    address = urlsplit(contender.url)
    data = body(contender.model, "paced").encode()
    head = [
        f"POST {PATH} HTTP/1.1",
        f"Host: {address.netloc}",
        "Content-Type: application/json",
        "User-Agent: bench",
        "Accept: */*",
    ]
    head += [f"Content-Length: {len(data)}", *contender.headers, "", ""]
    request = "\r\n".join(head).encode() + data
    with socket.create_connection((address.hostname or "", address.port or 80), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        connection.sendall(request)
        received = b""
        while b'"content":"word0' not in received and b'"content": "word0' not in received:
            piece = connection.recv(65536)
            if not piece:
                raise RuntimeError(f"{contender.name} sent no content: {received[:500]!r}")
            received += piece
        return time.perf_counter() - started
