"""The short way for data-plane requests: straight to the views, without Django's handler.

They come from connections of the lane's own (``proxying.lane_connection``) or as ASGI requests. Paths that no
route knows go on to Django, except those under ``/v1/``, which are answered here.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Final, Protocol

from proxying.errors import (
    ClientGoneError,
    GatewayError,
    MethodNotAllowedError,
    NotFoundError,
    RequestTooLargeError,
    render,
)
from proxying.http import CONTROLS, Answer, AnswerCutError, GatewayRequest
from proxying.outcome import id_headers, request_id

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
# Django's handler types its callables a little differently.
App = Callable[[Scope, Any, Any], Awaitable[None]]
View = Callable[..., Awaitable[Answer]]
# Methods of a path to views. A path ending in ``/{name}`` takes everything after the slash as ``name``.
Routes = Mapping[str, Mapping[str, View]]
# The methods of a path (None: it leads nowhere), and what stands for its name in braces.
Route = tuple[Mapping[str, View] | None, Mapping[str, str]]

_has_control: Final = re.compile(CONTROLS.encode()).search
_LINGER_S: Final = 2.0
_BODILESS: Final = frozenset({"GET", "HEAD"})
_NONE: Final[Mapping[str, Any]] = {}
log: Final = logging.getLogger(__name__)


class LaneRequest:
    """One ASGI request; see ``Served``."""

    __slots__ = (
        "__dict__",
        "_has_ended",
        "_is_reading",
        "_raw_headers",
        "_receive",
        "_send",
        "_task",
        "_watcher",
        "gone",
        "method",
        "path",
        "started",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = time.perf_counter()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.gone = False
        self._raw_headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._send = send
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._is_reading = self._has_ended = False
        self.__dict__["query_bytes"] = scope["query_string"]

    @cached_property
    def query_string(self) -> str:
        """What stands after the question mark, undecoded."""
        return str(self.__dict__["query_bytes"], "latin-1")

    @cached_property
    def headers(self) -> dict[str, str]:
        """Lower-case names; of a repeated header the first counts.

        One with control characters counts as absent: a provider could not be sent it, which would look like
        the provider's failure.
        """
        raw = self._raw_headers
        if _has_control(b"".join([value for _, value in raw])):
            raw = [(name, value) for name, value in raw if not _has_control(value)]
        return {str(name, "latin-1").lower(): str(value, "latin-1") for name, value in reversed(raw)}

    async def read_body(self, limit: int) -> bytes:
        """Read the whole body; see ``http.GatewayRequest``."""
        message = f"The request body has more than {limit} bytes."
        length = self.headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length) > limit:
            raise RequestTooLargeError(message)
        pieces: list[bytes] = []
        size = 0
        async for piece in self.chunks():
            size += len(piece)
            if size > limit:
                raise RequestTooLargeError(message)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body piece by piece; from its end on, the client's leaving cancels the view.

        The first piece is to be asked for by the view's task, the others by any.
        """
        more = self._task is None
        task = asyncio.current_task()
        self._is_reading = True
        try:
            while more:
                event = await self._receive()
                if event["type"] == "http.disconnect":
                    raise ClientGoneError("The client left before its request was complete.")
                more = event.get("more_body", False)
                self._has_ended = not more
                if piece := event.get("body", b""):
                    yield piece
        finally:
            self._is_reading = False
        self._watch_for(task)

    def watch(self) -> None:
        """Let the client's leaving cancel the current task. What is left of the body is dropped.

        Whoever still reads the body hears of it himself.
        """
        if not self._is_reading:
            self._watch_for(asyncio.current_task())

    def _watch_for(self, task: asyncio.Task[Any] | None) -> None:
        if task is None or self._task is not None:
            return
        self._task = task
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        self.gone = True
        if self._task is not None:
            self._task.cancel()

    @property
    def is_unread(self) -> bool:
        """Whether the client may still be sending its body."""
        return self._task is None and not self._has_ended

    async def linger(self) -> None:
        """Drop what the client still sends, for a moment.

        Closing on a client that is writing would take the answer from it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                more = True
                while more:
                    event = await self._receive()
                    more = event["type"] != "http.disconnect" and event.get("more_body", False)

    async def send(self, given: Answer) -> None:
        """Send the answer; its stream is closed on every path."""
        send, stream, headers = self._send, given.stream, given.headers
        if stream is None:
            headers = [*headers, (b"content-length", b"%d" % len(given.body))]
        try:
            await send({"type": "http.response.start", "status": given.status, "headers": headers})
            if stream is None or self.method == "HEAD":
                body = b"" if self.method == "HEAD" else given.body
                if self.is_unread:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    await self.linger()
                    body = b""
                await send({"type": "http.response.body", "body": body})
                return
            self.watch()
            async for piece in stream:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except AnswerCutError:
            return  # without the last event: the server closes the connection, and the client sees the cut
        finally:
            if stream is not None:
                await stream.aclose()

    def unwatch(self) -> None:
        """Stop looking for the client's leaving."""
        self._task = None
        if self._watcher is not None:
            self._watcher.cancel()


