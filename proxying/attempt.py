"""One upstream call: sent, read, relayed, and settled exactly once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from proxying.adapters.base import (
    Adapter,
    ClientBody,
    Progress,
    StreamTranslator,
    Target,
    UpstreamRequest,
    Usage,
)
from proxying.errors import (
    ClientGoneError,
    GatewayError,
    RequestError,
    UpstreamConnectError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
    render_event,
    scrub_error,
)
from proxying.http import Answer, Headers
from proxying.outcome import Attempt, Exchange, attempt_error
from routing import policies
from routing.live_health import LiveHealth
from routing.policies import Failure, FailureKind, RetryBudget
from routing.resolver import Resolver
from routing.state import SharedState
from routing.types import Candidate, Provider, RoutingTable, Timeouts

logger = logging.getLogger("sluice.attempt")
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_ERROR_BYTES: Final = 256 * 1024
# What a provider may send before its first content: roles, comments, pings.
MAX_PRELUDE_BYTES: Final = 1024 * 1024
DRAIN_WITHIN_S: Final = 0.5
STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Response(Protocol):
    """An upstream's answer; see ``proxying.client``."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """Lower-case names; of repeated ones the last."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body; raises an ``UpstreamError`` when it is cut, late or larger than ``limit``."""
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body piece by piece; what came before a fault is delivered before the error (T53)."""
        ...

    def content_came(self) -> None:
        """A stream's first content is in hand: from here on only the idle timeout counts."""
        ...

    async def close(self) -> None:
        """Done with it; the connection may be used again."""
        ...

    def abort(self) -> None:
        """Given up: the connection is closed at once."""
        ...


