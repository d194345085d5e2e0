"""A form on its way from the client to a provider: read once, sent as often as its copy allows.

What has been read is kept up to a bound, so that another candidate can be sent the same. Beyond it the copy
is let go, and the form passes by piece by piece: it can then be sent to nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from proxying.adapters.base import Outgoing
from proxying.errors import (
    GatewayError,
    InvalidRequestError,
    RequestTimeoutError,
    RequestTooLargeError,
    UploadMemoryError,
)
from proxying.multipart import Field, FormScanner

# A form of which no more is to come, and that is so small, is sent as one piece of bytes.
_SMALL_BYTES: Final = 65_536
# What a piece takes beside its bytes: a client may send them one by one.
_PIECE_BYTES: Final = 64


class ReplayMemory:
    """What the copies of all uploads of this process hold, and may hold, in bytes."""

    __slots__ = ("held_bytes", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.held_bytes = 0
        self.max_bytes = max_bytes

    def take(self, count: int) -> bool:
        """Account for bytes, if there is room for them."""
        if self.held_bytes + count > self.max_bytes:
            return False
        self.held_bytes += count
        return True

    def give(self, count: int) -> None:
        """They are gone."""
        self.held_bytes -= count


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """``keep_bytes`` of a form are kept to be sent again; ``max_bytes`` is the largest form .

    ``declared_bytes`` is what the client's content-length says; None without one.
    """

    keep_bytes: int
    max_bytes: int
    declared_bytes: int | None


class Upload:
    """The bytes of one client's form.

    Attributes:
        fault: Why the form is no good; it is the client's, whoever meets it.
        waits: Whether it is the client that everybody waits for.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        scanner: FormScanner,
        memory: ReplayMemory,
        limits: UploadLimits,
    ) -> None:
        self.scanner = scanner
        self.fault: GatewayError | None = None
        self.waits = False
        self._chunks = chunks
        self._memory = memory
        self._limits = limits
        # The pieces that are kept; the first of them is the form's ``_first``-th.
        self._pieces: deque[bytes] = deque()
        self._first = 0
        self._read_bytes = 0
        self._accounted_bytes = 0
        self._keeps = True
        self._is_over = False
        self._is_complete = False
        self._turn = 0
        self._taken = 0
        self._reading: asyncio.Task[None] | None = None

    @property
    def can_be_sent(self) -> bool:
        """Whether a provider can be sent it: nothing is wrong with it, and it is here from its start."""
        return self.fault is None and self._first == 0

    @property
    def length(self) -> int | None:
        """The form's bytes, as far as that is known."""
        return self._read_bytes if self._is_complete else self._limits.declared_bytes

    async def read_until_model(self) -> Field:
        """Read until the model is known, and what stands between it and a file or the form's end.

        To be called in the request's own task.

        Raises:
            InvalidRequestError: there is no model, or it stands behind more than can be kept.
            UploadMemoryError: the same, for now: other uploads hold the room.
        """
        while True:
            model = self.scanner.fields.get(b"model")
            if self._is_complete or (model is not None and (self._stands_before_file() or not self._keeps)):
                break
            if not self._keeps:
                raise self._refusal()
            await self._next()
            if self.fault is not None:
                raise self.fault
        if model is None:
            raise InvalidRequestError("The field 'model' is required.", param="model", code="missing_model")
        return model

    def whole(self) -> bytes | None:
        """The form, when all of it is here and it is small."""
        if self._is_complete and self._first == 0 and self._read_bytes <= _SMALL_BYTES:
            return b"".join(self._pieces)
        return None

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The form from its start, as it comes. Who asked before gets nothing more.

        Raises:
            GatewayError: the form's fault. A form that is no good is never handed out to its end.
        """
        if not self.can_be_sent:
            raise self.fault or RuntimeError("The form is no longer here from its start.")
        self._turn += 1
        turn, position = self._turn, 0
        while turn == self._turn:
            # The last piece is held back until it is known to be the last of a good form.
            if position < self._first + len(self._pieces) - (not self._is_complete):
                piece = self._pieces[position - self._first]
                self._taken = position = position + 1
                if not self._keeps:
                    self._forget(position)
                yield piece
            elif self.fault is not None:
                raise self.fault
            elif self._is_complete:
                return
            else:
                await self._more()
        await asyncio.get_running_loop().create_future()  # given up: whoever sends is about to be cancelled

    def halt(self) -> None:
        """The provider wants no more of it: whoever sends it now stops reading from the client."""
        self._turn += 1

    def let_go(self) -> None:
        """Nobody else is going to be sent it: what was handed out is not kept any longer."""
        self._keeps = False
        self._forget(self._taken)

    def late(self) -> GatewayError | None:
        """The error of a deadline that has passed, when it is the client that was waited for."""
        if self.waits:
            self.fault = RequestTimeoutError("The rest of the request's body did not arrive in time.")
            return self.fault
        return None

    async def close(self) -> None:
        """Nobody wants it any more: let go of everything. May be called twice."""
        self._turn += 1
        self._forget(self._first + len(self._pieces))
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._chunks.aclose()

    async def _more(self) -> None:
        """Wait for the next piece. One that gives up waiting leaves the read to the next one."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._next())
        self.waits = True
        try:
            await asyncio.shield(self._reading)
        finally:
            self.waits = False

    async def _next(self) -> None:
        """Read and look through one piece; never raises: a fault is for whoever sends."""
        try:
            piece = await anext(self._chunks, b"")
            self._read_bytes += len(piece)
            if self._read_bytes > self._limits.max_bytes:
                raise RequestTooLargeError(f"The request body has more than {self._limits.max_bytes} bytes.")
            if piece:
                self.scanner.feed(piece)
                self._keep(piece)
            else:
                self._end()
        except GatewayError as error:
            self.fault = error
        finally:
            self._reading = None

    def _end(self) -> None:
        declared = self._limits.declared_bytes
        if declared is not None and declared != self._read_bytes:
            raise InvalidRequestError("The body is not as long as its content-length says.")
        self.scanner.end()
        self._is_complete = True

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        if not self._keeps:
            return
        cost = _cost(piece)
        self._is_over = self._accounted_bytes + cost > self._limits.keep_bytes
        if not self._is_over and self._memory.take(cost):
            self._accounted_bytes += cost
        else:
            self._keeps = False

    def _forget(self, position: int) -> None:
        """Let go of the pieces before ``position``."""
        while self._first < position and self._pieces:
            piece = self._pieces.popleft()
            self._first += 1
            if self._accounted_bytes:
                self._accounted_bytes -= _cost(piece)
                self._memory.give(_cost(piece))

    def _stands_before_file(self) -> bool:
        """Whether a file has begun behind the model: fields as a rule stand before files."""
        return self.scanner.files > self.scanner.files_before_model

    def _refusal(self) -> GatewayError:
        if self._is_over:
            return InvalidRequestError(
                f"The field 'model' must stand within the first {self._limits.keep_bytes} bytes of the form:"
                " put it before the file.",
                param="model",
            )
        return UploadMemoryError("Too many uploads are under way; put 'model' before the file, or try again.")


