"""Events come out the same, wherever the chunks of a stream are cut."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxying import sse
from proxying.errors import UpstreamProtocolError

STREAM_LF = (
    b': hello\n\ndata: {"a":1}\n\nevent: error\ndata: one\ndata:two\nid: 7\n\nretry: 5\n\ndata: [DONE]\n\n'
)
EVENTS = [sse.Event(b"", b'{"a":1}'), sse.Event(b"error", b"one\ntwo"), sse.Event(b"", b"[DONE]")]


def events_of(pieces, **kwargs):
    splitter = sse.Splitter(**kwargs)
    blocks = [block for piece in pieces for block in splitter.feed(piece)]
    events = [event for event in map(sse.parse_event, blocks) if event is not None]
    return events, b"".join(blocks) + splitter.rest()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("bom", [b"", sse.BOM])
def test_splitter_is_right_at_every_chunk_boundary(line_end, bom):
    stream = bom + STREAM_LF.replace(b"\n", line_end)
    for cut in range(len(stream) + 1):
        assert events_of([stream[:cut], stream[cut:]]) == (EVENTS, stream.removeprefix(bom))


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_splitter_takes_single_bytes(line_end):
    stream = STREAM_LF.replace(b"\n", line_end)
    assert events_of([bytes([byte]) for byte in stream]) == (EVENTS, stream)
    assert events_of([bytes([byte]) for byte in sse.BOM + stream]) == (EVENTS, stream)


def test_splitter_takes_the_mark_of_the_beginning_only():
    stream = b'data: "' + sse.BOM + b'"\n\n' + sse.BOM + b": x\n\n"
    assert events_of([stream])[1] == stream
    assert events_of([sse.BOM + sse.BOM + stream])[1] == sse.BOM + stream
    assert events_of([b"\xef", b"data: a\n\n"])[1] == b"\xefdata: a\n\n"
    assert events_of([sse.BOM + b'{"error":1}'])[1] == b'{"error":1}'


def test_splitter_reads_mixed_line_ends():
    stream = b"data: a\r\n\ndata: b\n\r\ndata: c\r\rdata: d\n\n"
    for cut in range(len(stream) + 1):
        events, joined = events_of([stream[:cut], stream[cut:]])
        assert [event.data for event in events] == [b"a", b"b", b"c", b"d"]
        assert joined == stream


@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"\r", b"\n", b"\r\n", b"data: ", b"\n\n"])))
def test_splitter_loses_and_adds_no_byte(pieces):
    assert events_of(pieces)[1] == b"".join(pieces).removeprefix(sse.BOM)


@given(
    st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8")), max_size=5),
    st.lists(st.integers(min_value=0, max_value=60), max_size=6),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_splitter_gives_the_same_events_for_any_cuts(texts, cuts, line_end):
    stream = b"".join(b"data: " + text.encode() + line_end * 2 for text in texts)
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in pairwise(bounds)]
    assert [event.data.decode() for event in events_of(pieces)[0]] == texts


def test_splitter_delivers_an_event_at_once():
    splitter = sse.Splitter()
    assert splitter.feed(b"data: a\r\n\r") == [b"data: a\r\n\r"]
    assert splitter.feed(b"\ndata: b\r\n\r\n") == [b"\ndata: b\r\n\r\n"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_splitter_holds_a_large_event_in_linear_time(line_end):
    stream = b"data: " + b"x" * 8_000_000 + line_end * 2
    started = time.process_time()
    events, _ = events_of([stream[at : at + 4096] for at in range(0, len(stream), 4096)])
    assert [len(event.data) for event in events] == [8_000_000]
    assert time.process_time() - started < 2


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_splitter_refuses_an_event_over_the_bound(line_end, size):
    stream = b"data: a" + line_end * 2 + b"data: " + b"x" * 60 + line_end * 2
    with pytest.raises(UpstreamProtocolError, match="more than 50 bytes"):
        events_of([stream[at : at + size] for at in range(0, len(stream), size)], max_event_bytes=50)


def test_splitter_keeps_a_last_event_without_blank_line():
    splitter = sse.Splitter()
    assert splitter.feed(b"data: a\n\ndata: b\n") == [b"data: a\n\n"]
    assert splitter.rest() == b"data: b\n"


@pytest.mark.parametrize(
    ("block", "event"),
    [
        (b"data: x\n\n", sse.Event(b"", b"x")),
        (b"data:x\n\n", sse.Event(b"", b"x")),
        (b"data:  x \n\n", sse.Event(b"", b" x ")),
        (b"data\n\n", sse.Event(b"", b"")),
        (b"event: e\n\n", None),
        (b": comment\n\n", None),
        (b"\n\n", None),
        (b"\ndata: x\r\n\r\n", sse.Event(b"", b"x")),
        (sse.BOM + b"data: x\n\n", sse.Event(b"", b"x")),
    ],
)
def test_parse_event_follows_the_standard(block, event):
    assert sse.parse_event(block) == event


def test_encode_event_is_read_back():
    assert sse.encode_event(b"{}", b"ping") == b"event: ping\ndata: {}\n\n"
    assert sse.parse_event(sse.encode_event(b"{}")) == sse.Event(b"", b"{}")
