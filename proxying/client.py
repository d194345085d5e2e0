"""The data plane's HTTP client: the one importer of aiohttp. It follows no redirect.

It repeats a request in one case only: see ``UpstreamClient.send``.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from proxying.adapters.base import UpstreamRequest
from proxying.errors import UpstreamConnectError, UpstreamError, UpstreamProtocolError, UpstreamTimeoutError
from routing.egress import check_address
from routing.types import Timeouts

_MAX_HEADER_BYTES: Final = 32_768
# Below the 60 s or more after which vendors and balancers close idle connections.
_KEEPALIVE_S: Final = 30.0
_DNS_TTL_S: Final = 10
_DEFAULT_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "sluice"}
_FAULTS: Final = (aiohttp.ClientError, OSError, ValueError)
# A provider that closed an idle connection while a request was on its way says so within a round trip. What
# ends later may have been worked on, and is not sent again here.
_LOST_WITHIN_S: Final = 0.5
# Servers keep an idle connection for seconds at least; one that rested less was not closed as idle, so its
# provider may have read the request: that is a failed attempt like any other (T35).
_IDLE_FROM_S: Final = 1.0


class UpstreamResponse:
    """An answer whose headers have come. ``headers`` has lower-case names; of repeated ones the last."""

    def __init__(
        self, response: aiohttp.ClientResponse, timeouts: Timeouts, first_by: float, deadline_at: float
    ):
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._idle_s = timeouts.idle_s
        self._first_by = first_by
        self._deadline_at = deadline_at

    async def read(self, limit: int) -> bytes:
        """Read the whole body before the request's deadline.

        Raises:
            UpstreamTimeoutError: the deadline or the provider's idle timeout ran out.
            UpstreamProtocolError: it broke off, cannot be decoded or has more than ``limit`` bytes.
        """
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout_at(self._deadline_at), aclosing(self.chunks()) as chunks:
                async for piece in chunks:
                    size += len(piece)
                    if size > limit:
                        raise UpstreamProtocolError(f"The provider's answer has more than {limit} bytes.")
                    pieces.append(piece)
        except TimeoutError:
            raise UpstreamTimeoutError(
                "The provider did not complete its answer before the deadline."
            ) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes; leaving early closes the connection.

        What came before a break is yielded first, then the error raised (``UpstreamTimeoutError``,
        ``UpstreamProtocolError``). The first piece may take until the first-byte timeout.
        """
        content = self._response.content
        loop = asyncio.get_running_loop()
        wait_until, timeout_name = self._first_by, "first-byte"
        try:
            while True:
                try:
                    async with asyncio.timeout_at(wait_until):
                        piece = await content.readany()
                except TimeoutError:
                    text = f"The provider sent nothing before its {timeout_name} timeout."
                    raise UpstreamTimeoutError(text) from None
                except _FAULTS as error:
                    if left := _leftover(content):
                        yield left
                    raise UpstreamProtocolError(
                        "The provider's answer broke off or cannot be decoded."
                    ) from error
                if not piece:
                    return
                yield piece
                wait_until, timeout_name = loop.time() + self._idle_s, "idle"
        finally:
            if not content.at_eof() or content.exception() is not None:
                self._response.close()

    async def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it. May be called twice."""
        self.abort()

    def abort(self) -> None:
        """Close the connection now, unless the whole answer has come."""
        self._response.close()


class UpstreamClient:
    """Connections to all providers, of one event loop."""

    def __init__(self, *, deny_private: bool = False) -> None:
        self._deny_private = deny_private
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the pool of connections; to be called inside the event loop."""
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                limit=0, keepalive_timeout=_KEEPALIVE_S, ttl_dns_cache=_DNS_TTL_S, socket_factory=self._socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_DEFAULT_HEADERS,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

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
        began_at = loop.time()
        first_by = began_at + timeouts.first_byte_s
        use = _Use()
        _use.set(use)
        try:
            async with asyncio.timeout_at(min(first_by, deadline_at)):
                try:
                    response = await self._request(request, timeouts)
                except _LOST as error:
                    late = loop.time() > use.taken_at + _LOST_WITHIN_S
                    if use.rested_s < _IDLE_FROM_S or late or _has_begun(error):
                        raise
                    use.only_new = True
                    response = await self._request(request, timeouts)
        except aiohttp.ServerTimeoutError as error:
            raise translated(error) from error
        except TimeoutError:
            name = "first-byte timeout" if first_by <= deadline_at else "deadline of the request"
            raise UpstreamTimeoutError(f"The provider did not answer before the {name}.") from None
        except _FAULTS as error:
            raise translated(error) from error
        return UpstreamResponse(response, timeouts, min(first_by, deadline_at), deadline_at)

    async def _request(self, request: UpstreamRequest, timeouts: Timeouts) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("The upstream client is not open.")
        return await self._session.request(
            request.method,
            _url(request.url),
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,
            timeout=_limits(timeouts.connect_s),
        )

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, where = address
        check_address(str(where[0]), deny_private=self._deny_private)
        return socket.socket(family, kind, protocol)


