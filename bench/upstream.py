"""A fake provider that costs next to nothing: one asyncio protocol with ready-made answers.

``"stream":true`` in a body asks for a stream of ``CHUNKS`` events: at once or, with the word ``paced`` in it,
one every ``PACE_S``. ``GET /stats`` answers how much was sent so far.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import cast

CHUNKS = 200
PACE_S = 0.01


def sse(value: object) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def response(body: bytes, content_type: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        content_type,
        len(body),
        body,
    )


HEAD = {"id": "chatcmpl-bench", "created": 1767225600, "model": "bench-model"}
USAGE = {"prompt_tokens": 12, "completion_tokens": 200, "total_tokens": 212}
WHOLE = response(
    json.dumps(
        {
            **HEAD,
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "word " * 200},
                    "finish_reason": "stop",
                }
            ],
            "usage": USAGE,
        }
    ).encode()
)
MODELS = response(
    json.dumps(
        {
            "object": "list",
            "data": [{"id": "bench-model", "object": "model", "created": 1, "owned_by": "bench"}],
        }
    ).encode()
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
CHUNK_HEAD = {**HEAD, "object": "chat.completion.chunk"}
EVENTS = [
    framed(
        sse(
            {
                **CHUNK_HEAD,
                "choices": [{"index": 0, "delta": {"content": f"word{n} "}, "finish_reason": None}],
            }
        )
    )
    for n in range(CHUNKS)
]
STREAM_TAIL = (
    framed(sse({**CHUNK_HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    + framed(sse({**CHUNK_HEAD, "choices": [], "usage": USAGE}))
    + framed(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)
BURST = STREAM_HEAD + b"".join(EVENTS) + STREAM_TAIL


class Upstream(asyncio.Protocol):
    """One connection."""

    requests = 0
    chunks = 0

    def __init__(self) -> None:
        self.buffer = b""
        self.transport: asyncio.Transport | None = None
        self.pace: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def connection_lost(self, exc: Exception | None) -> None:
        if self.pace is not None:
            self.pace.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        assert self.transport is not None
        if head.startswith(b"get "):
            stats = json.dumps({"requests": Upstream.requests, "chunks": Upstream.chunks}).encode()
            self.transport.write(response(stats) if b"/stats" in head.split(b"\r\n", 1)[0] else MODELS)
            return
        Upstream.requests += 1
        if b'"stream":true' not in body and b'"stream": true' not in body:
            self.transport.write(WHOLE)
        elif b"paced" in body:
            self.transport.write(STREAM_HEAD)
            self.next_event(0)
        else:
            Upstream.chunks += CHUNKS
            self.transport.write(BURST)

    def next_event(self, place: int) -> None:
        """Send one event and come back for the next."""
        assert self.transport is not None
        if place == CHUNKS:
            self.transport.write(STREAM_TAIL)
            return
        Upstream.chunks += 1
        self.transport.write(EVENTS[place])
        self.pace = asyncio.get_running_loop().call_later(PACE_S, self.next_event, place + 1)


async def main(protocol: type[Upstream] = Upstream) -> None:
    """Listen; with ``TLS_PORT CERTIFICATE`` behind the port, with TLS on another one too."""
    loop, port = asyncio.get_running_loop(), int(sys.argv[1])
    server = await loop.create_server(protocol, "127.0.0.1", port, backlog=2048)
    if len(sys.argv) > 2:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[3])
        await loop.create_server(protocol, "127.0.0.1", int(sys.argv[2]), ssl=context, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.install()
    except ImportError:
        pass
    asyncio.run(main())
