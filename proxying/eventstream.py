"""AWS's binary event streams: bytes to messages. Both checksums of every message are checked.

A message is its length, the length of its headers and the CRC-32 of these two; the headers, the payload, and
the CRC-32 of all that came before it. https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from proxying.errors import UpstreamProtocolError

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"

_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_SHORTEST: Final = _PRELUDE.size + _CRC.size
_LENGTH: Final = struct.Struct(">H")
# Header values by their type: true, false, byte, short, integer, long, then bytes and string with a length
# before them, timestamp, UUID. Only strings are read; the sizes of the others are skipped.
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES: Final = 6
_STRING: Final = 7


@dataclass(frozen=True, slots=True)
class Message:
    """One message; of its headers those that are texts, without the colon before their names.

    ``event-type``, ``exception-type``, ``message-type`` and ``content-type`` are such.
    """

    headers: dict[str, str]
    payload: bytes


class Splitter:
    """Cuts a stream into messages, whatever pieces it comes in."""

    __slots__ = ("_buffer", "_max_bytes", "_needed")

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_message_bytes
        self._needed = _SHORTEST

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """Take a piece of any size; yield the messages that are now complete.

        Raises:
            UpstreamProtocolError: what follows them is damaged, or a message larger than the bound.
        """
        buffer = self._buffer
        buffer += chunk
        start = 0
        try:
            while len(buffer) - start >= self._needed:
                length = self._needed = self._length_at(start)
                if len(buffer) - start < length:
                    break
                message = _message(bytes(buffer[start : start + length]))
                start += length
                self._needed = _SHORTEST
                yield message
        finally:
            del buffer[:start]

    @property
    def has_rest(self) -> bool:
        """Whether there is a piece of a message that is not complete."""
        return bool(self._buffer)

    def _length_at(self, start: int) -> int:
        length, headers_length, crc = _PRELUDE.unpack_from(self._buffer, start)
        if crc32(self._buffer[start : start + 8]) != crc:
            raise UpstreamProtocolError(
                "The provider's event stream is damaged: a prelude's checksum is wrong."
            )
        if length < _SHORTEST + headers_length:
            raise UpstreamProtocolError("The provider's event stream is damaged: a length is wrong.")
        if length > self._max_bytes:
            raise UpstreamProtocolError(f"The provider sent an event of more than {self._max_bytes} bytes.")
        return int(length)


def encode(headers: dict[str, str], payload: bytes) -> bytes:
    """Write one message whose headers are texts (names without their colon)."""
    written = b"".join(_header(f":{name}".encode(), text.encode()) for name, text in headers.items())
    sizes = struct.pack(">II", _SHORTEST + len(written) + len(payload), len(written))
    message = sizes + _CRC.pack(crc32(sizes)) + written + payload
    return message + _CRC.pack(crc32(message))


def _header(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + bytes((_STRING,)) + _LENGTH.pack(len(value)) + value


def _message(raw: bytes) -> Message:
    ends_at = len(raw) - _CRC.size
    if crc32(memoryview(raw)[:ends_at]) != _CRC.unpack_from(raw, ends_at)[0]:
        raise UpstreamProtocolError("The provider's event stream is damaged: a message's checksum is wrong.")
    payload_at = _PRELUDE.size + _PRELUDE.unpack_from(raw)[1]
    try:
        headers = _headers(raw[_PRELUDE.size : payload_at])
    except (struct.error, KeyError, IndexError, UnicodeDecodeError) as error:
        raise UpstreamProtocolError("The provider's event stream is damaged: a header is wrong.") from error
    return Message(headers, raw[payload_at:ends_at])


def _headers(raw: bytes) -> dict[str, str]:
    headers = {}
    at = 0
    while at < len(raw):
        name_at = at + 1
        type_at = name_at + raw[at]
        kind = raw[type_at]
        at = type_at + 1
        if kind in {_BYTES, _STRING}:
            (size,) = _LENGTH.unpack_from(raw, at)
            value_at, at = at + _LENGTH.size, at + _LENGTH.size + size
            if at > len(raw):
                raise IndexError
            if kind == _STRING:
                headers[raw[name_at:type_at].decode().removeprefix(":")] = raw[value_at:at].decode()
        else:
            at += _SIZES[kind]
    return headers
