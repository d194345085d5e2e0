"""gunicorn's own ASGI worker with an end that loses no request, cuts no stream, and waits for no idle client.

The stock worker waits for idle keep-alive connections as long as for running answers, stops its heartbeat
meanwhile (a reload then kills it after ``timeout``), and skips lifespan's end on SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi

from proxying.lane_connection import LaneConnection, cut, has_input

if TYPE_CHECKING:
    from proxying.fastlane import FastLane

# How long an idle connection may still bring a request, which is answered with ``Connection: close``.
# A client that uses its connections is told so in this time; the others find theirs closed.
IDLE_GRACE_S: Final = 2.0
# How long a worker that a reload replaces still takes connections: its successor loads meanwhile.
SUCCESSION_S: Final = 5.0
# What the master waits longer than the worker: for lifespan's end, which writes the last records.
LIFESPAN_END_S: Final = 15
_TURN_S: Final = 0.1
_RETURN_EVERY_S: Final = 10.0


class Connection(ASGIProtocol):  # type: ignore[misc]  # gunicorn ships no types
    """One connection that the worker knows of, and that knows when it last heard something."""

    def connection_made(self, transport: Any) -> None:
        """Register with the worker. The first request may take as long to come as any later one."""
        self.heard_at = self.worker.loop.time()
        self.worker.connections.add(self)
        super().connection_made(transport)
        self._arm_keepalive_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take leave of the worker."""
        self.worker.connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note the time: half a request is not idleness."""
        self.heard_at = self.worker.loop.time()
        super().data_received(data)

    def _will_close(self, request: Any, response_requires_close: bool) -> bool:
        return self.worker.is_draining or bool(super()._will_close(request, response_requires_close))

    def close_if_idle(self, since: float) -> None:
        """Close unless an answer is under way, or something came after ``since`` or waits in the socket."""
        if not self._awaiting_request or self._finishing_calls or self.heard_at > since:
            return
        if not has_input(self.transport):
            self._close_transport()

    async def cut(self) -> None:
        """End whatever runs here."""
        await cut(self._task, self.transport)


def connection_of(worker: DrainingWorker) -> asyncio.Protocol:
    """The protocol of a new connection: the fast lane's own, which hands on what is not for it."""
    if worker.lane is None:
        return Connection(worker)
    return LaneConnection(worker, worker.lane, lambda: Connection(worker))


