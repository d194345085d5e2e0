"""The data plane's HTTP client: connections kept per provider, timeouts by name, faults as gateway errors.

It follows no redirect. It repeats a request in one case only: see ``UpstreamClient.send``.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping
from functools import partial
from typing import Final

from proxying.adapters.base import UpstreamRequest
from proxying.errors import UpstreamConnectError, UpstreamError, UpstreamProtocolError, UpstreamTimeoutError
from proxying.upstream_address import Origin, UnsendableError, address_of, request_head
from proxying.upstream_connect import Connector
from proxying.upstream_connection import Answer, Connection, ConnectionEndedError, MalformedAnswerError
from proxying.upstream_upload import answer_to_upload
from routing import policies
from routing.types import Timeouts

# Below the 60 s or more after which vendors and balancers close idle connections.
_KEEPALIVE_S: Final = 30.0
_SWEEP_S: Final = 5.0
# Turns of the loop that closed transports take to be gone.
_CLOSING_TURNS: Final = 3
_LATE: Final = "The provider did not complete its answer before the deadline."
# A provider that closed an idle connection while a request was on its way says so within a round trip. What
# ends later may have been worked on, and is not sent again here.
_LOST_WITHIN_S: Final = 0.5
# Servers keep an idle connection for seconds at least; one that rested less was not closed as idle, so its
# provider may have read the request: that is a failed attempt like any other (T35).
_IDLE_FROM_S: Final = 1.0

FAULTS: Final = (ConnectionEndedError, MalformedAnswerError, UnsendableError, OSError)


class AnswerHeaders(Mapping[str, str]):
    """The headers of an answer as text, decoded as they are asked for: most never are."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[bytes, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        """The value without the space around it."""
        return self._raw[name.encode("latin-1", "replace")].decode("latin-1").strip()

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        """How many names there are."""
        return len(self._raw)


class UpstreamResponse:
    """An answer whose headers have come."""

    def __init__(self, answer: Answer, timeouts: Timeouts, first_by: float, deadline_at: float):
        self.status = answer.status
        self._answer = answer
        self._idle_s = timeouts.idle_s
        self._has_content = False
        self._first_by = first_by
        self._deadline_at = deadline_at

    @property
    def headers(self) -> Mapping[str, str]:
        """Lower-case names; of repeated ones the last."""
        return AnswerHeaders(self._answer.headers)

    async def read(self, limit: int) -> bytes:
        """Read the whole body before the request's deadline.

        Raises:
            UpstreamTimeoutError: the deadline or the provider's idle timeout ran out.
            UpstreamProtocolError: it broke off, cannot be decoded or has more than ``limit`` bytes.
        """
        pieces: list[bytes] = []
        size = 0
        wait_until, name = self._first_by, "first-byte"
        loop = asyncio.get_running_loop()
        try:
            while not self._answer.is_over:
                piece = await self._next(min(wait_until, self._deadline_at), name)
                size += len(piece)
                if size > limit:
                    raise UpstreamProtocolError(f"The provider's answer has more than {limit} bytes.")
                pieces.append(piece)
                now = loop.time()
                if now > self._deadline_at:
                    raise UpstreamTimeoutError(_LATE)
                wait_until, name = now + self._idle_s, "idle"
        finally:
            self._answer.abort()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes; leaving early closes the connection.

        What came before a break is yielded first, then the error raised (``UpstreamTimeoutError``,
        ``UpstreamProtocolError``). Until ``content_came`` the first-byte timeout and the request's deadline
        end it, from then on only the idle timeout.
        """
        loop = asyncio.get_running_loop()
        wait_until, name = self._first_by, "first-byte"
        try:
            while piece := await self._next(wait_until, name):
                yield piece
                wait_until, name = loop.time() + self._idle_s, "idle"
                if not self._has_content and self._first_by < wait_until:
                    wait_until, name = self._first_by, "first-byte"
        finally:
            self._answer.abort()

    def content_came(self) -> None:
        """The first content of a stream is in hand: it may now last as long as it goes on."""
        self._has_content = True

    async def _next(self, until: float, name: str) -> bytes:
        try:
            return await self._answer.next_piece(until)
        except TimeoutError:
            late = until == self._deadline_at
            text = _LATE if late else f"The provider sent nothing before its {name} timeout."
            raise UpstreamTimeoutError(text) from None
        except (ConnectionEndedError, MalformedAnswerError) as error:
            raise UpstreamProtocolError("The provider's answer broke off or cannot be decoded.") from error

    async def close(self) -> None:
        """Close the connection if the body has not come to its end. May be called twice."""
        self.abort()

    def abort(self) -> None:
        """Close the connection now, unless the whole answer has come."""
        self._answer.abort()


