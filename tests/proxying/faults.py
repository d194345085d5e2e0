"""Every way a provider fails that the tests know, for whole and for streamed answers.

A fault is a function that breaks a scripted upstream and gives the base URL to call (another port, host or
scheme where the fault lies before the connection).
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from tests.upstream import Script, Upstream, chunk_event, stream_pieces

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'


def error_body(code: str | None = None, message: str = "No.", kind: str = "server_error") -> bytes:
    """An error object of the OpenAI dialect."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


@dataclass(frozen=True)
class Fault:
    """What breaks, and what a client gets when nobody else can serve.

    ``whole`` and ``streamed`` are scripts (None: this fault is not one of such answers). ``status`` and
    ``code`` are the client's when every candidate fails so; ``event``: it gets a 200 that ends with an error
    event of that code. ``calls`` is whether the provider sees a request.
    """

    whole: Callable[[], Script] | None
    streamed: Callable[[], Script] | None
    status: int = 502
    code: str | None = "upstream_protocol_error"
    event: bool = False
    calls: bool = True
    address: Callable[[Upstream], Awaitable[str]] | None = None

    def script(self, *, stream: bool) -> Script | None:
        """The fault of a whole or a streamed answer."""
        made = self.streamed if stream else self.whole
        return None if made is None else made()


def both(**values: Any) -> tuple[Callable[[], Script], Callable[[], Script]]:
    """The same script, whole and streamed."""
    return (lambda: Script(**values)), (lambda: Script(**values))


async def _refused(_: Upstream) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


async def _unknown_host(_: Upstream) -> str:
    return "http://no-such-host.invalid/v1"


async def _tls(upstream: Upstream) -> str:
    return upstream.base_url.replace("http://", "https://")


def limited(**headers: str) -> tuple[Callable[[], Script], Callable[[], Script]]:
    return both(status=429, body=error_body("rate_limit_exceeded"), headers=headers)


def _to_a_date() -> Script:
    at = formatdate(time.time() + 30, usegmt=True)
    return Script(status=429, body=error_body("rate_limit_exceeded"), headers={"retry-after": at})


def _answer(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


BIG_HTML = b"<html><body>" + b"Bad Gateway " * 100_000 + b"</body></html>"
IN_BAND = b'data: {"error":{"message":"Overloaded","type":"server_error","code":503}}\n\n'
UNREACHABLE = {"status": 502, "code": "upstream_unreachable"}
LATE = {"status": 504, "code": "upstream_timeout"}


def make() -> dict[str, Fault]:
    """All faults by name; ``FAST`` timeouts of ``gateway.py`` are meant."""
    return {
        # Before an answer.
        "refused": Fault(*both(), **UNREACHABLE, calls=False, address=_refused),
        "unknown host": Fault(*both(), **UNREACHABLE, calls=False, address=_unknown_host),
        "TLS reset": Fault(*both(), **UNREACHABLE, calls=False, address=_tls),
        "closed before headers": Fault(*both(drop=True), **UNREACHABLE),
        "reset before headers": Fault(*both(drop=True, reset=True), **UNREACHABLE),
        "silent before headers": Fault(*both(hang=True), **LATE),
        "slow headers": Fault(*both(delay_s=0.7), **LATE),
        "slow body": Fault(*both(body_delay_s=0.7), **LATE),
        "headers cut": Fault(*both(raw=b"HTTP/1.1 200 OK\r\ncontent-le"), **UNREACHABLE),
        "no HTTP": Fault(*both(raw=b"SSH-2.0-OpenSSH_9.2\r\n\r\n")),
        "huge header": Fault(*both(headers={"x-long": "x" * 100_000})),
        # A 200 that is none.
        "empty 200": Fault(*both(body=b"")),
        "wrong content type": Fault(*both(body=b"Welcome!", headers={"content-type": "text/plain"})),
        "HTML page as 200": Fault(*both(body=b"<html>Login</html>", headers={"content-type": "text/html"})),
        "malformed JSON": Fault(*both(body=b'{"id": "c1", "choi')),
        "JSON of another shape": Fault(*both(body=b'{"hello": [1]}')),
        "malformed event": Fault(None, lambda: Script(pieces=[b"data: {oops\n\n", *stream_pieces(["x"])])),
        "error in a 200": Fault(*both(body=error_body("server_error")), status=500, code="server_error"),
        "in-band error first": Fault(None, lambda: Script(pieces=[ROLE, IN_BAND]), status=503, code="503"),
        "broken gzip": Fault(*both(body=b"\x1f\x8b\x08no", headers={"content-encoding": "gzip"})),
        "redirect": Fault(*both(status=307, body=b"", headers={"location": "http://127.0.0.1:9/"})),
        # Statuses.
        "500": Fault(*both(status=500, body=error_body()), status=500, code=None),
        "HTML error page": Fault(*both(status=502, body=b"<html>bad</html>"), status=502, code=None),
        "huge error body": Fault(*both(status=503, body=BIG_HTML), status=503, code=None),
        "529": Fault(*both(status=529, body=error_body("overloaded")), status=503, code="overloaded"),
        "429 in seconds": Fault(*limited(**{"retry-after": "30"}), status=429, code="rate_limit_exceeded"),
        "429 to a date": Fault(_to_a_date, _to_a_date, status=429, code="rate_limit_exceeded"),
        "429 in ms": Fault(*limited(**{"retry-after-ms": "30000"}), status=429, code="rate_limit_exceeded"),
        "401": Fault(
            *both(status=401, body=error_body("invalid_api_key")), status=502, code="upstream_auth_error"
        ),
        # Breaks within the answer.
        "body cut": Fault(lambda: Script(body=_answer("one two"), cut_after_bytes=20), None),
        "body reset": Fault(lambda: Script(body=_answer("one two"), cut_after_bytes=20, reset=True), None),
        "body stalls": Fault(lambda: Script(pieces=[b'{"id":', b'"c1"}'], piece_delay_s=0.6), None, **LATE),
        "cut before content": Fault(None, lambda: Script(pieces=[ROLE, ROLE], cut_after_pieces=1)),
        "end before content": Fault(None, lambda: Script(pieces=[ROLE])),
        "stall before content": Fault(
            None, lambda: Script(pieces=[ROLE, *stream_pieces(["x"])], piece_delay_s=0.7), **LATE
        ),
        "cut after content": Fault(
            None, lambda: Script(pieces=stream_pieces(["one ", "two"]), cut_after_pieces=1), event=True
        ),
        "reset after content": Fault(
            None,
            lambda: Script(
                pieces=stream_pieces(["one "]), piece_delay_s=0.02, cut_after_pieces=1, reset=True
            ),
            event=True,
        ),
        "cut within an event": Fault(
            None, lambda: Script(pieces=[*stream_pieces(["one "])[:1], b'data: {"cho']), event=True
        ),
        "no end": Fault(None, lambda: Script(pieces=[chunk_event("one "), chunk_event("two")]), event=True),
        "malformed after content": Fault(
            None, lambda: Script(pieces=[chunk_event("one "), b"data: {oops\n\n"]), event=True
        ),
        "error after content": Fault(
            None, lambda: Script(pieces=[chunk_event("one "), IN_BAND]), event=True, code="503"
        ),
        "stall after content": Fault(
            None,
            lambda: Script(pieces=stream_pieces(["one ", "two"]), piece_delay_s=0.6),
            event=True,
            code="upstream_timeout",
        ),
    }


async def settle() -> None:
    """Let what was closed be closed on both sides."""
    for _ in range(3):
        await asyncio.sleep(0.01)