class DrainingWorker(gasgi.ASGIWorker):  # type: ignore[misc]  # gunicorn ships no types
    """The worker class of ``gunicorn.conf.py``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: set[Any] = set()
        self.lane: FastLane | None = None
        self.is_draining = False
        self.alive: bool = True
        self._has_begun = False
        self._returns_at = 0.0
        self._listen_s = 0.0
        self._main_task: asyncio.Task[Any] | None = None
        self.keepalive_s: float = self.cfg.keepalive
        # As gunicorn: its heartbeat is also what a client's next piece may take.
        self.body_timeout_s: float = self.cfg.timeout or 30
        self.drain_s = max(1.0, self.cfg.graceful_timeout - LIFESPAN_END_S)

    def init_process(self) -> None:
        """Run the worker, in its own process from here on."""
        # The worker makes its protocols by this name; it has no other seam.
        gasgi.ASGIProtocol = connection_of
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application; its lane serves plain connections itself."""
        super().load_wsgi()
        from gateway_project import asgi  # noqa: PLC0415 - the master loads this file before Django is set up

        if self.asgi is asgi.application and _speaks_plainly(self.cfg):
            self.lane = asgi.lane

    # What the lane's connections need of it.

    @property
    def keeps_connections(self) -> bool:
        """Whether an answer may be followed by another request."""
        is_last = self.nr + 1 >= self.max_requests
        return bool(self.alive and self.keepalive_s > 0 and not (self.is_draining or is_last))

    def opened(self, connection: LaneConnection) -> None:
        """There is one more connection."""
        self.connections.add(connection)
        self.nr_conns += 1

    def lost(self, connection: LaneConnection) -> None:
        """It is gone, or gunicorn's."""
        self.connections.discard(connection)
        self.nr_conns -= 1

    def served(self) -> None:
        """A request has been answered."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False

    def init_signals(self) -> None:
        """Note a signal that comes while the application is loaded: uvloop would lose it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._stop_early)

    def _stop_early(self, number: int, _frame: FrameType | None) -> None:
        self.alive = False
        self._quick_shutdown = number != signal.SIGTERM

    async def _serve(self) -> None:
        super().init_signals()
        self._main_task = asyncio.current_task()
        if self.alive:
            await super()._serve()

    def notify(self) -> None:
        """Beat; the main loop does so from its first turn on."""
        if not self._has_begun:
            # asyncio has set what may wait to be accepted to 100: what is more is reset under a burst.
            for sock in self.sockets:
                sock.sock.listen(self.cfg.backlog)
        self._has_begun = True
        if self.loop.time() >= self._returns_at:
            self._returns_at = self.loop.time() + _RETURN_EVERY_S
            self.loop.run_in_executor(None, _return_memory)
        super().notify()

    def handle_exit_signal(self) -> None:
        """SIGTERM: unready from now on, and on to ``_shutdown``.

        ``alive`` stays: without it, connections end after answers that did not say so, and a client's next
        request would be lost.
        """
        if not self._has_begun:
            self.alive = False
        elif not self.is_draining and self._main_task is not None:
            self._main_task.cancel()  # the main loop takes that for its end
        self._begin_drain()

    def handle_winch_signal(self) -> None:
        """SIGWINCH, which ``on_reload`` sends before the master's SIGTERM: somebody else will listen."""
        self._listen_s = SUCCESSION_S

    def handle_quit_signal(self) -> None:
        """SIGINT or SIGQUIT: as above, but running answers are cut."""
        super().handle_quit_signal()
        self._begin_drain()

    def _begin_drain(self) -> None:
        from proxying import runtime  # noqa: PLC0415 - the master loads this file before Django is set up

        self.is_draining = True
        runtime.drain()

    async def _shutdown(self) -> None:
        self._begin_drain()  # also when the master is gone
        self.log.info("Worker draining: %d connections", len(self.connections))
        began_at = self.loop.time()
        while not self._quick_shutdown and self.loop.time() < began_at + self._listen_s:
            self.notify()
            await asyncio.sleep(_TURN_S)
        await self._stop_listening()
        while self.connections and not self._quick_shutdown and self.loop.time() < began_at + self.drain_s:
            self.notify()
            since = self.loop.time() - min(IDLE_GRACE_S, self.drain_s / 2)
            if since >= began_at:
                for connection in list(self.connections):
                    connection.close_if_idle(since)
            await asyncio.sleep(_TURN_S)
        if self.connections:
            self.log.warning("Cutting %d connections", len(self.connections))
            await asyncio.gather(*(connection.cut() for connection in list(self.connections)))
        self.notify()
        if self.lifespan is not None:
            await self.lifespan.shutdown()

    async def _stop_listening(self) -> None:
        if isinstance(self.loop, asyncio.SelectorEventLoop):
            # asyncio drops connections that it accepted in the turn in which its server closes.
            for sock in self.sockets:
                self.loop.remove_reader(sock.sock)
            await asyncio.sleep(_TURN_S)
        for server in self.servers:
            server.close()


def _speaks_plainly(cfg: Any) -> bool:
    """Whether connections begin with HTTP/1.1 itself, and nobody wants gunicorn's own access log of them."""
    return not (cfg.is_ssl or cfg.accesslog or cfg.proxy_protocol != "off" or cfg.protocol != "http")


def _return_memory() -> None:
    """Give what is free in the heap back to the system, where the C library knows how to.

    glibc keeps the most that was ever in use when something small lies behind it: 256 bodies of 500 KB at
    once left a worker at 500 MB. Mapping each large buffer by itself would help as well, but costs each
    such body a millisecond of page faults.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
