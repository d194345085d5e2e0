"""One connection to a provider: HTTP/1.1, one request and its answer at a time, parsed by httptools.

An answer keeps what has come until it is read, so its connection is free for the next request as soon as the
answer's last byte is here. Nothing in this file raises a gateway error: ``proxying.client`` translates.
"""

from __future__ import annotations

import asyncio
import select
import zlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

import httptools

from proxying.upstream_address import Origin
from proxying.write_flow import WriteFlow

MAX_HEADER_BYTES: Final = 65_536
# So much of an answer waits for its reader before the provider is told to pause.
_PAUSE_ABOVE_BYTES: Final = 262_144
_RESUME_BELOW_BYTES: Final = 65_536
# Above it, a body is not copied to be written together with its head.
_WRITTEN_TOGETHER_BYTES: Final = 65_536
_INFLATED_AT_ONCE_BYTES: Final = 1_048_576
_NEVER: Final = float("inf")
# Turns of the loop within which what waits in a socket is read.
_TURNS_TO_READ: Final = 3


class ConnectionEndedError(Exception):
    """The connection ended before the answer did. ``begun``: a part of its head had come."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__("the connection ended before the answer did")
        self.begun = begun


class MalformedAnswerError(Exception):
    """What came is not HTTP/1.1 as it must be, or more than is taken."""


class Answer:
    """What comes back for one request. ``status`` is 0 until the head is complete.

    ``headers`` has lower-case names as bytes; of repeated ones the last.
    """

    __slots__ = (
        "_connection",
        "_inflater",
        "_pieces",
        "_waiter",
        "ended",
        "headers",
        "held",
        "problem",
        "status",
    )

    def __init__(self, connection: Connection) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.ended = False
        self.problem: Exception | None = None
        self.held = 0
        self._pieces: list[bytes] = []
        self._inflater: Any = None  # of zlib.decompressobj, whose class has no public name
        self._waiter: asyncio.Future[None] | None = None
        self._connection = connection

    async def head(self, until: float) -> None:
        """Wait for the head until an instant of the loop's clock.

        Raises:
            TimeoutError: it has not come.
            ConnectionEndedError, MalformedAnswerError: it never will.
        """
        while not self.status:
            if self.problem is not None:
                raise self.problem
            await self._wait(until)

    async def next_piece(self, until: float) -> bytes:
        """What has come since the last time; empty when that was all.

        Raises:
            TimeoutError: nothing came until then.
            ConnectionEndedError, MalformedAnswerError: it broke off, after all that came was taken.
        """
        while True:
            if self._pieces:
                if piece := self._take():
                    return piece
            elif self.problem is not None:
                raise self.problem
            elif self.ended:
                if self._inflater is not None and not self._inflater.eof:
                    raise MalformedAnswerError("the compressed body is cut")
                return b""
            else:
                await self._wait(until)

    @property
    def is_over(self) -> bool:
        """Whether the whole answer has come and was taken."""
        return self.ended and not self._pieces and (self._inflater is None or self._inflater.eof)

    def abort(self) -> None:
        """Close the connection, unless the whole answer has come: then it is another's by now."""
        if not self.ended:
            self._connection.abort()

    # For the connection.

    def begin(self, status: int) -> None:
        """The head is complete."""
        encoding = self.headers.get(b"content-encoding", b"").strip().lower()
        if encoding in {b"gzip", b"x-gzip", b"deflate"}:
            # 32: with the header of either format, as it is found.
            self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif encoding not in {b"", b"identity"}:
            raise MalformedAnswerError("a content encoding that was not asked for")
        self.status = status

    def add(self, piece: bytes) -> None:
        """A part of the body has come."""
        self._pieces.append(piece)
        self.held += len(piece)

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def late(self) -> None:
        """The instant that was waited for is here."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    async def _wait(self, until: float) -> None:
        self._waiter = self._connection.loop.create_future()
        self._connection.watch(until)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _take(self) -> bytes:
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if self._inflater is not None:
            piece = self._inflated(piece)
        self.held = sum(map(len, self._pieces))
        if not self.ended and self.held < _RESUME_BELOW_BYTES:
            self._connection.resume()
        return piece

    def _inflated(self, piece: bytes) -> bytes:
        """At most a megabyte; what is left of the piece waits for the next time."""
        try:
            made: bytes = self._inflater.decompress(piece, _INFLATED_AT_ONCE_BYTES)
        except zlib.error as error:
            self.problem = MalformedAnswerError("the body cannot be decoded")
            self._pieces.clear()
            self.abort()
            raise self.problem from error
        if self._inflater.unconsumed_tail:
            self._pieces.append(self._inflater.unconsumed_tail)
        return made


class Connection(WriteFlow):
    """One connection. ``on_free`` is told when it can take the next request, ``on_lost`` when it is no more.

    ``rests_from`` is the loop's time since which it has been without a request; None while it has one, or
    has not had one yet.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        on_free: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        self.origin = origin
        self.rests_from: float | None = None
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._has_begun = False
        self._to_the_end = False
        self._informational = False
        self._header_bytes = 0
        self._steps = 0
        self._stuck_bytes = 0
        self._is_complete = False
        self._may_stay = False
        self._is_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._until = _NEVER
        self._writing: asyncio.Task[None] | None = None

    # The client's side.

    def send(self, head: bytes, body: bytes) -> Answer:
        """Write a request; its answer is then under way."""
        answer = self._begin()
        transport = self._transport
        if transport is None or transport.is_closing():
            answer.problem = ConnectionEndedError(begun=False)
        elif len(body) <= _WRITTEN_TOGETHER_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        return answer

    def send_on(self, writing: Coroutine[Any, Any, None]) -> None:
        """Let a task write the rest of the request; it ends with the answer at the latest."""
        self._writing = self.loop.create_task(writing)

    async def write(self, piece: bytes) -> bool:
        """Write a piece of a request, and wait until the next may follow; false when none may.

        What the provider has said is read first: writing to one that has closed would lose it.
        """
        for _ in range(_TURNS_TO_READ):
            if self._poll is None or not self._poll.poll(0):
                break
            await asyncio.sleep(0)
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(piece)
        await self.drained()
        return self._transport is not None

    def is_usable(self) -> bool:
        """Whether a connection at rest can take a request: it is open, and has nothing to read.

        A request that is written to one that the provider has closed already would be lost.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        return self._poll is None or not self._poll.poll(0)

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def watch(self, until: float) -> None:
        """Call the answer late at this instant, unless another is named before.

        A timer that is too early stays and looks again when it fires: most requests need none of their own.
        """
        self._until = until
        if self._timer is None or self._timer.when() > until:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_at(until, self._look_at_the_clock) if until < _NEVER else None

    def resume(self) -> None:
        """The reader has caught up."""
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; prepare the look at what waits in its socket."""
        self._transport = transport  # type: ignore[assignment]  # create_connection() makes no other
        handle = transport.get_extra_info("socket")
        if handle is not None:
            # TLS 1.3 session tickets wait there on fresh connections: of TLS only the end itself counts.
            is_tls = transport.get_extra_info("ssl_object") is not None
            self._poll = select.poll()
            self._poll.register(
                handle.fileno(), select.POLLRDHUP | select.POLLHUP if is_tls else select.POLLIN
            )

    def data_received(self, data: bytes) -> None:
        """Parse; then wake the reader once, whatever came."""
        answer, steps = self._answer, self._steps
        if answer is None:
            self.abort()  # an answer that nobody asked for
            return
        self._has_begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._is_complete:
                self._break(MalformedAnswerError(str(error)))
                return
            self._may_stay = False  # something follows the answer
        if self._is_complete:
            self._end()
            return
        self._stuck_bytes = self._stuck_bytes + len(data) if steps == self._steps else 0
        if self._stuck_bytes > MAX_HEADER_BYTES:
            self._break(MalformedAnswerError("a line without an end"))
            return
        if answer.held > _PAUSE_ABOVE_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        answer.wake()

    def eof_received(self) -> None:
        """The provider sends no more, and so gets no more either."""
        self._lose(None)
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer if it lasts to the connection's end, else break it off."""
        self._lose(exc)
        self._stop_writing()
        self.resume_writing()
        if self._timer is not None:
            self._timer.cancel()
        self._transport = self._poll = self._parser = self._timer = None
        self._on_lost(self)

    # The parser's side.

    def on_message_begin(self) -> None:
        """A head begins; after a complete answer that is one that nobody asked for."""
        self._steps += 1
        if self._is_complete:
            raise MalformedAnswerError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a line of the trailer, which only counts."""
        self._steps += 1
        self._header_bytes += len(name) + len(value) + 4  # ": " and the line's end
        if self._header_bytes > MAX_HEADER_BYTES:
            raise MalformedAnswerError("too many headers")
        if self._answer is not None and not self._answer.status:
            self._answer.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is complete: of an interim answer, or of the answer."""
        self._steps += 1
        answer, status = self._answer, self._parser.get_status_code()
        if answer is None:
            return
        self._informational = status < 200
        if self._informational:
            answer.headers.clear()
            return
        coding = answer.headers.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            raise MalformedAnswerError("a transfer encoding that was not asked for")
        self._to_the_end = coding is None and b"content-length" not in answer.headers
        answer.begin(status)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._steps += 1
        if self._answer is not None:
            self._answer.add(body)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was an interim one."""
        self._steps += 1
        if not self._informational:
            self._is_complete = True
            self._may_stay = self._parser.should_keep_alive()

    # Both.

    def _begin(self) -> Answer:
        self.rests_from = None
        self._is_complete = self._may_stay = self._to_the_end = self._informational = False
        self._has_begun = False
        self._header_bytes = self._stuck_bytes = 0
        self._answer = Answer(self)
        return self._answer

    def _end(self) -> None:
        """The answer is whole: the connection rests, or closes."""
        answer, self._answer = self._answer, None
        self._until = _NEVER
        transport = self._transport
        self._may_stay = not self._stop_writing() and self._may_stay
        # One that answered before it had read the request is still sent the rest: nothing may follow that.
        if self._may_stay and transport is not None and not transport.get_write_buffer_size():
            self.resume()
            self.rests_from = self.loop.time()
            self._on_free(self)
        else:
            self.abort()
        if answer is not None:
            answer.ended = True
            answer.wake()

    def _stop_writing(self) -> bool:
        """Whether the request was still being written."""
        writing, self._writing = self._writing, None
        return writing is not None and not writing.done() and writing.cancel()

    def _break(self, problem: Exception) -> None:
        answer, self._answer = self._answer, None
        self._until = _NEVER
        if answer is not None:
            answer.problem = problem
            answer.wake()
        self.abort()

    def _lose(self, exc: Exception | None) -> None:
        answer = self._answer
        if answer is None:
            return
        if exc is None and self._to_the_end and answer.status:
            self._may_stay = False
            self._end()
        else:
            self._break(ConnectionEndedError(begun=self._has_begun))

    def _look_at_the_clock(self) -> None:
        self._timer = None
        if self.loop.time() < self._until:
            self.watch(self._until)
        elif self._answer is not None:
            self._until = _NEVER
            self._answer.late()
