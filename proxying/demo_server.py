"""The demo's fake vendors over HTTP/1.1: one asyncio process, on the loopback address only.

It knows as much HTTP as the gateway and ``curl`` speak: bodies with a ``Content-Length``, kept-alive
connections. What it answers is decided in ``proxying.demo``.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import signal
from typing import Final

from proxying.demo import PACE_S, Reply, Vendors, reply

LARGEST_BODY_BYTES: Final = 33_554_432


async def serve(port: int) -> None:
    """Serve on ``127.0.0.1`` until SIGINT or SIGTERM.

    Raises:
        OSError: the port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await start(port)
    await stop.wait()
    server.close()  # connections still open end with the loop


async def start(port: int) -> asyncio.Server:
    """Start serving on ``127.0.0.1``; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    vendors = Vendors()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while await _one_request(vendors, reader, writer):
                pass
        writer.close()

    return await asyncio.start_server(connected, "127.0.0.1", port)


async def _one_request(vendors: Vendors, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer one request; say whether the connection may carry another."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "0")
    words = request_line.split(" ")
    if len(words) != 3 or not length.isdigit() or int(length) > LARGEST_BODY_BYTES:
        return False
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(length))
    answer = reply(vendors, words[0], words[1].partition("?")[0], body)
    if answer.delay_s:
        await asyncio.sleep(answer.delay_s)
    await _send(answer, writer)
    return not answer.cut and headers.get("connection", "").lower() != "close"


async def _send(answer: Reply, writer: asyncio.StreamWriter) -> None:
    """Write an answer; one that is cut promises more than it sends."""
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", f"content-type: {answer.content_type}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if answer.streamed:
        lines.append("transfer-encoding: chunked")
    else:
        lines.append(f"content-length: {sum(map(len, answer.pieces)) + (1 if answer.cut else 0)}")
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    for piece in answer.pieces:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if answer.streamed else piece)
        await writer.drain()
        if answer.streamed:
            await asyncio.sleep(PACE_S)
    if answer.streamed and not answer.cut:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Status"