def _cost(piece: bytes) -> int:
    return len(piece) + _PIECE_BYTES


class ClientForm:
    """A client's form whose model is known; see ``adapters.base.Form``."""

    def __init__(self, content_type: str, upload: Upload, model: Field, waited_s: float = 0.0) -> None:
        self.content_type = content_type
        self.waited_s = waited_s
        self._upload = upload
        self._model = model

    def with_model(self, model: str) -> bytes | Outgoing:
        """One attempt's form."""
        whole, text, field = self._upload.whole(), model.encode(), self._model
        if whole is not None:
            return b"".join((whole[: field.start], text, whole[field.end :]))
        return _OutgoingForm(self._upload, field, text)

    @property
    def can_be_sent(self) -> bool:
        """Whether another provider could be sent the same."""
        return self._upload.can_be_sent

    def let_go(self) -> None:
        """See ``Upload.let_go``."""
        self._upload.let_go()

    def late(self) -> GatewayError | None:
        """See ``Upload.late``."""
        return self._upload.late()

    async def close(self) -> None:
        """See ``Upload.close``."""
        await self._upload.close()


class _OutgoingForm:
    """What one provider is sent; see ``adapters.base.Outgoing``."""

    def __init__(self, upload: Upload, field: Field, model: bytes) -> None:
        self._upload = upload
        self._field = field
        self._model = model

    @property
    def length(self) -> int | None:
        length = self._upload.length
        return None if length is None else length - (self._field.end - self._field.start) + len(self._model)

    @property
    def can_be_sent(self) -> bool:
        return self._upload.can_be_sent

    @property
    def waits(self) -> bool:
        return self._upload.waits

    def halt(self) -> None:
        self._upload.halt()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        start, end = self._field.start, self._field.end
        begins = 0
        async with aclosing(self._upload.pieces()) as pieces:
            async for piece in pieces:
                ends = begins + len(piece)
                if ends <= start or begins >= end:
                    yield piece
                else:
                    model = self._model if begins <= start else b""
                    yield b"".join((piece[: max(start - begins, 0)], model, piece[end - begins :]))
                begins = ends
