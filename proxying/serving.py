"""The edge of the data plane: one client request in, one answer out, whatever happens in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256

from proxying.adapters.base import ClientBody
from proxying.attempt import Upstreams
from proxying.auth import authenticate
from proxying.errors import (
    AuthenticationError,
    ClientGoneError,
    GatewayError,
    InvalidRequestError,
    NotReadyError,
    render,
)
from proxying.forward import forward
from proxying.http import Answer, GatewayRequest
from proxying.outcome import Exchange, id_headers, request_id, response_headers
from proxying.runtime import Runtime, current
from proxying.schemas import parse_body
from routing.types import Caller, Endpoint, RouteRequest

logger = logging.getLogger("sluice.serving")
_LONGEST_SESSION_KEY = 1024
Read = Callable[[GatewayRequest, Endpoint, Runtime], Awaitable[ClientBody]]
Serve = Callable[[Exchange, ClientBody, RouteRequest, Upstreams], Awaitable[Answer]]


async def infer(
    request: GatewayRequest,
    endpoint: Endpoint,
    *,
    dialect: str = "openai",
    serve: Serve | None = None,
    begun: Callable[[Exchange], None] | None = None,
    read: Read | None = None,
) -> Answer:
    """Serve one inference request; every failure becomes an error in the client's dialect.

    ``read`` reads its body, ``serve`` answers it once it is known who asks for what; where they are not
    given the body is JSON, and ``forward`` answers. ``begun`` gets the exchange before anything is done for
    it; if it names the caller, no key is looked for.
    """
    runtime = current()
    exchange = Exchange(endpoint, request.headers, request.started, request_id(request.headers))
    if begun is not None:
        begun(exchange)
    answer: Answer | None = None
    try:
        try:
            answer = await _serve(request, exchange, runtime, read or read_json, serve or forward)
        except GatewayError as error:
            answer = _failed(exchange, error, dialect)
        except Exception:
            logger.exception("Serving a request failed (%s).", exchange.request_id)
            answer = _failed(exchange, GatewayError("The gateway failed to serve the request."), dialect)
    finally:
        if answer is None:  # the client left: the server cancelled this task
            _gone(exchange)
        if answer is None or answer.stream is None:
            if exchange.body is not None and exchange.body.form is not None:
                await exchange.body.form.close()
            _finish(exchange, runtime)
    answer.headers += response_headers(exchange, routing=runtime.routing_headers)
    return answer


async def answer_or_error(
    request: GatewayRequest, work: Callable[[Runtime, Caller], Answer], *, dialect: str = "openai"
) -> Answer:
    """Answer a client's question that calls no provider: authenticated, errors in its dialect."""
    runtime = current()
    given_id = request_id(request.headers)
    try:
        answer = work(runtime, caller_of(request.headers, runtime))
    except GatewayError as error:
        answer = error_answer(error, dialect, given_id)
    answer.headers += id_headers(given_id, dialect)
    return answer


def error_answer(error: GatewayError, dialect: str, given_id: str) -> Answer:
    """An error as an answer, without the request's id in its headers."""
    status, headers, body = render(error, dialect, given_id)
    return Answer(status, headers, body)


def caller_of(headers: Mapping[str, str], runtime: Runtime) -> Caller:
    """The owner of the request's key.

    Raises:
        AuthenticationError: there is none.
        NotReadyError: nobody knows, as there is no configuration yet.
    """
    try:
        return authenticate(headers, runtime.table().callers, runtime.caller_rules, time.time())
    except AuthenticationError:
        if not runtime.is_loaded:  # started while the database was away: every key is unknown
            raise NotReadyError("This worker has not loaded its configuration yet.") from None
        runtime.metrics.unauthenticated.inc()
        raise


def session_key(
    headers: Mapping[str, str], body: ClientBody, caller: Caller, session_header: str
) -> str | None:
    """What a session is known by: header, body, the caller's path. T43: never the request's id."""
    data, metadata = body.data, body.data.get("metadata")
    user = data.get("user")
    if body.dialect == "anthropic" and isinstance(metadata, dict):
        user = metadata.get("user_id")  # the same field, by its name in that dialect
    for value in (headers.get(session_header), data.get("prompt_cache_key"), user):
        if isinstance(value, str) and value.strip():
            return _bounded(value.strip())
    return caller.user_path or None


def _bounded(key: str) -> str:
    """A key of any length, short: never cut, as two sessions with the same beginning are still two."""
    if len(key) <= _LONGEST_SESSION_KEY:
        return key
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


async def read_json(request: GatewayRequest, endpoint: Endpoint, runtime: Runtime) -> ClientBody:
    """Read a whole JSON body.

    Raises:
        InvalidRequestError: it is compressed.
        Everything that ``parse_body`` raises.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidRequestError("The body must not be compressed: leave out the header Content-Encoding.")
    return parse_body(await request.read_body(runtime.max_body_bytes), endpoint)


async def _serve(
    request: GatewayRequest, exchange: Exchange, runtime: Runtime, read: Read, serve: Serve
) -> Answer:
    caller = exchange.caller = exchange.caller or caller_of(request.headers, runtime)
    body = await read(request, exchange.endpoint, runtime)
    exchange.body = body
    if body.form is not None:
        exchange.waited_s += body.form.waited_s
    exchange.requested_model = body.data["model"]
    exchange.streamed = body.wants_stream
    provider = body.data.get("provider")
    route = RouteRequest(
        model=exchange.requested_model,
        endpoint=exchange.endpoint,
        caller=caller,
        provider=provider if isinstance(provider, str) else None,
        session_key=session_key(request.headers, body, caller, runtime.session_header),
    )
    answer = await serve(exchange, body, route, runtime.upstreams)
    exchange.answered(answer.status)
    return answer


def _failed(exchange: Exchange, error: GatewayError, dialect: str) -> Answer:
    answer = error_answer(error, dialect, exchange.request_id)
    exchange.answered(answer.status)
    exchange.failed(error, "client_gone" if isinstance(error, ClientGoneError) else "error")
    return answer


def _gone(exchange: Exchange) -> None:
    exchange.answered(ClientGoneError.status)
    exchange.failed(ClientGoneError("The client left before the answer."), "client_gone")


def _finish(exchange: Exchange, runtime: Runtime) -> None:
    """A stream finishes itself at its end. Strangers leave no record: they could fill the database."""
    if exchange.caller is None:
        return
    runtime.finish(exchange)
