"""Waiting until the other side has taken what was written, for both kinds of connections."""

from __future__ import annotations

import asyncio


class WriteFlow(asyncio.Protocol):
    """A connection whose writers can wait. ``connection_lost`` is to call ``resume_writing``."""

    loop: asyncio.AbstractEventLoop
    _writable: asyncio.Future[None] | None = None

    def pause_writing(self) -> None:
        """Much waits to be taken by the other side."""
        self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        """It was taken, or never will be."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    async def drained(self) -> None:
        """Wait until the other side has taken most of what was sent, or is gone."""
        if self._writable is not None:
            await self._writable
