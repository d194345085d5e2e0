"""Load at a constant rate: every request has its moment, and its latency counts from that moment.

A generator that waits for an answer before it sends the next request measures little when the server
stalls, because it then sends little (coordinated omission). Here a request whose moment has come is sent at
once over a free or a new connection, and when ``MOST_CONNECTIONS`` are busy it waits with its clock running.

``python -m bench.open_loop URL RATE SECONDS BODY_FILE [HEADER...]`` prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

MOST_CONNECTIONS = 256
PATIENCE_S = 10.0


class Connection(asyncio.Protocol):
    """One request at a time; answers have a Content-Length or are chunked."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.due_at = 0.0
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, due_at: float) -> None:
        assert self.transport is not None
        self.due_at, self.buffer = due_at, b""
        self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or not is_complete(head.lower(), body):
            return
        if head.startswith(b"HTTP/1.1 200"):
            self.load.taken_s.append(time.perf_counter() - self.due_at)
        else:
            self.load.failed += 1
        self.due_at = 0.0
        self.load.answered()
        self.load.is_free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost(self)


def is_complete(head: bytes, body: bytes) -> bool:
    """Whether the body is there; ``head`` in lower case."""
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(head[at + 17 :].split(b"\r\n", 1)[0])


class Load:
    """The requests of one run. ``taken_s`` are latencies from each request's moment to its last byte."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.address = (host, port)
        self.request = request
        self.taken_s: list[float] = []
        self.failed = 0
        self.total = 0
        self.all_answered = asyncio.Event()
        self.connections = 0
        self.free: deque[Connection] = deque()
        self.waiting: deque[float] = deque()
        self.opening: set[asyncio.Task[None]] = set()

    async def run(self, rate: float, seconds: float) -> None:
        """Send at the rate; wait for the last answers, but not for ever."""
        began, total = time.perf_counter() + 0.05, int(rate * seconds)
        for number in range(total):
            due_at = began + number / rate
            if (early := due_at - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            self.begin(due_at)
        self.total = total
        self.answered()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.all_answered.wait(), PATIENCE_S)
        self.failed = total - len(self.taken_s)

    def answered(self) -> None:
        if self.total and len(self.taken_s) + self.failed >= self.total:
            self.all_answered.set()

    def begin(self, due_at: float) -> None:
        if self.free:
            self.free.pop().send(due_at)
            return
        self.waiting.append(due_at)
        if self.connections < MOST_CONNECTIONS:
            self.connections += 1
            task = asyncio.get_running_loop().create_task(self.open())
            self.opening.add(task)
            task.add_done_callback(self.opening.discard)

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: Connection(self), *self.address)
        except OSError:
            self.connections -= 1
            return
        self.is_free(connection)

    def is_free(self, connection: Connection) -> None:
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.free.append(connection)

    def lost(self, connection: Connection) -> None:
        self.connections -= 1
        if connection in self.free:
            self.free.remove(connection)


def percentile(ordered: list[float], share: float) -> float:
    """Milliseconds."""
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 2)


def main() -> None:
    url, rate, seconds, file, *headers = sys.argv[1:]
    address, data = urlsplit(url), Path(file).read_bytes()
    head = [f"POST {address.path} HTTP/1.1", f"Host: {address.netloc}", "Content-Type: application/json"]
    head += [f"Content-Length: {len(data)}", *headers, "", ""]
    load = Load(address.hostname or "", address.port or 80, "\r\n".join(head).encode() + data)
    asyncio.run(load.run(float(rate), float(seconds)))
    ordered = sorted(load.taken_s)
    result: dict[str, float | None] = {"rate": float(rate), "answered": len(ordered), "failed": load.failed}
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999), ("worst_ms", 1.0)):
        result[name] = percentile(ordered, share) if ordered else None
    print(json.dumps(result))


if __name__ == "__main__":
    main()
