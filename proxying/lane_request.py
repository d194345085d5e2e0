"""A client's request on a connection of the fast lane's own, and the bytes of its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Protocol

from proxying.errors import ClientGoneError, InvalidRequestError, RequestTimeoutError, RequestTooLargeError
from proxying.http import Answer, AnswerCutError, Headers

# So much of a body waits for its reader before the client is told to pause.
_PAUSE_ABOVE_BYTES: Final = 262_144
# Above it, an answer's body is not copied to be written together with its head.
_WRITTEN_TOGETHER_BYTES: Final = 65_536
_LINGER_S: Final = 2.0
_END: Final = b"0\r\n\r\n"
_CLOSE: Final = (b"connection", b"close")
_CHUNKED: Final = (b"transfer-encoding", b"chunked")


class Line(Protocol):
    """What a request needs of its connection; see ``proxying.lane_connection``."""

    loop: asyncio.AbstractEventLoop
    body_timeout_s: float

    @property
    def is_ending(self) -> bool:
        """Whether no request will be taken after this one."""
        ...

    def write(self, *pieces: bytes) -> None:
        """Send; nothing happens when the client has left."""
        ...

    async def drained(self) -> None:
        """Wait until the client has taken most of what was sent."""
        ...

    def pause(self) -> None:
        """Take nothing from the client for now."""
        ...

    def resume(self) -> None:
        """Go on taking."""
        ...

    def cancel(self) -> None:
        """Cancel the task that serves the request."""
        ...


class DirectRequest:
    """One request; see ``http.GatewayRequest`` and ``fastlane.Served``.

    ``ends_connection`` is whether nothing may follow the answer on its connection.
    """

    __slots__ = (
        "_broken",
        "_drops",
        "_ended",
        "_held",
        "_is_late",
        "_is_reading",
        "_line",
        "_pieces",
        "_takes_all",
        "_waiter",
        "_watched",
        "ends_connection",
        "gone",
        "headers",
        "method",
        "path",
        "query_string",
        "started",
    )

    def __init__(
        self, line: Line, method: str, path: str, query_string: str, headers: Mapping[str, str]
    ) -> None:
        self.started = time.perf_counter()
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.gone = False
        self.ends_connection = False
        self._line = line
        self._pieces: list[bytes] = []
        self._held = 0
        self._ended = self._broken = self._is_late = False
        self._is_reading = self._takes_all = self._drops = self._watched = False
        self._waiter: asyncio.Future[None] | None = None

    # For the connection.

    def feed(self, piece: bytes) -> None:
        """A piece of the body has come."""
        if self._drops:
            return
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held > _PAUSE_ABOVE_BYTES and not self._takes_all:
            self._line.pause()
        self._wake()

    def end(self) -> None:
        """The body is complete."""
        self._ended = True
        self._wake()

    def break_off(self) -> None:
        """What comes is no body."""
        self._broken = self.ends_connection = True
        self._wake()

    def leave(self) -> None:
        """The client is gone."""
        self.gone = True
        self._wake()
        if self._watched:
            self._line.cancel()

    @property
    def is_unread(self) -> bool:
        """Whether the client may still be sending its body."""
        return not self._ended

    # For views.

    async def read_body(self, limit: int) -> bytes:
        """Read the whole body; see ``http.GatewayRequest``."""
        if not self._ended:
            await self._whole(limit)
        if self._held > limit:
            raise _too_large(limit)
        pieces, self._pieces, self._held = self._pieces, [], 0
        self._watch()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _whole(self, limit: int) -> None:
        # The parser takes digits alone, and no more of the body than they say.
        if int(self.headers.get("content-length", "0")) > limit:
            raise _too_large(limit)
        self._takes_all = True
        self._line.resume()
        while not self._ended and self._held <= limit:
            await self._wait()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body piece by piece; from its end on, the client's leaving cancels the view.

        The first piece is to be asked for by the view's task, the others by any.
        """
        if self._watched:
            return
        self._is_reading = True
        try:
            while True:
                if self._pieces:
                    piece = b"".join(self._pieces)
                    self._pieces.clear()
                    self._held = 0
                    self._line.resume()
                    yield piece
                elif self._ended:
                    break
                else:
                    await self._wait()
        finally:
            self._is_reading = False
        self._watch()

    async def _wait(self) -> None:
        """Wait for more of the body.

        Raises:
            ClientGoneError: there will be none.
            InvalidRequestError: it is not framed as HTTP wants it.
            RequestTimeoutError: it did not come in time.
        """
        if not (self.gone or self._broken):
            self._waiter = self._line.loop.create_future()
            timer = self._line.loop.call_later(self._line.body_timeout_s, self._late)
            try:
                await self._waiter
            finally:
                self._waiter = None
                timer.cancel()
        if self.gone:
            raise ClientGoneError("The client left before its request was complete.")
        if self._broken:
            raise InvalidRequestError("The body is not framed as HTTP/1.1 wants it.", code="invalid_body")
        if self._is_late:
            raise RequestTimeoutError("The rest of the request's body did not come in time.")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _late(self) -> None:
        self._is_late = True
        self._wake()

    # For the lane.

    def watch(self) -> None:
        """Let the client's leaving cancel the view. What is left of the body is dropped.

        Whoever still reads the body hears of it himself.
        """
        if self._is_reading or self._watched:
            return
        self._drops = True
        self._pieces.clear()
        self._held = 0
        self._line.resume()
        self._watch()

    def _watch(self) -> None:
        self._watched = True
        if self.gone:
            self._line.loop.call_soon(self._line.cancel)

    def unwatch(self) -> None:
        """Stop looking for the client's leaving."""
        self._watched = False

    async def send(self, given: Answer) -> None:
        """Write the answer; its stream is closed on every path.

        Raises:
            ValueError: a header holds what no header may.
        """
        # A client that still writes its body is heard out, but not for another request.
        self.ends_connection = self.ends_connection or self.is_unread or self._line.is_ending
        if given.stream is not None:
            await self._send_stream(given, given.stream)
            return
        headers = [*given.headers, (b"content-length", b"%d" % len(given.body))]
        head = head_of(given.status, [*headers, _CLOSE] if self.ends_connection else headers)
        body = given.body if self.method != "HEAD" else b""
        if len(body) <= _WRITTEN_TOGETHER_BYTES:
            self._line.write(head + body)
        else:
            self._line.write(head, body)
        if self.is_unread:
            await self._linger()
        await self._line.drained()

    async def _send_stream(self, given: Answer, stream: AsyncGenerator[bytes, None]) -> None:
        line = self._line
        framing = [_CHUNKED, _CLOSE] if self.ends_connection else [_CHUNKED]
        try:
            head = head_of(given.status, [*given.headers, *framing])
            if self.method == "HEAD":
                line.write(head)
                return
            self.watch()
            # The head goes with the first piece: there is one at once, by what an answer is.
            async for piece in stream:
                if not piece:
                    continue
                if len(piece) <= _WRITTEN_TOGETHER_BYTES:
                    line.write(b"%b%x\r\n%b\r\n" % (head, len(piece), piece))
                else:
                    line.write(b"%b%x\r\n" % (head, len(piece)), piece, b"\r\n")
                head = b""
                await line.drained()
            line.write(head + _END)
        except AnswerCutError:
            self.ends_connection = True  # without its end: the client sees the cut
        finally:
            await stream.aclose()

    async def _linger(self) -> None:
        """Drop what the client still sends, for a moment.

        Closing on a client that is writing would take the answer from it.
        """
        self._drops = True
        self._pieces.clear()
        self._line.resume()
        with suppress(TimeoutError, ClientGoneError, InvalidRequestError, RequestTimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while self.is_unread:
                    await self._wait()


def _too_large(limit: int) -> RequestTooLargeError:
    return RequestTooLargeError(f"The request body has more than {limit} bytes.")


def head_of(status: int, headers: Headers) -> bytes:
    """An answer's head.

    Raises:
        ValueError: a header holds a line end or a NUL: it would be another header, or an answer of its own.
    """
    lines = [
        _first_line(status),
        *[b"%b: %b\r\n" % header for header in headers],
        _date_line(int(time.time())),
    ]
    head = b"".join(lines)
    if head.count(b"\r") != len(lines) or head.count(b"\n") != len(lines) or b"\0" in head:
        raise ValueError("a header of the answer cannot be sent")
    return head + b"\r\n"


@lru_cache(maxsize=1)
def _date_line(second: int) -> bytes:
    return f"date: {formatdate(second, usegmt=True)}\r\n".encode()


@lru_cache(maxsize=600)
def _first_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:  # providers have some of their own
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()
