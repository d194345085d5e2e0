"""The short way for data-plane requests: straight from ASGI to the views, without Django's handler.

Paths that no route knows go on to Django, except those under ``/v1/``, which are answered here.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

from proxying.errors import (
    ClientGoneError,
    GatewayError,
    MethodNotAllowedError,
    NotFoundError,
    RequestTooLargeError,
    render,
)
from proxying.http import CONTROLS, TELL_LEAVING, Answer, AnswerCutError, GatewayRequest
from proxying.outcome import request_id

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
# Django's handler types its callables a little differently.
App = Callable[[Scope, Any, Any], Awaitable[None]]
View = Callable[..., Awaitable[Answer]]
# Methods of a path to views. A path ending in ``/{name}`` takes everything after the slash as ``name``.
Routes = Mapping[str, Mapping[str, View]]

_has_control: Final = re.compile(CONTROLS.encode()).search
_LINGER_S: Final = 2.0
_BODILESS: Final = frozenset({"GET", "HEAD"})
_NONE: Final[Mapping[str, Any]] = {}
log: Final = logging.getLogger(__name__)


class LaneRequest:
    """One request of the fast lane; see ``http.GatewayRequest``."""

    __slots__ = (
        "__dict__",
        "_has_ended",
        "_is_reading",
        "_raw_headers",
        "_receive",
        "_task",
        "_tell_leaving",
        "_watcher",
        "gone",
        "method",
        "path",
        "started",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.started = time.perf_counter()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.gone = False
        self._raw_headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._is_reading = self._has_ended = False
        self._tell_leaving = scope.get("extensions", _NONE).get(TELL_LEAVING)
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
        self._watch_for(task, is_read=True)

    def watch(self) -> None:
        """Let the client's leaving cancel the current task. What is left of the body is dropped.

        Whoever still reads the body hears of it himself.
        """
        if not self._is_reading:
            self._watch_for(asyncio.current_task())

    def _watch_for(self, task: asyncio.Task[Any] | None, *, is_read: bool = False) -> None:
        if task is None or self._task is not None:
            return
        self._task = task
        if is_read and self._tell_leaving is not None:
            self._tell_leaving(self._left)
        else:
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

    def unwatch(self) -> None:
        """Stop looking for the client's leaving."""
        self._task = None
        if self._tell_leaving is not None:
            self._tell_leaving(None)
        if self._watcher is not None:
            self._watcher.cancel()


class FastLane:
    """The ASGI callable; ``rest`` serves what is none of its paths."""

    def __init__(self, routes: Routes, rest: App) -> None:
        self.in_flight = 0
        self._rest = rest
        self._exact = {path: methods for path, methods in routes.items() if not path.endswith("}")}
        self._rooted = [
            (path[: path.rindex("{")], path[path.rindex("{") + 1 : -1], methods)
            for path, methods in routes.items()
            if path.endswith("}")
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        methods = self._exact.get(path) if scope["type"] == "http" else None
        arguments: dict[str, str] = {}
        if methods is None and scope["type"] == "http":
            methods, arguments = self._rooted_route(path)
        if methods is None and not path.startswith("/v1/"):
            await self._rest(scope, receive, _headers_only(send) if scope.get("method") == "HEAD" else send)
            return
        request = LaneRequest(scope, receive)
        self.in_flight += 1
        try:
            if request.method in _BODILESS:
                request.watch()
            await _send(request, await answer(request, methods, arguments), send)
        except asyncio.CancelledError:
            if not request.gone:
                raise
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        finally:
            self.in_flight -= 1
            request.unwatch()

    def _rooted_route(self, path: str) -> tuple[Mapping[str, View] | None, dict[str, str]]:
        for root, name, methods in self._rooted:
            if path.startswith(root) and len(path) > len(root):
                return methods, {name: path[len(root) :]}
        return None, {}


def _headers_only(send: Send) -> Send:
    """For answers to HEAD: Django sends their body, and the server warns of it each time."""

    async def without_body(event: dict[str, Any]) -> None:
        await send({**event, "body": b""} if event["type"] == "http.response.body" else event)

    return without_body


async def _send(request: LaneRequest, given: Answer, send: Send) -> None:
    stream, headers = given.stream, given.headers
    if stream is None:
        headers = [*headers, (b"content-length", b"%d" % len(given.body))]
    try:
        await send({"type": "http.response.start", "status": given.status, "headers": headers})
        if stream is None or request.method == "HEAD":
            body = b"" if request.method == "HEAD" else given.body
            if request.is_unread:
                await send({"type": "http.response.body", "body": body, "more_body": True})
                await request.linger()
                body = b""
            await send({"type": "http.response.body", "body": body})
            return
        request.watch()
        async for piece in stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except AnswerCutError:
        return  # without the last event: the server closes the connection, and the client sees the cut
    finally:
        if stream is not None:
            await stream.aclose()


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
    given_id = request_id(request.headers)
    status, headers, body = render(problem, dialect_of(request.path), given_id)
    headers.append((b"x-request-id", given_id.encode()))
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
