"""Sends a body piece by piece while it listens for the answer, which may come before the body's end."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from proxying.adapters.base import Outgoing
from proxying.errors import GatewayError
from proxying.upstream_connection import Answer, Connection

_LAST_CHUNK: Final = b"0\r\n\r\n"


async def answer_to_upload(
    connection: Connection, head: bytes, upload: Outgoing, first_byte_s: float, deadline_at: float
) -> Answer:
    """Send a request with its body and wait for the head of its answer. After an error nothing more is sent.

    The provider has ``first_byte_s`` to take each piece, and as long again for its answer after the last;
    the time that the client takes to send the next is not counted.

    Raises:
        TimeoutError: it took longer, or the deadline is here.
        ConnectionEndedError, MalformedAnswerError: there will be no answer.
        GatewayError: the client sends no good body.
    """
    answer = connection.send(head, b"")
    progress = _Progress(connection, answer, upload)
    connection.send_on(progress.send())
    try:
        while not answer.status:
            try:
                await answer.head(min(progress.at() + first_byte_s, deadline_at))
            except TimeoutError:
                now = connection.loop.time()
                if now >= deadline_at or now >= progress.at() + first_byte_s:
                    raise
        if answer.status >= 300:
            upload.halt()
    except BaseException:
        answer.abort()
        raise
    return answer


class _Progress:
    """The sending, and since when the provider has been expected to do something."""

    def __init__(self, connection: Connection, answer: Answer, upload: Outgoing) -> None:
        self._connection = connection
        self._answer = answer
        self._upload = upload
        self._last = connection.loop.time()

    def at(self) -> float:
        return self._connection.loop.time() if self._upload.waits else self._last

    async def send(self) -> None:
        is_chunked = self._upload.length is None
        try:
            async with aclosing(self._upload.pieces()) as pieces:
                async for piece in pieces:
                    framed = b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece
                    self._last = self._connection.loop.time()
                    if not await self._connection.write(framed):
                        return
            if is_chunked:
                await self._connection.write(_LAST_CHUNK)
            self._last = self._connection.loop.time()
        except GatewayError as error:
            self._answer.problem = error
            self._answer.wake()
            self._connection.abort()
