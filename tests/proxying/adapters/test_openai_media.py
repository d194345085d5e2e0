"""What an answer of sound, pictures or a transcript must be, and where its event stream is complete."""

from __future__ import annotations

import json

import pytest

from proxying.adapters.base import ClientBody, Usage
from proxying.adapters.openai import OpenAIAdapter
from proxying.adapters.openai_media import BytesRelay, EventRelay, relay_of
from proxying.errors import UpstreamProtocolError, UpstreamStatusError
from routing.types import Endpoint

ERROR = b'{"error":{"message":"Busy.","type":"server_error","code":"overloaded"}}'


def body(endpoint: Endpoint, **data: object) -> ClientBody:
    data = {"model": "m", **data}
    return ClientBody(raw=json.dumps(data).encode(), data=data, endpoint=endpoint)


def event(**data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def parse(endpoint: Endpoint, answer: bytes, kind: str = "application/json", **data: object):
    headers = {"content-type": kind} if kind else {}
    return OpenAIAdapter().parse_response(200, headers, answer, body(endpoint, **data))


@pytest.mark.parametrize(
    ("endpoint", "kind", "expected"),
    [
        (Endpoint.SPEECH, "audio/mpeg", BytesRelay),
        (Endpoint.SPEECH, "", BytesRelay),
        (Endpoint.SPEECH, "application/octet-stream", BytesRelay),
        (Endpoint.SPEECH, "text/event-stream; charset=utf-8", EventRelay),
        (Endpoint.SPEECH, "Application/JSON", type(None)),
        (Endpoint.TRANSCRIPTIONS, "text/event-stream", EventRelay),
        (Endpoint.TRANSCRIPTIONS, "text/plain", type(None)),
        (Endpoint.IMAGES, "application/json", type(None)),
    ],
)
def test_head_says_how_an_answer_is_relayed(endpoint, kind, expected) -> None:
    assert type(relay_of(body(endpoint), {"content-type": kind})) is expected


def test_page_is_no_sound() -> None:
    with pytest.raises(UpstreamProtocolError):
        relay_of(body(Endpoint.SPEECH), {"content-type": "text/html; charset=utf-8"})


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("application/json", b'{"text":"Hello."}'),
        ("", b'{"text":""}'),
        ("text/plain; charset=utf-8", b"1\n00:00:00,000 --> 00:00:01,000\nHello.\n"),
        ("text/vtt", b"WEBVTT\n"),
        ("application/x-subrip", b"1\n"),
        ("text/plain", b""),
        ("text/plain", b"{laughs}"),
    ],
)
def test_transcript_goes_on_as_it_is(kind, answer) -> None:
    got = parse(Endpoint.TRANSCRIPTIONS, answer, kind)
    assert (got.body, got.content_type) == (answer, (kind or "application/json").encode())


@pytest.mark.parametrize(
    ("kind", "answer", "problem"),
    [
        ("application/json", ERROR, UpstreamStatusError),
        ("text/plain", ERROR, UpstreamStatusError),
        ("application/json", b"", UpstreamProtocolError),
        ("application/json", b'{"hello":1}', UpstreamProtocolError),
        ("text/html", b"<html>", UpstreamProtocolError),
        ("image/png", b"png", UpstreamProtocolError),
    ],
)
def test_what_is_no_transcript_is_refused(kind, answer, problem) -> None:
    with pytest.raises(problem):
        parse(Endpoint.TRANSLATIONS, answer, kind)


def test_json_is_no_sound_and_no_stream_of_pictures() -> None:
    with pytest.raises(UpstreamStatusError):
        parse(Endpoint.SPEECH, ERROR)
    with pytest.raises(UpstreamProtocolError):
        parse(Endpoint.SPEECH, b'{"ok":true}')
    with pytest.raises(UpstreamProtocolError):
        parse(Endpoint.IMAGES, b'{"data":[{"url":"u"}]}', stream=True)