def translated(error: Exception) -> UpstreamError:
    """The gateway's error for one of aiohttp's or the system's, before the headers of an answer."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamTimeoutError("The provider did not accept a connection before the connect timeout.")
    if isinstance(error, TimeoutError):
        return UpstreamTimeoutError("The provider did not answer in time.")
    for kinds, problem in _CONNECT_PROBLEMS:
        if isinstance(error, kinds):
            return UpstreamConnectError(f"The provider cannot be reached: {problem}.")
    return UpstreamProtocolError("The provider's answer is not valid HTTP.")


_CONNECT_PROBLEMS: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((aiohttp.ClientConnectorDNSError,), "its host name is not known"),
    (
        (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch),
        "TLS failed",
    ),
    ((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError), "its address is not a valid URL"),
    ((aiohttp.ClientConnectorError,), "no connection"),
    ((aiohttp.UploadAbortedError,), "the request was not taken whole"),
    ((aiohttp.ClientConnectionError, OSError), "the connection ended before an answer"),
)


@dataclass(slots=True)
class _Use:
    """How one call uses connections: what it wants, and what it got."""

    only_new: bool = False
    rested_s: float = -1.0
    taken_at: float = 0.0


_use: ContextVar[_Use] = ContextVar("use of connections")
_LOST: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)


def _has_begun(error: Exception) -> bool:
    """Whether a part of the answer's head had come."""
    return isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)


class _Connector(aiohttp.TCPConnector):
    """Hands out no kept connection that the provider has already closed.

    A request written to one would be lost. An idle connection has nothing to read unless it was closed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._rests_from: WeakKeyDictionary[ResponseHandler, float] = WeakKeyDictionary()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        use = _use.get()
        while True:
            use.rested_s = -1.0
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            use.taken_at = self._loop.time()
            if protocol is None or protocol not in self._rests_from:
                return connection
            use.rested_s = use.taken_at - self._rests_from[protocol]
            if not use.only_new and not _is_stale(protocol):
                return connection
            connection.close()

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        self._rests_from[protocol] = self._loop.time()
        super()._release(key, protocol, should_close=should_close)


def _is_stale(protocol: ResponseHandler) -> bool:
    """Whether a connection at rest has something to read: the end, or an answer nobody asked for."""
    transport = protocol.transport
    handle = None if transport is None else transport.get_extra_info("socket")
    if handle is None:
        return False
    if transport is not None and transport.get_extra_info("ssl_object") is not None:
        # TLS 1.3 session tickets wait there on fresh connections: only the end itself counts.
        interest = select.POLLRDHUP | select.POLLHUP
    else:
        interest = select.POLLIN
    poll = select.poll()
    poll.register(handle.fileno(), interest)
    return bool(poll.poll(0))


def _leftover(content: aiohttp.StreamReader) -> bytes:
    """What a broken stream still holds: aiohttp raises before it hands that out."""
    error = content._exception
    content._exception = None
    try:
        return content.read_nowait()
    finally:
        content._exception = error


@lru_cache(maxsize=1024)
def _url(text: str) -> URL:
    # As configured: nothing is decoded or quoted anew.
    return URL(text, encoded=True)


@lru_cache(maxsize=256)
def _limits(connect_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect_s)