class Client(Protocol):
    """What sends upstream requests; see ``proxying.client``."""

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts, deadline_at: float) -> Response:
        """Send and await the answer's head; raises an ``UpstreamError``.

        Neither it nor the answer's methods wait beyond ``deadline_at`` (loop time), until ``content_came``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Upstreams:
    """What the attempt loop works with.

    ``spawn`` runs a coroutine in the background, ``on_attempt`` hears every attempt's verdict, and ``finish``
    is called once when a stream has ended.
    """

    table: Callable[[], RoutingTable]
    resolver: Resolver
    state: SharedState
    health: LiveHealth
    client: Client
    budget: RetryBudget
    spawn: Callable[[Coroutine[Any, Any, Any]], None]
    on_attempt: Callable[[Exchange, Attempt], None]
    finish: Callable[[Exchange], None]


class Call:
    """One upstream call, from the request to its last byte. ``ended`` settles it exactly once."""

    __slots__ = (
        "adapter",
        "attempt",
        "candidate",
        "chunks",
        "exchange",
        "is_open",
        "mark",
        "progress",
        "provider",
        "response",
        "up",
    )

    def __init__(
        self,
        exchange: Exchange,
        candidate: Candidate,
        provider: Provider,
        adapter: Adapter,
        up: Upstreams,
    ) -> None:
        self.exchange = exchange
        self.candidate = candidate
        self.provider = provider
        self.adapter = adapter
        self.up = up
        self.response: Response | None = None
        self.chunks: AsyncGenerator[bytes, None] | None = None
        self.progress: Progress | None = None
        self.is_open = True
        self.mark = time.perf_counter()
        self.attempt = Attempt(candidate, provider.kind, self.mark, time.time())
        exchange.attempts.append(self.attempt)

    async def whole(self, request: UpstreamRequest, body: ClientBody, deadline: float) -> Answer:
        """The whole answer, checked before a byte of it goes on."""
        return await self._whole(await self._send(request, deadline), body)

    async def _whole(self, response: Response, body: ClientBody) -> Answer:
        raw = await response.read(MAX_ANSWER_BYTES)
        self._waited()
        parsed = self.adapter.parse_response(response.status, response.headers, raw, body)
        await response.close()
        self._succeeded(parsed.usage)
        self.up.health.completed(self.candidate.provider, self.candidate.model)
        self._leave()
        return Answer(200, [(b"content-type", parsed.content_type)], parsed.body)

    async def stream(
        self, request: UpstreamRequest, body: ClientBody, target: Target, deadline: float
    ) -> Answer:
        """An answer whose first content is in hand; the rest follows piece by piece."""
        response = await self._send(request, deadline)
        translator = self.adapter.stream(body, target)
        return await self._begun(response, translator, body.dialect, list(STREAM_HEADERS))

    async def _begun(
        self, response: Response, translator: StreamTranslator, dialect: str, headers: Headers
    ) -> Answer:
        self.progress = getattr(translator, "progress", None)
        chunks = self.chunks = response.chunks()
        head = await _until_content(translator, chunks)
        response.content_came()
        self._waited()
        self._succeeded(translator.usage)
        relay = self._relay(head, translator, chunks, dialect)
        # Started here, so that closing it runs its finally even when the first piece is never asked for.
        await anext(relay)
        return Answer(200, headers, stream=relay)

    def ended(self, error: BaseException) -> None:
        """The call failed or was given up before it had content: let go of everything, say how it went."""
        if not self.is_open:
            return
        self._waited()
        try:
            self._judge(error)
            self.up.on_attempt(self.exchange, self.attempt)
        finally:  # whatever a provider's words do to whoever reads them
            self._abort()

    def _judge(self, error: BaseException) -> None:
        if isinstance(error, UpstreamError):
            scrub_error(error, self.provider.api_key, self.provider.base_url)
            self.attempt.error = attempt_error(error)
            self._report(error)
            if len(self.exchange.attempts) > 1:
                self.up.budget.retry_failed()
        else:
            self.attempt.error = _own_cause(error)
            self.up.health.release_trial(self.candidate.provider, self.candidate.model)

    async def _send(self, request: UpstreamRequest, deadline: float) -> Response:
        timeouts: Timeouts = self.provider.timeouts
        response = await self.up.client.send(request, timeouts=timeouts, deadline_at=deadline)
        self.response = response
        self.attempt.status = response.status
        if 200 <= response.status < 300:
            return response
        if 300 <= response.status < 400:
            raise UpstreamProtocolError(f"The provider answered with a redirect ({response.status}).")
        try:
            raw = await response.read(MAX_ERROR_BYTES)
        except UpstreamError:
            raw = b""  # the status says enough
        raise UpstreamStatusError(
            self.adapter.parse_error(response.status, response.headers, raw, time.time())
        )

    def _succeeded(self, usage: Usage) -> None:
        self.exchange.usage = usage
        self.exchange.first_content_ms = (time.perf_counter() - self.exchange.started) * 1000
        self.up.health.success(self.candidate.provider, self.candidate.model)
        self.up.budget.success()
        self.up.on_attempt(self.exchange, self.attempt)

    async def _relay(
        self, head: bytes, translator: StreamTranslator, chunks: AsyncGenerator[bytes, None], dialect: str
    ) -> AsyncGenerator[bytes, None]:
        """The pieces of a stream whose first content is in hand; ends with ``[DONE]`` or an error event.

        T56: it ends with the answer, not with the provider's connection.
        """
        exchange = self.exchange
        is_clean = False
        try:
            exchange.outcome = "client_gone"  # until its end has been handed over
            yield b""
            if head:
                yield head
            try:
                while not translator.finished:
                    chunk = await anext(chunks, None)
                    piece = translator.end() if chunk is None else translator.feed(chunk)
                    if piece:
                        yield piece
                    if chunk is None:
                        break
                is_clean = True
                exchange.outcome = "ok"
                self.up.health.completed(self.candidate.provider, self.candidate.model)
            except UpstreamError as error:
                event = self._broke(error, dialect)
                yield error.partial + event
            except Exception as error:  # noqa: BLE001 - the edge: the client has had its 200
                yield self._failed_itself(error, dialect)
        finally:
            self.attempt.latency_ms = (time.perf_counter() - self.attempt.started) * 1000
            if is_clean:
                self._leave()
                self.up.spawn(_drain(chunks))
            else:
                exchange.usage.broke_off()
                self._abort()
            self.up.finish(exchange)

    def _broke(self, error: UpstreamError, dialect: str) -> bytes:
        """The provider failed in the middle of a stream: the event that tells the client."""
        scrub_error(error, self.provider.api_key, self.provider.base_url)
        self.attempt.error = attempt_error(error)
        self._report(error, after_content=True)
        self.exchange.failed(error, "cut")
        return self._told(error, dialect)

    def _failed_itself(self, error: Exception, dialect: str) -> bytes:
        """The gateway failed in the middle of a stream, or the client left that was still uploading."""
        if isinstance(error, ClientGoneError):
            return b""
        logger.error("Relaying a stream failed (%s).", self.exchange.request_id, exc_info=error)
        fault = GatewayError("The gateway failed to relay the answer.")
        self.attempt.error = "internal_error"
        self.exchange.failed(fault, "cut")
        return self._told(fault, dialect)

    def _told(self, error: GatewayError, dialect: str) -> bytes:
        """How a stream that has begun tells its client of an error."""
        so_far = self.progress or Progress()
        return render_event(
            error,
            dialect,
            self.exchange.request_id,
            number=so_far.next_number,
            response=so_far.response,
        )

    def _report(self, error: UpstreamError, *, after_content: bool = False) -> None:
        """What the failure says of the provider; a client's own 4xx says nothing."""
        health, provider, model = self.up.health, self.candidate.provider, self.candidate.model
        failure, cause = failure_of(error), self.attempt.error
        if policies.refuses_credential(failure):
            health.credential_refused(provider, cause)
        elif failure.status == 429:
            health.rate_limited(provider, model, error.retry_after_s)
        elif failure.status is None or failure.status >= 500 or failure.status in {402, 403}:
            health.failure(provider, model, cause, after_content=after_content)
        else:
            health.release_trial(provider, model)

    def _waited(self) -> None:
        now = time.perf_counter()
        self.exchange.waited_s += now - self.mark
        self.attempt.latency_ms = (now - self.attempt.started) * 1000
        self.mark = now

    def _leave(self) -> None:
        if self.is_open:
            self.is_open = False
            self.up.health.leave(self.candidate.provider)

    def _abort(self) -> None:
        self._leave()
        if self.response is not None:
            self.response.abort()
        if self.chunks is not None:
            self.up.spawn(self.chunks.aclose())