@pytest.mark.parametrize(
    ("endpoint", "answer", "usage"),
    [
        (
            Endpoint.IMAGES,
            {"data": [{"b64_json": "aGk="}], "usage": {"input_tokens": 5, "output_tokens": 7}},
            (5, 7),
        ),
        (Endpoint.MODERATIONS, {"results": [{"flagged": False}]}, (None, None)),
        (Endpoint.RERANK, {"results": [{"index": 0}], "usage": {"total_tokens": 26}}, (26, None)),
        (
            Endpoint.RERANK,
            {"results": [{"index": 0}], "meta": {"billed_units": {"search_units": 1, "input_tokens": 3}}},
            (3, None),
        ),
        (Endpoint.RERANK, {"results": [{"index": 0}], "meta": {"tokens": {"input_tokens": 4}}}, (4, None)),
        (
            Endpoint.TRANSCRIPTIONS,
            {"text": "x", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 45}},
            (14, 45),
        ),
        (Endpoint.TRANSCRIPTIONS, {"text": "x", "usage": {"type": "duration", "seconds": 9}}, (None, None)),
    ],
)
def test_tokens_are_read_where_they_are_told(endpoint, answer, usage) -> None:
    raw = json.dumps(answer).encode()
    got = parse(endpoint, raw)
    assert (got.body, got.usage.prompt_tokens, got.usage.completion_tokens) == (raw, *usage)


@pytest.mark.parametrize("answer", [{}, {"results": []}, {"results": [1]}, {"data": [{}]}])
@pytest.mark.parametrize("endpoint", [Endpoint.MODERATIONS, Endpoint.RERANK])
def test_answer_of_another_shape_is_refused(endpoint, answer) -> None:
    with pytest.raises(UpstreamProtocolError):
        parse(endpoint, json.dumps(answer).encode())


DELTA = event(type="transcript.text.delta", delta="Hel")
LAST = event(type="transcript.text.done", text="Hello", usage={"input_tokens": 3, "output_tokens": 2})
PICTURE = event(type="image_generation.completed", b64_json="aGk=")
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("asked", "pieces", "finished"),
    [
        (body(Endpoint.TRANSCRIPTIONS), [DELTA, LAST], [False, True]),
        (body(Endpoint.TRANSCRIPTIONS), [DELTA, LAST + DONE], [False, True]),
        (body(Endpoint.IMAGES, n=2), [PICTURE, PICTURE], [False, True]),
        (body(Endpoint.IMAGES, n=True), [PICTURE], [True]),
        (body(Endpoint.SPEECH), [event(object="chunk", choices=[]), DONE], [False, True]),
        (body(Endpoint.TRANSCRIPTIONS), [b"event: transcription.done\n" + event(text="x")], [True]),
    ],
)
def test_events_go_on_and_end_with_the_last(asked, pieces, finished) -> None:
    relay = EventRelay(asked)
    assert [(relay.feed(piece), relay.finished) for piece in pieces] == list(
        zip(pieces, finished, strict=True)
    )
    assert relay.end() == b""


def test_events_are_read_at_any_cut_and_counted() -> None:
    whole = DELTA + LAST
    for size in range(1, len(whole)):
        relay = EventRelay(body(Endpoint.TRANSCRIPTIONS))
        got = b"".join(relay.feed(whole[at : at + size]) for at in range(0, len(whole), size))
        assert (got + relay.end(), relay.usage) == (whole, Usage(prompt_tokens=3, completion_tokens=2))


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([], UpstreamProtocolError),
        ([DONE], UpstreamProtocolError),
        ([b": ping\n\n"], UpstreamProtocolError),
        ([DELTA], UpstreamProtocolError),
        ([b"data: {oops\n\n"], UpstreamProtocolError),
        ([b"data: 3\n\n"], UpstreamProtocolError),
        ([event(type="error", message="No.")], UpstreamStatusError),
        ([event(error={"message": "No."})], UpstreamStatusError),
        ([ERROR], UpstreamStatusError),
    ],
)
def test_stream_without_an_answer_is_refused(pieces, problem) -> None:
    relay = EventRelay(body(Endpoint.TRANSCRIPTIONS))
    with pytest.raises(problem):  # noqa: PT012 - it fails in a piece or at the end
        for piece in pieces:
            relay.feed(piece)
        relay.end()


def test_fault_keeps_the_events_before_it() -> None:
    relay = EventRelay(body(Endpoint.TRANSCRIPTIONS))
    with pytest.raises(UpstreamStatusError) as caught:
        relay.feed(DELTA + event(error={"message": "No."}))
    assert (caught.value.partial, relay.has_content) == (DELTA, True)


def test_unknown_events_end_with_their_body() -> None:
    relay = EventRelay(body(Endpoint.SPEECH))
    assert (relay.feed(event(type="chunk", audio="aGk=")), relay.end(), relay.finished) == (
        event(type="chunk", audio="aGk="),
        b"",
        True,
    )


def test_sound_needs_a_byte() -> None:
    with pytest.raises(UpstreamProtocolError):
        BytesRelay().end()