class UpstreamClient:
    """Connections to all providers, of one event loop."""

    def __init__(self, *, deny_private: bool = False) -> None:
        self._deny_private = deny_private
        self._connector: Connector | None = None
        self._connections: set[Connection] = set()
        # At rest, those that rested least last. A dictionary: any of them can be taken out at once.
        self._resting: dict[Origin, dict[Connection, None]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Make ready in the running event loop."""
        self._connector = Connector(deny_private=self._deny_private)

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        self._connector = None
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._connections):
            connection.abort()
        for _ in range(_CLOSING_TURNS):
            await asyncio.sleep(0)

    async def send(
        self, request: UpstreamRequest, *, timeouts: Timeouts, deadline_at: float
    ) -> UpstreamResponse:
        """Send a request and wait for the headers of its answer, whatever the status.

        ``deadline_at`` is in the event loop's time. A request that went out on a connection that had rested
        for a while, and found it closed, is sent once more on a new one: the provider closed it as
        idle, so it has not read the request (RFC 9110, 9.2.2).

        Raises:
            UpstreamConnectError: no connection, or it ended before an answer.
            UpstreamTimeoutError: the connect or first-byte timeout, or the deadline, ran out.
            UpstreamProtocolError: what came is no HTTP answer.
        """
        loop = asyncio.get_running_loop()
        until = policies.attempt_ends_at(loop.time(), deadline_at, timeouts)
        try:
            answer = await self._exchange(request, timeouts, until, deadline_at)
        except TimeoutError as error:
            if request.upload is not None and request.upload.waits:
                raise TimeoutError from error  # the client's doing: the caller knows what to say of it
            name = "first-byte timeout" if loop.time() < deadline_at else "deadline of the request"
            raise UpstreamTimeoutError(f"The provider did not answer before the {name}.") from None
        except FAULTS as error:
            raise translated(error) from error
        if request.upload is not None:  # the time that the client took for it is not the provider's
            until = policies.attempt_ends_at(loop.time(), deadline_at, timeouts)
        return UpstreamResponse(answer, timeouts, until, deadline_at)

    async def _exchange(
        self, request: UpstreamRequest, timeouts: Timeouts, until: float, deadline_at: float
    ) -> Answer:
        address = address_of(request.url)
        head = request_head(request, address)
        upload = request.upload
        ask = partial(
            _ask, head=head, request=request, timeouts=timeouts, until=until, deadline_at=deadline_at
        )
        connection = self._take(address.origin)
        if connection is not None:
            taken_at = connection.loop.time()
            rested_s = taken_at - (connection.rests_from or taken_at)
            try:
                return await ask(connection)
            except ConnectionEndedError as error:
                late = connection.loop.time() > taken_at + _LOST_WITHIN_S
                is_gone = upload is not None and not upload.can_be_sent
                if rested_s < _IDLE_FROM_S or late or error.begun or is_gone:
                    raise
        return await ask(await self._connect(address.origin, timeouts.connect_s, until))

    def _take(self, origin: Origin) -> Connection | None:
        """A connection at rest that the provider has not closed, as far as can be seen here."""
        resting = self._resting.get(origin)
        while resting:
            connection, _ = resting.popitem()
            if connection.is_usable():
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: Origin, connect_s: float, until: float) -> Connection:
        if self._connector is None:
            raise RuntimeError("The upstream client is not open.")
        loop = asyncio.get_running_loop()
        connect_by = loop.time() + connect_s
        try:
            async with asyncio.timeout_at(min(connect_by, until)):
                made = await self._connector.connect(
                    origin, lambda: Connection(loop, origin, self._rests, self._lost)
                )
        except TimeoutError as error:
            if until < connect_by and error.errno is None:
                raise
            raise UpstreamTimeoutError(
                "The provider did not accept a connection before the connect timeout."
            ) from error
        except OSError as error:
            raise translated(error, connecting=True) from error
        self._connections.add(made)
        return made

    def _rests(self, connection: Connection) -> None:
        self._resting.setdefault(connection.origin, {})[connection] = None
        if self._sweeper is None:
            self._sweeper = connection.loop.call_later(_SWEEP_S, self._sweep)

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        resting = self._resting.get(connection.origin)
        if resting is not None:
            resting.pop(connection, None)
            if not resting:
                del self._resting[connection.origin]

    def _sweep(self) -> None:
        """Close what has rested for long."""
        loop = asyncio.get_running_loop()
        since = loop.time() - _KEEPALIVE_S
        for connection in self._connections:
            if connection.rests_from is not None and connection.rests_from < since:
                connection.abort()
        self._sweeper = loop.call_later(_SWEEP_S, self._sweep) if self._connections else None


async def _ask(
    connection: Connection,
    *,
    head: bytes,
    request: UpstreamRequest,
    timeouts: Timeouts,
    until: float,
    deadline_at: float,
) -> Answer:
    if request.upload is not None:
        return await answer_to_upload(connection, head, request.upload, timeouts.first_byte_s, deadline_at)
    answer = connection.send(head, request.body)
    try:
        await answer.head(until)
    except BaseException:  # the client's leaving above all: the provider need not go on
        answer.abort()
        raise
    return answer


def translated(error: Exception, *, connecting: bool = False) -> UpstreamError:
    """The gateway's error for one of this client's or the system's, before the headers of an answer."""
    if isinstance(error, TimeoutError):
        return UpstreamTimeoutError("The provider did not answer in time.")
    for kinds, problem in _CONNECT_PROBLEMS:
        if isinstance(error, kinds):
            return UpstreamConnectError(f"The provider cannot be reached: {problem}.")
    if isinstance(error, OSError):
        problem = "no connection" if connecting else "the connection ended before an answer"
        return UpstreamConnectError(f"The provider cannot be reached: {problem}.")
    return UpstreamProtocolError("The provider's answer is not valid HTTP.")


_CONNECT_PROBLEMS: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((socket.gaierror, UnicodeError), "its host name is not known"),
    ((ssl.SSLError, ssl.CertificateError), "TLS failed"),
    ((UnsendableError,), "its address or a header is not one that can be sent"),
    ((ConnectionEndedError,), "the connection ended before an answer"),
)