def _own_cause(error: BaseException) -> str:
    """Why a call ended that the provider did not fail."""
    if isinstance(error, asyncio.CancelledError):
        return "client_gone"
    if isinstance(error, RequestError | ClientGoneError):  # met while its body was on the way
        return error.code or error.type
    return "internal_error"


async def _drain(chunks: AsyncGenerator[bytes, None]) -> None:
    """Read what a finished stream still has, its end as a rule: then the connection can be used again."""
    with contextlib.suppress(TimeoutError, UpstreamError):
        async with contextlib.aclosing(chunks), asyncio.timeout(DRAIN_WITHIN_S):
            async for _ in chunks:
                pass


async def _until_content(translator: StreamTranslator, chunks: AsyncIterator[bytes]) -> bytes:
    """What the client gets first. T54: a finish without content is content."""
    held: list[bytes] = []
    size = 0
    async for chunk in chunks:
        piece = translator.feed(chunk)
        held.append(piece)
        size += len(chunk)
        if translator.has_content or translator.finished:
            return b"".join(held)
        if size > MAX_PRELUDE_BYTES:
            raise UpstreamProtocolError("The provider's stream has no content.")
    held.append(translator.end())
    return b"".join(held)


def failure_of(error: UpstreamError) -> Failure:
    """The facts of a failed attempt, as the policies read them."""
    if isinstance(error, UpstreamStatusError):
        facts = error.facts
        return Failure(
            kind="status",
            status=facts.status,
            code=facts.code,
            message=facts.message,
            param=facts.param,
            refused_credential=facts.refused_credential,
        )
    kind: FailureKind = "protocol"
    if isinstance(error, UpstreamConnectError):
        kind = "connect"
    elif isinstance(error, UpstreamTimeoutError):
        kind = "timeout"
    return Failure(kind=kind, code=error.code, message=error.message)
