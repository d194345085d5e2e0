"""Clients' connections: the lane's plain requests are served here, all others by the server's own protocol.

httptools parses; a request that is for another path, or is anything but plain HTTP/1.1 (an upgrade, a proxy's
form of address, a head that is malformed or large), takes its connection to gunicorn's protocol, which gets
the bytes as they came. So nothing has to be decided here that gunicorn decides, and a request of ``/v1`` pays
for no ASGI messages: they were a quarter of its processor time.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol

import httptools

from proxying.fastlane import FastLane
from proxying.lane_request import DirectRequest
from proxying.write_flow import WriteFlow

# What is more goes to the server's own protocol, whose limits are the operator's.
MAX_HEAD_BYTES: Final = 16_384
MAX_FIELDS: Final = 64
# Requests that came before their turn. With a few, no more is read; one piece of data may hold many.
_FEW_WAITING: Final = 4
_MOST_WAITING: Final = 64
# Within so much a head must end and a body get on: a line, a chunk's extension, a trailer have no other end.
_STUCK_BYTES: Final = 65_536
_CUT_WITHIN_S: Final = 2.0
_HIGH_WATER_BYTES: Final = 65_536
_NOT_PLAIN: Final = frozenset({"upgrade", "expect", "http2-settings"})
log: Final = logging.getLogger("sluice.connection")


class Server(Protocol):
    """What a connection needs of its worker."""

    loop: asyncio.AbstractEventLoop
    keepalive_s: float
    body_timeout_s: float

    @property
    def keeps_connections(self) -> bool:
        """Whether an answer may be followed by another request."""
        ...

    def opened(self, connection: Hashable) -> None:
        """There is one more connection."""
        ...

    def lost(self, connection: Hashable) -> None:
        """It is gone, or another protocol's."""
        ...

    def served(self) -> None:
        """A request has been answered."""
        ...


