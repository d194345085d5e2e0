"""The slow door: the fast lane's views as Django views, for the URLconf and for other servers."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from proxying.errors import RequestTooLargeError
from proxying.fastlane import View, answer
from proxying.http import CONTROLS, Answer, AnswerCutError

_PIECE_BYTES = 65_536
_has_control: Final = re.compile(CONTROLS).search


class DjangoRequest:
    """Django's request as ``http.GatewayRequest``."""

    def __init__(self, request: HttpRequest) -> None:
        self.started = time.perf_counter()
        self.method = request.method or "GET"
        self.path = request.path
        self.query_string = request.META.get("QUERY_STRING", "")
        # One with control characters counts as absent, as in the fast lane.
        self.headers: Mapping[str, str] = {
            name.lower(): value for name, value in request.headers.items() if not _has_control(value)
        }
        self._request = request

    async def read_body(self, limit: int) -> bytes:
        """Read the whole body; see ``http.GatewayRequest``."""
        # Read, not ``request.body``: that answers 400 above DATA_UPLOAD_MAX_MEMORY_SIZE. In a thread:
        # Django keeps large bodies in files.
        body: bytes = await asyncio.to_thread(self._request.read, limit + 1)
        if len(body) > limit:
            raise RequestTooLargeError(f"The request body has more than {limit} bytes.")
        return body

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body piece by piece."""
        while piece := await asyncio.to_thread(self._request.read, _PIECE_BYTES):
            yield piece


def django_view(methods: Mapping[str, View]) -> Callable[..., Coroutine[Any, Any, HttpResponseBase]]:
    """One Django view for all methods of a path."""

    @csrf_exempt
    async def door(request: HttpRequest, **arguments: str) -> HttpResponseBase:
        ours = DjangoRequest(request)
        given = await answer(ours, methods, arguments)
        if ours.method == "HEAD":
            return await _head(given)
        return _response(given)

    return door


async def _head(given: Answer) -> HttpResponseBase:
    response = _response(Answer(given.status, given.headers))
    if given.stream is None:
        response.headers["content-length"] = str(len(given.body))
    else:
        await given.stream.aclose()
    return response


def _response(given: Answer) -> HttpResponseBase:
    response: HttpResponseBase
    if given.stream is None:
        response = HttpResponse(given.body, status=given.status)
    else:
        response = StreamingHttpResponse(_unfinished_when_cut(given.stream), status=given.status)
    for name, value in given.headers:
        response.headers[name.decode("latin-1")] = value.decode("latin-1")
    return response


async def _unfinished_when_cut(stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Let Django drop an answer that must not end as if it were whole: as when its client has left."""
    async with aclosing(stream):
        try:
            async for piece in stream:
                yield piece
        except AnswerCutError:
            raise asyncio.CancelledError from None
