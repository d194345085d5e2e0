"""Server-sent events: bytes to blocks to events, and back. Blocks keep every byte: a relay is exact."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from proxying.errors import UpstreamProtocolError

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
BOM: Final = b"\xef\xbb\xbf"
DONE: Final = b"data: [DONE]\n\n"

# Two line ends in a row. The groups are atomic: "\r\n" is one line end, never two.
_BLANK_LINE: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name (empty when not given) and its data lines, joined by a line feed."""

    name: bytes
    data: bytes


class Splitter:
    """Cuts a stream into blocks, each with the blank line that ends it; joined, they are the stream.

    A byte order mark before it is left out: it means nothing, and clients miss their first event over it.
    A blank line that ends in a carriage return ends its block at once: a line feed that follows in the next
    chunk opens the next block, where it means nothing.
    """

    __slots__ = ("_begins", "_buffer", "_has_cr", "_max_bytes", "_scanned")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._begins = True
        self._has_cr = False
        self._max_bytes = max_event_bytes

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take a piece of any size; answer the blocks that are now complete.

        Raises:
            UpstreamProtocolError: an event is larger than the bound.
        """
        if self._begins:
            chunk = self._beginning(chunk)
        if not self._has_cr:
            if b"\r" not in chunk:
                return self._feed_lf(chunk)
            self._has_cr = True
        self._buffer += chunk
        blocks = []
        start = 0
        # Three bytes before the end of the last search may begin a blank line that spans two chunks.
        found = _BLANK_LINE.search(self._buffer, max(0, self._scanned - 3))
        while found:
            blocks.append(bytes(self._buffer[start : found.end()]))
            start = found.end()
            found = _BLANK_LINE.search(self._buffer, start)
        return self._keep_rest(start, blocks)

    def rest(self) -> bytes:
        """What is left without a blank line at the end of the stream."""
        return bytes(self._buffer)

    def _beginning(self, chunk: bytes) -> bytes:
        """All that came so far, without the mark; what may be a piece of one waits."""
        begun = bytes(self._buffer) + chunk
        self._buffer.clear()
        self._scanned = 0
        self._begins = len(begun) < len(BOM) and BOM.startswith(begun)
        return begun if self._begins else begun.removeprefix(BOM)

    def _feed_lf(self, chunk: bytes) -> list[bytes]:
        if not self._buffer and len(chunk) <= self._max_bytes and chunk.endswith(b"\n\n"):
            if chunk.find(b"\n\n") == len(chunk) - 2:
                return [chunk]
            return [part + b"\n\n" for part in chunk[:-2].split(b"\n\n")]
        self._buffer += chunk
        blocks = []
        start = 0
        found = self._buffer.find(b"\n\n", max(0, self._scanned - 1))
        while found >= 0:
            blocks.append(bytes(self._buffer[start : found + 2]))
            start = found + 2
            found = self._buffer.find(b"\n\n", start)
        return self._keep_rest(start, blocks)

    def _keep_rest(self, start: int, blocks: list[bytes]) -> list[bytes]:
        if start:
            del self._buffer[:start]
        self._scanned = len(self._buffer)
        if self._scanned > self._max_bytes or any(len(block) > self._max_bytes for block in blocks):
            raise UpstreamProtocolError(f"The provider sent an event of more than {self._max_bytes} bytes.")
        return blocks


def parse_event(block: bytes) -> Event | None:
    """Read a block; None when it has no data (comments, ``id:`` or ``retry:`` alone, blank lines)."""
    one_line = block.find(b"\n") == len(block) - 2 and block.endswith(b"\n\n") and b"\r" not in block
    if one_line and block.startswith(b"data: "):
        return Event(b"", block[6:-2])
    name = b""
    lines = []
    for line in block.removeprefix(BOM).splitlines():
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value
    return Event(name, b"\n".join(lines)) if lines else None


def encode_event(data: bytes, name: bytes = b"") -> bytes:
    """Write an event whose data is one line, with its ``event:`` line when it has a name."""
    if name:
        return b"event: " + name + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"
