"""AWS's binary event streams: any cut, every damage, and agreement with AWS's own reader."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from proxying.errors import UpstreamProtocolError
from proxying.eventstream import Message, Splitter, encode

HEADERS = {
    "message-type": "event",
    "event-type": "contentBlockDelta",
    "content-type": "application/json",
}
HELLO = encode(HEADERS, b'{"delta":{"text":"hello"}}')


def split(raw: bytes, size: int = 2**16, **options) -> list[Message]:
    splitter = Splitter(**options)
    found = [one for at in range(0, len(raw), size) for one in splitter.feed(raw[at : at + size])]
    assert not splitter.has_rest
    return found


def framed(headers: bytes, payload: bytes = b"") -> bytes:
    """A message with right checksums, whatever its headers are."""
    sizes = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = sizes + struct.pack(">I", crc32(sizes)) + headers + payload
    return message + struct.pack(">I", crc32(message))


@pytest.mark.parametrize("size", [1, 2, 7, 64, 2**16])
def test_messages_come_whatever_the_pieces_are(size):
    assert split(HELLO * 3, size) == [Message(HEADERS, b'{"delta":{"text":"hello"}}')] * 3


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=20), max_size=4),
            st.binary(max_size=80),
        ),
        max_size=4,
    ),
    st.integers(1, 99),
)
def test_amazons_reader_reads_the_same(messages, size):
    raw = b"".join(encode(headers, payload) for headers, payload in messages)
    theirs = EventStreamBuffer()
    theirs.add_data(raw)
    read = [({k.removeprefix(":"): v for k, v in one.headers.items()}, one.payload) for one in theirs]
    assert read == [({k.removeprefix(":"): v for k, v in h.items()}, p) for h, p in messages]
    assert [(one.headers, one.payload) for one in split(raw, size)] == read


def test_headers_of_other_types_are_passed_over():
    headers = b"".join(
        [
            b"\x01a\x00\x01b\x01",
            b"\x01c\x02\x7f\x01d\x03\x00\x01\x01e\x04\x00\x00\x00\x01",
            b"\x01f\x05" + bytes(8),
            b"\x01g\x06\x00\x02hi",
            b"\x01h\x07\x00\x02hi",
            b"\x01i\x08" + bytes(8) + b"\x01j\x09" + bytes(16),
        ]
    )
    assert split(framed(headers, b"x")) == [Message({"h": "hi"}, b"x")]


@pytest.mark.parametrize(
    "headers",
    [b"\x01a\x0a", b"\x09a", b"\x01a\x07\x00\x09hi", b"\x01a\x07\x00", b"\x01a\x07\x00\x01\xff", b"\x01a"],
    ids=["type", "name", "long", "no length", "no text", "no type"],
)
def test_malformed_header_is_the_providers_fault(headers):
    with pytest.raises(UpstreamProtocolError, match="a header is wrong"):
        split(framed(headers))


@pytest.mark.parametrize(
    ("at", "words"), [(0, "prelude"), (5, "prelude"), (9, "prelude"), (20, "message's"), (-1, "message's")]
)
def test_every_damaged_byte_is_found(at, words):
    """What came before the damage is delivered first (T53)."""
    damaged = bytearray(HELLO)
    damaged[at] ^= 1
    messages = Splitter().feed(HELLO + bytes(damaged))
    assert next(messages).payload == b'{"delta":{"text":"hello"}}'
    with pytest.raises(UpstreamProtocolError, match=words):
        next(messages)


def test_text_instead_of_a_stream_is_the_providers_fault():
    with pytest.raises(UpstreamProtocolError, match="prelude"):
        split(b'{"message":"no stream"}')


def test_wrong_length_is_the_providers_fault():
    sizes = struct.pack(">II", 20, 9)
    with pytest.raises(UpstreamProtocolError, match="length is wrong"):
        split(sizes + struct.pack(">I", crc32(sizes)) + bytes(8))


def test_message_over_the_bound_is_refused_before_it_has_come():
    splitter = Splitter(max_message_bytes=50)
    with pytest.raises(UpstreamProtocolError, match="more than 50 bytes"):
        list(splitter.feed(HELLO[:16]))


def test_cut_message_is_a_rest():
    splitter = Splitter()
    assert list(splitter.feed(HELLO[:-1])) == []
    assert splitter.has_rest
    assert len(list(splitter.feed(HELLO[-1:]))) == 1
    assert not splitter.has_rest
