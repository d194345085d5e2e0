"""A small scripted provider over real sockets: an OpenAI-dialect echo, and every way to break it.

Scripts are taken one per request, in order; then ``default`` answers.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
import struct
import zlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Received:
    """One request as it came. ``gone`` is set when the client closes before the answer is complete."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Script:
    """How to answer one request.

    ``body`` None: the echo. ``pieces`` are sent as chunks, ``piece_delay_s`` apart. ``cut_after_bytes`` is
    body bytes before the break, ``cut_after_pieces`` pieces; ``reset`` breaks with RST.
    ``drop`` breaks before the headers; ``hang`` never answers; ``raw`` is sent as it is, then closed.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    pieces: Sequence[bytes] | None = None
    delay_s: float = 0.0
    body_delay_s: float = 0.0
    piece_delay_s: float = 0.0
    cut_after_bytes: int | None = None
    cut_after_pieces: int | None = None
    drop: bool = False
    reset: bool = False
    hang: bool = False
    gzip: bool = False
    close: bool = False
    raw: bytes | None = None


def chunk_event(text: str, model: str = "m", finish: str | None = None) -> bytes:
    """One event of a chat stream."""
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def stream_pieces(texts: Sequence[str], model: str = "m") -> list[bytes]:
    """A whole chat stream, one event per piece."""
    return [*(chunk_event(t, model) for t in texts), chunk_event("", model, "stop"), b"data: [DONE]\n\n"]


def _compressed(pieces: Sequence[bytes]) -> list[bytes]:
    """One gzip stream of which each piece can be read at once."""
    press = zlib.compressobj(wbits=31)
    flushed = [press.compress(piece) + press.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*flushed, press.flush()]


class Upstream:
    """One listening provider."""

    def __init__(self) -> None:
        self.scripts: deque[Script] = deque()
        self.default = Script()
        self.requests: list[Received] = []
        self.models: list[str] = ["m"]
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._idle: set[asyncio.StreamWriter] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *scripts: Script) -> None:
        """Answer the next requests so."""
        self.scripts.extend(scripts)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse new connections and close the open ones."""
        if self._server is not None:
            self._server.close()
            self.close_connections()
            await asyncio.sleep(0)
            self._server = None

    def close_connections(self) -> None:
        """Close every open connection, idle ones too."""
        for writer in list(self._writers):
            # Now, not at the loop's next turn: the FIN is on its way when this returns.
            handle = writer.get_extra_info("socket").fileno()
            with suppress(OSError), socket.socket(fileno=os.dup(handle)) as copy:
                copy.shutdown(socket.SHUT_RDWR)
            writer.close()

    def close_idle(self) -> None:
        """Close the connections that have answered and wait, as far as is known here, for a request."""
        for writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.add(writer)
        try:
            while (request := await _read_request(reader, number)) is not None:
                self.requests.append(request)
                self._idle.discard(writer)
                script = self.scripts.popleft() if self.scripts else self.default
                answer = asyncio.ensure_future(self._answer(script, request, writer))
                # Watched by looking, not by reading: the next request may come while this answer ends.
                while not (await asyncio.wait({answer}, timeout=0.002))[0]:
                    if reader.at_eof() or reader.exception() is not None:
                        request.gone.set()
                        answer.cancel()
                        return
                if not await answer:
                    break
                self._idle.add(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            self._idle.discard(writer)
            writer.close()

    async def _answer(self, script: Script, request: Received, writer: asyncio.StreamWriter) -> bool:
        """Answer; false when the connection is to end."""
        await asyncio.sleep(script.delay_s)
        if script.hang:
            await asyncio.Event().wait()
        if script.drop:
            return _break(writer, reset=script.reset)
        if script.raw is not None:
            writer.write(script.raw)
            await writer.drain()
            return False
        body, pieces, content_type = self._content(script, request)
        headers = {"content-type": content_type, **script.headers}
        if script.gzip:
            headers["content-encoding"] = "gzip"
            body = gzip.compress(body)
            pieces = None if pieces is None else _compressed(pieces)
        chunked = pieces is not None
        headers["transfer-encoding" if chunked else "content-length"] = (
            "chunked" if chunked else str(len(body))
        )
        if script.close:
            headers["connection"] = "close"
        head = f"HTTP/1.1 {script.status} Scripted\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        writer.write(head.encode() + b"\r\n")
        await asyncio.sleep(script.body_delay_s)
        if pieces is None:
            if script.cut_after_bytes is not None:
                writer.write(body[: script.cut_after_bytes])
                return await self._cut(script, writer)
            writer.write(body)
        elif not await self._send_pieces(script, pieces, writer):
            return await self._cut(script, writer)
        await writer.drain()
        return not script.close

    async def _send_pieces(
        self, script: Script, pieces: Sequence[bytes], writer: asyncio.StreamWriter
    ) -> bool:
        left = script.cut_after_bytes
        for number, piece in enumerate(pieces):
            if number == script.cut_after_pieces:
                return False
            if left is not None and len(piece) >= left:
                writer.write(b"%x\r\n" % len(piece) + piece[:left])
                return False
            left = None if left is None else left - len(piece)
            writer.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
            await writer.drain()
            await asyncio.sleep(script.piece_delay_s)
        writer.write(b"0\r\n\r\n")
        return True

    async def _cut(self, script: Script, writer: asyncio.StreamWriter) -> bool:
        await writer.drain()
        return _break(writer, reset=script.reset)

    def _content(self, script: Script, request: Received) -> tuple[bytes, Sequence[bytes] | None, str]:
        if script.pieces is not None:
            return b"", script.pieces, "text/event-stream"
        if script.body is not None:
            return script.body, None, "application/json"
        if request.path.endswith("/models"):
            data = [{"id": m, "object": "model", "created": 1, "owned_by": "tests"} for m in self.models]
            return json.dumps({"object": "list", "data": data}).encode(), None, "application/json"
        asked = json.loads(request.body or b"{}")
        model = asked.get("model", "m")
        if asked.get("stream"):
            return b"", stream_pieces(["one ", "two"], model), "text/event-stream"
        if request.path.endswith("/embeddings"):
            usage = {"prompt_tokens": 2, "total_tokens": 2}
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
            whole = {"object": "list", "model": model, "data": data, "usage": usage}
        else:
            message = {"role": "assistant", "content": "one two"}
            usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            whole = {"id": "c1", "object": "chat.completion", "created": 1, "model": model}
            whole |= {"choices": choices, "usage": usage}
        return json.dumps(whole).encode(), None, "application/json"


def _break(writer: asyncio.StreamWriter, *, reset: bool) -> bool:
    if reset:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
    return False


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Received | None:
    begin = await reader.readexactly(1)
    if begin == b"\x16":
        raise ConnectionResetError("TLS, which nobody speaks here")
    head = begin + await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines) if k}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    elif length := int(headers.get("content-length", 0)):
        body = await reader.readexactly(length)
    return Received(method, path, headers, body, connection)


@asynccontextmanager
async def running(**default: object) -> AsyncIterator[Upstream]:
    """One running provider."""
    upstream = Upstream()
    upstream.default = Script(**default)
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.stop()