class LaneConnection(WriteFlow):
    """One client's connection. Requests that come before the answer to another wait for their turn."""

    def __init__(self, server: Server, lane: FastLane, other: Callable[[], asyncio.Protocol]) -> None:
        self.loop = server.loop
        self.body_timeout_s = server.body_timeout_s
        self.heard_at = 0.0
        self._server = server
        self._lane = lane
        self._other = other
        self._transport: Any = None
        self._parser: Any = httptools.HttpRequestParser(self)
        # The head that is being parsed; ``_raw`` is what came of its request until the head was complete, and
        # None when that began in the middle of what was received at once.
        self._raw: list[bytes] | None = []
        self._data = b""
        self._is_fresh = False
        self._in_head = False
        self._head_bytes = 0
        self._target = b""
        self._headers: dict[str, str] = {}
        self._is_odd = False
        self._fields = 0
        self._steps = self._stuck_bytes = 0
        self._arriving: DirectRequest | None = None
        self._serving: DirectRequest | None = None
        self._waiting: deque[tuple[DirectRequest, Any]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._takes_no_more = False
        self._is_paused = False
        self._rests_from = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # The worker's side.

    def close_if_idle(self, since: float) -> None:
        """Close unless an answer is under way, or something came after ``since`` or waits in the socket."""
        if self._serving is None and self.heard_at <= since and not has_input(self._transport):
            self._close()

    async def cut(self) -> None:
        """End whatever runs here."""
        await cut(self._task, self._transport)

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register. The first request may take as long to come as any later one."""
        self._transport = transport
        self._transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._server.opened(self)
        self.heard_at = self._rests_from = self.loop.time()
        self._look_at_the_clock()

    def data_received(self, data: bytes) -> None:
        """Parse; start what is complete enough to be served."""
        self.heard_at = self.loop.time()
        if self._takes_no_more:
            return
        steps = self._steps
        self._data = data
        self._is_fresh = self._arriving is None and not self._in_head
        if self._in_head and self._raw is not None:
            self._raw.append(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._is_odd = True
        self._data = b""
        if self._in_head or steps == self._steps:
            self._stuck_bytes += len(data)
            self._is_odd = self._is_odd or self._stuck_bytes > _STUCK_BYTES
        else:
            self._stuck_bytes = 0
        if self._is_odd:
            self._give_up(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whom it concerns."""
        self._server.lost(self)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        self.resume_writing()
        if self._serving is not None:
            self._serving.leave()

    # The request's side.

    @property
    def is_ending(self) -> bool:
        """Whether no request will be taken after the one that is served."""
        return self._takes_no_more or not self._server.keeps_connections

    def write(self, *pieces: bytes) -> None:
        """Send; nothing happens when the client has left."""
        if self._transport is not None and not self._transport.is_closing():
            for piece in pieces:
                self._transport.write(piece)

    def pause(self) -> None:
        """Take nothing from the client for now."""
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on taking, unless enough wait already."""
        if self._is_paused and self._transport is not None and not self._waiting and not self._takes_no_more:
            self._is_paused = False
            self._transport.resume_reading()

    def cancel(self) -> None:
        """Cancel the task that serves the request."""
        if self._task is not None:
            self._task.cancel()

    # The parser's side.

    def on_message_begin(self) -> None:
        """A head begins."""
        self._steps += 1
        self._raw = [self._data] if self._is_fresh else None
        self._is_fresh = False
        self._in_head = True
        self._head_bytes = self._fields = 0
        self._target = b""
        self._headers = {}

    def on_url(self, url: bytes) -> None:
        """The target of the request, or a part of it."""
        self._steps += 1
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a line of the trailer, which nobody asked for."""
        if not self._in_head:
            return
        self._fields += 1
        self._head_bytes += len(name) + len(value)
        word = name.decode("latin-1").lower()
        if word not in self._headers:  # of a repeated header the first counts
            self._headers[word] = value.rstrip().decode("latin-1")
        elif word == "host":
            self._is_odd = True

    def on_headers_complete(self) -> None:
        """The head is complete: whose request is it?"""
        self._steps += 1
        self._in_head = False
        if self._is_odd:
            return
        target, headers = self._target, self._headers
        path, _, query = target.partition(b"?")
        route = self._lane.find(path.decode("latin-1")) if b"%" not in path else None
        if (
            route is None
            or self._parser.get_http_version() != "1.1"
            or "host" not in headers
            or not _NOT_PLAIN.isdisjoint(headers)
            or headers.get("transfer-encoding", "chunked").lower() != "chunked"
            or self._fields > MAX_FIELDS
            or self._head_bytes + len(target) > MAX_HEAD_BYTES
        ):
            self._is_odd = True
            return
        self._raw = None
        request = DirectRequest(
            self,
            self._parser.get_method().decode("latin-1"),
            path.decode("latin-1"),
            query.decode("latin-1"),
            headers,
        )
        request.ends_connection = not self._parser.should_keep_alive()
        self._arriving = request
        if self._serving is None:
            self._start(request, route)
        else:
            self._waiting.append((request, route))
            self._is_odd = len(self._waiting) >= _MOST_WAITING
            if len(self._waiting) >= _FEW_WAITING:
                self.pause()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._steps += 1
        if self._arriving is not None:
            self._arriving.feed(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._steps += 1
        if self._arriving is not None:
            self._arriving.end()
            self._arriving = None

    # All of them.

    def _start(self, request: DirectRequest, route: Any) -> None:
        self._serving = request
        self._task = self.loop.create_task(self._serve(request, route))

    async def _serve(self, request: DirectRequest, route: Any) -> None:
        try:
            await self._lane.serve(request, *route)
        except asyncio.CancelledError:
            request.ends_connection = True
            raise
        except Exception:  # the edge: a connection whose answer is unknown is not used again
            log.exception("A request could not be answered: %s %s", request.method, request.path)
            request.ends_connection = True
        finally:
            self._served(request)

    def _served(self, request: DirectRequest) -> None:
        self._serving = self._task = None
        self._server.served()
        if request.ends_connection or request.gone or self._transport is None:
            self._close()
            return
        self._rests_from = self.loop.time()
        if self._waiting:
            following, route = self._waiting.popleft()
            self._start(following, route)
            self.resume()
        elif self._takes_no_more:
            self._close()
        else:
            self.resume()

    def _give_up(self, data: bytes) -> None:
        """What came is not for this protocol, or for none."""
        if self._is_fresh:  # not even a beginning of a request
            self._raw = [data]
        if self._arriving is not None:
            self._arriving.break_off()
        elif self._raw is not None and self._serving is None:
            self._hand_over(b"".join(self._raw))
            return
        # The client has to ask for the rest anew, on another connection.
        self._takes_no_more = True
        if self._serving is None:
            self._close()
        else:
            self.pause()

    def _hand_over(self, raw: bytes) -> None:
        transport, self._transport = self._transport, None
        self._takes_no_more = True
        if self._timer is not None:
            self._timer.cancel()
        self._server.lost(self)
        other: Any = self._other()
        transport.set_protocol(other)
        other.connection_made(transport)
        other.data_received(raw)

    def _close(self) -> None:
        self._takes_no_more = True
        if self._transport is not None:
            self._transport.close()

    def _look_at_the_clock(self) -> None:
        """Close a connection that has been without a whole head for too long."""
        self._timer = None
        now, longest_s = self.loop.time(), self._server.keepalive_s
        due = (self._rests_from if self._serving is None else now) + longest_s
        if self._transport is None or longest_s <= 0:
            return
        if now >= due:
            self._close()
        else:
            self._timer = self.loop.call_at(due, self._look_at_the_clock)


async def cut(task: asyncio.Task[Any] | None, transport: Any) -> None:
    """End what a connection's task does, and the connection."""
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CUT_WITHIN_S)
    if transport is not None:
        transport.abort()


def has_input(transport: Any) -> bool:
    """Whether something waits in a transport's socket."""
    handle = transport.get_extra_info("socket") if transport is not None else None
    if handle is None or handle.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(handle.fileno(), select.POLLIN)
    return bool(poll.poll(0))