class Served(GatewayRequest, Protocol):
    """A request whose door can send the answer, and watches for the client's leaving."""

    gone: bool

    def watch(self) -> None:
        """Let the client's leaving cancel the current task."""
        ...

    def unwatch(self) -> None:
        """Stop looking for the client's leaving."""
        ...

    async def send(self, given: Answer) -> None:
        """Send the answer; its stream is closed on every path."""
        ...


class FastLane:
    """The ASGI callable; ``rest`` serves what is none of its paths."""

    def __init__(self, routes: Routes, rest: App) -> None:
        self.in_flight = 0
        self._rest = rest
        self._exact: dict[str, Route] = {
            path: (methods, {}) for path, methods in routes.items() if not path.endswith("}")
        }
        self._rooted = [
            (path[: path.rindex("{")], path[path.rindex("{") + 1 : -1], methods)
            for path, methods in routes.items()
            if path.endswith("}")
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        route = self.find(scope.get("path", "")) if scope["type"] == "http" else None
        if route is None:
            await self._rest(scope, receive, _headers_only(send) if scope.get("method") == "HEAD" else send)
        else:
            await self.serve(LaneRequest(scope, receive, send), *route)

    def find(self, path: str) -> Route | None:
        """What serves a path: its methods (None: nobody, a 404) and arguments; None: it is not the lane's."""
        found = self._exact.get(path)
        if found is not None:
            return found
        for root, name, methods in self._rooted:
            if path.startswith(root) and len(path) > len(root):
                return methods, {name: path[len(root) :]}
        return (None, _NONE) if path.startswith("/v1/") else None

    async def serve(
        self, request: Served, methods: Mapping[str, View] | None, arguments: Mapping[str, str]
    ) -> None:
        """Serve one request of the lane."""
        self.in_flight += 1
        try:
            if request.method in _BODILESS:
                request.watch()
            await request.send(await answer(request, methods, arguments))
        except asyncio.CancelledError:
            if not request.gone:
                raise
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        finally:
            self.in_flight -= 1
            request.unwatch()


def _headers_only(send: Send) -> Send:
    """For answers to HEAD: Django sends their body, and the server warns of it each time."""

    async def without_body(event: dict[str, Any]) -> None:
        await send({**event, "body": b""} if event["type"] == "http.response.body" else event)

    return without_body


def dialect_of(path: str) -> str:
    """Whose error envelope a path's clients read."""
    if path.startswith("/v1/messages"):
        return "anthropic"
    return "responses" if path.startswith("/v1/responses") else "openai"


async def answer(
    request: GatewayRequest, methods: Mapping[str, View] | None, arguments: Mapping[str, str]
) -> Answer:
    """Ask the view of a path (None: there is none); whatever goes wrong becomes an error in its dialect."""
    problem: GatewayError
    try:
        return await _view(request, methods)(request, **arguments)
    except GatewayError as error:
        problem = error
    except Exception:  # the edge: nothing of it may reach the client
        log.exception("A view failed: %s %s", request.method, request.path)
        problem = GatewayError("The gateway made an error; its log says more.")
    given_id, dialect = request_id(request.headers), dialect_of(request.path)
    status, headers, body = render(problem, dialect, given_id)
    headers += id_headers(given_id, dialect)
    if methods is not None and isinstance(problem, MethodNotAllowedError):
        headers.append((b"allow", _allowed(methods).encode()))
    return Answer(status, headers, body)


def _view(request: GatewayRequest, methods: Mapping[str, View] | None) -> View:
    if methods is None:
        raise NotFoundError(f"Unknown request URL: {request.method} {request.path}.")
    view = methods.get("GET" if request.method == "HEAD" else request.method)
    if view is None:
        text = f"{request.path} does not take {request.method}, only {_allowed(methods)}."
        raise MethodNotAllowedError(text)
    return view


def _allowed(methods: Mapping[str, View]) -> str:
    return ", ".join(sorted({*methods, "HEAD"} if "GET" in methods else methods))
