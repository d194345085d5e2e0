"""Where a request goes and how its head is written: pure, and remembered per address."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from proxying.adapters.base import UpstreamRequest

_PORTS: Final = {"http": 80, "https": 443}
_PLAIN: Final = re.compile(r"[\x21-\x7e]*")
_END: Final = re.compile(r"[\t\r\n]")
_DEFAULTS: Final = {"accept-encoding": "identity", "user-agent": "sluice"}


class UnsendableError(ValueError):
    """An address or a header that no request can be made of."""


class Origin(NamedTuple):
    """What connections are kept by."""

    host: str
    port: int
    is_tls: bool


class Address(NamedTuple):
    """An URL taken apart: ``target`` and ``host_header`` as they stand in a request."""

    origin: Origin
    target: str
    host_header: str


@lru_cache(maxsize=1024)
def address_of(url: str) -> Address:
    """Take an URL apart; path and query stay as configured, nothing is decoded or quoted anew.

    Raises:
        UnsendableError: it is not an address of HTTP.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError as error:
        raise UnsendableError("not an address") from error
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # urlsplit drops line ends from what it returns, so they are looked for in the whole.
    is_plain = _PLAIN.fullmatch(target) and not _END.search(url)
    if parts.scheme not in _PORTS or not host or port == 0 or not is_plain:
        raise UnsendableError("not an address of HTTP")
    default = _PORTS[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    shown = shown if port in {None, default} else f"{shown}:{port}"
    return Address(Origin(host, port or default, parts.scheme == "https"), target, shown)


def request_head(request: UpstreamRequest, address: Address) -> bytes:
    """The request line and headers, with the length of the body.

    Raises:
        UnsendableError: a header holds a line end or a NUL.
    """
    lines = _lines_of(request.method, address, tuple(request.headers.items()))
    length = len(request.body) if request.upload is None else request.upload.length
    if length is None:
        return lines + b"transfer-encoding: chunked\r\n\r\n"
    return lines + b"content-length: %d\r\n\r\n" % length


# Most requests to a provider have the same head, but for the length.
@lru_cache(maxsize=1024)
def _lines_of(method: str, address: Address, headers: tuple[tuple[str, str], ...]) -> bytes:
    names = {name for name, _ in headers}
    lines = [f"{method} {address.target} HTTP/1.1\r\nHost: {address.host_header}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"{name}: {value}" for name, value in _DEFAULTS.items() if name not in names]
    text = "\r\n".join(lines) + "\r\n"
    ends = len(lines) + 1
    if text.count("\r") != ends or text.count("\n") != ends or "\0" in text:
        raise UnsendableError("a header that cannot be sent")
    return text.encode()
