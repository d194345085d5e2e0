"""Connects to providers: names to addresses, addresses checked, the first that answers taken, then TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Final, TypeAlias

from proxying.upstream_address import Origin
from proxying.upstream_connection import Connection
from routing.egress import check_address

_DNS_TTL_S: Final = 10.0
_MOST_NAMES: Final = 1024
# How long an address is tried before the next is tried beside it (RFC 8305).
_HEAD_START_S: Final = 0.25

Found: TypeAlias = "tuple[socket.AddressFamily, tuple[str, int]]"


class Connector:
    """Connects to origins, for one event loop. Every socket's own address is checked, whatever DNS said."""

    def __init__(self, *, deny_private: bool) -> None:
        self._deny_private = deny_private
        self._names: dict[tuple[str, int], tuple[float, list[Found]]] = {}

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def connect(self, origin: Origin, make: Callable[[], Connection]) -> Connection:
        """Connect and, where the origin wants it, speak TLS.

        Raises:
            socket.gaierror: it has no address.
            AddressRefusedError: none of them may be called.
            ssl.SSLError: TLS failed.
            OSError: none of them takes the connection.
        """
        loop = asyncio.get_running_loop()
        connected = await self._race(await self._addresses(origin))
        try:
            if origin.is_tls:
                _, made = await loop.create_connection(
                    make, sock=connected, ssl=self._tls, server_hostname=origin.host
                )
            else:
                _, made = await loop.create_connection(make, sock=connected)
        except BaseException:
            connected.close()
            raise
        return made

    async def _addresses(self, origin: Origin) -> list[Found]:
        """The host's addresses, families in turns; remembered for a few seconds."""
        loop = asyncio.get_running_loop()
        key = (origin.host, origin.port)
        known = self._names.get(key)
        if known is not None and loop.time() < known[0]:
            return known[1]
        rows = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        found = _in_turns((family, where[:2]) for family, _, _, _, where in rows)  # type: ignore[misc]
        if len(self._names) >= _MOST_NAMES:
            self._names.clear()
        self._names[key] = (loop.time() + _DNS_TTL_S, found)
        return found

    async def _race(self, addresses: Sequence[Found]) -> socket.socket:
        """The first connection that comes about; each address has a head start on the next."""
        running: set[asyncio.Task[socket.socket]] = set()
        waiting = list(reversed(addresses))
        problem: OSError = OSError("its host name has no address")
        try:
            while waiting or running:
                if waiting:
                    running.add(asyncio.create_task(self._dial(*waiting.pop())))
                done, running = await asyncio.wait(
                    running, timeout=_HEAD_START_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if (failed := task.exception()) is None:
                        running |= done - {task}
                        return task.result()
                    if not isinstance(failed, OSError):
                        raise failed
                    problem = failed
            raise problem
        finally:
            for task in running:
                task.cancel()
                task.add_done_callback(_close_late)

    async def _dial(self, family: socket.AddressFamily, where: tuple[str, int]) -> socket.socket:
        check_address(str(where[0]), deny_private=self._deny_private)
        dialled = socket.socket(family, socket.SOCK_STREAM)
        try:
            dialled.setblocking(False)
            await asyncio.get_running_loop().sock_connect(dialled, where)
        except BaseException:
            dialled.close()
            raise
        return dialled


def _in_turns(found: Iterable[Found]) -> list[Found]:
    unique = list(dict.fromkeys(found))
    first = [one for one in unique if one[0] == unique[0][0]]
    others = [one for one in unique if one[0] != unique[0][0]]
    return [one for pair in zip_longest(first, others) for one in pair if one is not None]


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    """A connection that came about after another had won."""
    if not task.cancelled():
        with contextlib.suppress(OSError):
            if task.exception() is None:
                task.result().close()
