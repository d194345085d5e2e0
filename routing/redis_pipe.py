"""One Redis connection per process and event loop, shared by everything that runs on the loop.

Commands that are asked for while a round trip is under way travel together in the next one, so that a
hundred requests at once cost a handful of writes instead of a hundred connections.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

OPERATION_TIMEOUT_S: Final = 0.05
CONNECT_TIMEOUT_S: Final = 1.0
_ROUND_LIMIT: Final = 500  # commands per round trip

Argument: TypeAlias = str | bytes | int | float
Waiting: TypeAlias = tuple[tuple[Argument, ...], "asyncio.Future[Any]"]


class Script:
    """A Lua script with the digest under which Redis keeps it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Pipe:
    """The connection of one event loop to one server; a call takes at most ``timeout_s``, in no thread.

    Raises ``redis.exceptions.RedisError`` (its ``ConnectionError`` and ``TimeoutError`` included) and nothing
    else. A caller that gives up or is cancelled does not disturb the others' answers.
    """

    def __init__(self, url: str, *, timeout_s: float = OPERATION_TIMEOUT_S, **options: Any) -> None:
        self._timeout_s = timeout_s
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=None,  # the times are kept here
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            driver_info=None,  # its version is looked up in files, on the event loop
            **options,
        )
        self._connection: AbstractConnection | None = None
        self._queue: list[Waiting] = []
        self._worker: asyncio.Task[None] | None = None

    async def call(self, *command: Argument) -> Any:
        """Send one command and return its answer (bytes, int, list or None)."""
        future = self._enqueue(command)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError as error:
            raise RedisTimeoutError(f"no answer within {self._timeout_s * 1000:.0f} ms") from error

    async def call_all(self, *commands: tuple[Argument, ...]) -> list[Any]:
        """Send several commands in one round trip and return their answers."""
        futures = [self._enqueue(command) for command in commands]
        try:
            async with asyncio.timeout(self._timeout_s):
                return list(await asyncio.gather(*futures))
        except TimeoutError as error:
            raise RedisTimeoutError(f"no answer within {self._timeout_s * 1000:.0f} ms") from error

    async def run(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument] = ()) -> Any:
        """Run a script by its digest; a server that does not know it yet (new, restarted) gets the source."""
        try:
            return await self.call("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await self.call("EVAL", script.source, len(keys), *keys, *args)

    async def open(self) -> None:
        """Connect before the first request does."""
        await self.call("PING")

    async def close(self) -> None:
        """Close the connection; whoever still waits gets a ``ConnectionError``."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        self._fail(self._queue, RedisConnectionError("the connection was closed"))
        self._queue = []
        await self._drop()

    def _enqueue(self, command: tuple[Argument, ...]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.append((command, future))
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return future

    async def _work(self) -> None:
        """Make round trips until nobody waits. Every future taken from the queue gets an answer."""
        batch: list[Waiting] = []
        try:
            while self._queue:
                batch, self._queue = self._queue[:_ROUND_LIMIT], self._queue[_ROUND_LIMIT:]
                batch = [waiting for waiting in batch if not waiting[1].done()]
                if batch:
                    await self._round(batch)
        except BaseException:
            self._fail(batch, RedisConnectionError("the connection was closed"))
            raise
        finally:
            if self._worker is asyncio.current_task():
                self._worker = None

    async def _round(self, batch: list[Waiting]) -> None:
        # A connection that the server closed while it was idle shows only now: that is worth one new
        # connection, not an error. Once an answer has come, nothing is sent twice.
        for fresh in (self._connection is None, True):
            answered = 0
            try:
                connection = await self._connected()
                async with asyncio.timeout(self._timeout_s):
                    await connection.send_packed_command(
                        connection.pack_commands([command for command, _ in batch]), check_health=False
                    )
                    for _, future in batch:
                        answer = await _read(connection)
                        answered += 1
                        _settle(future, answer)
            except TimeoutError:
                await self._drop()
                self._fail(batch, RedisTimeoutError(f"no answer within {self._timeout_s * 1000:.0f} ms"))
            except (RedisError, OSError) as error:
                await self._drop()
                if not fresh and not answered and isinstance(error, RedisConnectionError | OSError):
                    continue
                self._fail(batch, _as_redis_error(error))
            except BaseException:
                await self._drop()
                raise
            return

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call] # redis-py's gap
            await connection.connect()
            self._connection = connection
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    @staticmethod
    def _fail(batch: Sequence[Waiting], error: RedisError) -> None:
        for _, future in batch:
            _settle(future, error)


async def _read(connection: AbstractConnection) -> Any:
    """The next answer; an error that Redis answers is a value here, for it concerns one command only."""
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


def _settle(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, RedisError):
        future.set_exception(answer)
        future.exception()  # a caller that has given up must not make the loop complain
    else:
        future.set_result(answer)


def _as_redis_error(error: RedisError | OSError) -> RedisError:
    return error if isinstance(error, RedisError) else RedisConnectionError(str(error))


_PIPES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Pipe]] = WeakKeyDictionary()


def pipe_for(url: str, **options: Any) -> Pipe:
    """The running loop's pipe to a server, made on first use.

    Django hands out cache objects per thread and asyncio context, so the pipe cannot live on one of them:
    each task would open its own connection.
    """
    pipes = _PIPES.setdefault(asyncio.get_running_loop(), {})
    pipe = pipes.get(url)
    if pipe is None:
        pipe = pipes[url] = Pipe(url, **options)
    return pipe


async def close_pipes() -> None:
    """Close what the running loop has opened."""
    pipes = _PIPES.pop(asyncio.get_running_loop(), {})
    for pipe in pipes.values():
        await pipe.close()
