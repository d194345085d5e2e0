"""Speech, pictures, moderations and reranking: pooled, failed over and recorded like chats (T38)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import openai
import pytest
from django.core.handlers.asgi import ASGIHandler

from routing.types import Endpoint, Pool
from tests.proxying.faults import BIG_HTML, error_body
from tests.proxying.gateway import SECRET, Gateway, serving, table, until
from tests.proxying.sockets import Client, listening
from tests.upstream import Script

pytestmark = pytest.mark.anyio

FAILS = Script(status=500, body=error_body())
SOUND = [b"ID3\x00", b"\xff\xfb" * 500, b"\x00\r\n0\r\n\r\n"]
MP3 = {"content-type": "audio/mpeg"}
RESULT = {"flagged": True, "categories": {"violence": True}, "category_scores": {"violence": 0.9}}
ANSWERS = {
    Endpoint.IMAGES: {"created": 1, "data": [{"b64_json": "aGk="}], "usage": {"input_tokens": 5}},
    Endpoint.MODERATIONS: {"id": "modr-1", "model": "m", "results": [RESULT]},
    Endpoint.RERANK: {
        "results": [{"index": 1, "relevance_score": 0.9}],
        "meta": {"tokens": {"input_tokens": 5}},
    },
}
ASKED = {
    Endpoint.IMAGES: ("/v1/images/generations", {"prompt": "a cat", "n": 1}),
    Endpoint.MODERATIONS: ("/v1/moderations", {"input": "I hate you"}),
    Endpoint.RERANK: ("/v1/rerank", {"query": "q", "documents": ["a", "b"], "top_n": 1}),
    Endpoint.SPEECH: ("/v1/audio/speech", {"input": "Hello", "voice": "alloy"}),
}


def good(endpoint: Endpoint) -> Script:
    """What a provider answers when all is well."""
    if endpoint is Endpoint.SPEECH:
        return Script(pieces=SOUND, headers=MP3)
    return Script(body=json.dumps(ANSWERS[endpoint]).encode())


def expected(endpoint: Endpoint) -> bytes:
    return b"".join(SOUND) if endpoint is Endpoint.SPEECH else json.dumps(ANSWERS[endpoint]).encode()


async def ask(gateway: Gateway, endpoint: Endpoint, *, model: str = "pool", headers=None, **fields):
    path, asked = ASKED[endpoint]
    return await gateway.call("POST", path, json.dumps({"model": model, **asked, **fields}).encode(), headers)


@asynccontextmanager
async def sdk(held) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client at a listening gateway."""
    async with listening(held) as door:
        address = f"http://127.0.0.1:{door.port}/v1"
        async with openai.AsyncOpenAI(base_url=address, api_key=SECRET, max_retries=0) as client:
            yield client


@pytest.mark.parametrize("endpoint", ASKED)
async def test_second_candidate_serves_and_keeps_the_session(upstream, endpoint) -> None:
    first, second = await upstream(), await upstream()
    first.default, second.default = FAILS, good(endpoint)
    path, asked = ASKED[endpoint]
    session = {"x-session-id": "s1"}
    async with serving(table({"a": first, "b": second})) as gateway:
        got = await ask(gateway, endpoint, headers=session)
        again = await ask(gateway, endpoint, headers=session)
        rows = await gateway.records(2)
        await until(lambda: gateway.runtime.health.in_flight() == {})
    assert (got.status, got.body, got.complete) == (200, expected(endpoint), True)
    assert (got.gateway["provider"], got.gateway["attempts"], got.gateway["affinity"]) == ("b", "2", "miss")
    assert (again.gateway["provider"], again.gateway["attempts"], again.gateway["affinity"]) == (
        "b",
        "1",
        "hit",
    )
    assert [one.path for one in second.requests] == [path] * 2
    assert second.requests[0].json == {"model": "m", **asked}
    assert second.requests[0].headers["authorization"] == "Bearer secret-of-b"
    assert [(row.endpoint, row.status, row.outcome, row.attempt_count) for row in rows] == [
        (endpoint.value, 200, "ok", 2),
        (endpoint.value, 200, "ok", 1),
    ]
    assert (rows[0].streamed, rows[0].prompt_tokens) == (
        endpoint is Endpoint.SPEECH,
        5 if endpoint in {Endpoint.IMAGES, Endpoint.RERANK} else None,
    )


@pytest.mark.parametrize("endpoint", ASKED)
async def test_provider_that_cannot_serve_an_endpoint_is_not_asked(upstream, endpoint) -> None:
    first, second = await upstream(), await upstream()
    second.default = good(endpoint)
    chat_only = {"endpoints": frozenset({Endpoint.CHAT})}
    async with serving(table({"a": first, "b": second}, providers={"a": chat_only})) as gateway:
        served = await ask(gateway, endpoint)
    async with serving(table({"a": first}, providers={"a": chat_only})) as gateway:
        refused = await ask(gateway, endpoint)
    assert (served.status, served.gateway["provider"], served.gateway["attempts"]) == (200, "b", "1")
    assert (refused.status, refused.error["code"], refused.error["param"]) == (
        400,
        "unsupported_endpoint",
        "model",
    )
    assert first.requests == []


@pytest.mark.parametrize("endpoint", [*ANSWERS])
@pytest.mark.parametrize("broken", [b"", b"{}", b"[]", b"<html>", error_body("server_error")])
async def test_broken_answer_is_the_next_candidates(upstream, endpoint, broken) -> None:
    first, second = await upstream(body=broken), await upstream()
    second.default = good(endpoint)
    async with serving(table({"a": first, "b": second})) as gateway:
        got = await ask(gateway, endpoint)
    assert (got.status, got.body, got.gateway["attempts"]) == (200, expected(endpoint), "2")


async def test_sdk_gets_pictures_and_moderations(upstream) -> None:
    up = await upstream()
    up.script(good(Endpoint.IMAGES), good(Endpoint.MODERATIONS))
    held = table({"a": up})
    default = Pool("omni-moderation-latest", held.pools["pool"].candidates)
    held = replace(held, pools={**held.pools, default.canonical_model: default})
    async with sdk(held) as client:
        pictures = await client.images.generate(model="pool", prompt="a cat")
        judged = await client.moderations.create(input="I hate you")
    assert (pictures.data[0].b64_json, judged.results[0].flagged) == ("aGk=", True)
    assert [one.json for one in up.requests] == [
        {"model": "m", "prompt": "a cat"},
        {"model": "m", "input": "I hate you"},
    ]


async def test_sdk_gets_a_stream_of_pictures(upstream) -> None:
    events = [
        {"type": "image_generation.partial_image", "b64_json": "aA==", "partial_image_index": 0},
        {
            "type": "image_generation.completed",
            "b64_json": "aGk=",
            "usage": {"input_tokens": 5, "output_tokens": 7},
        },
    ]
    up = await upstream(pieces=[b"data: " + json.dumps(one).encode() + b"\n\n" for one in events])
    async with sdk(table({"a": up})) as client:
        stream = await client.images.generate(model="pool", prompt="a cat", stream=True, partial_images=1)
        got = [one.type async for one in stream]
    assert got == ["image_generation.partial_image", "image_generation.completed"]


async def test_sdk_gets_sound_piece_by_piece(upstream) -> None:
    up = await upstream(pieces=SOUND, headers=MP3)
    async with (
        sdk(table({"a": up})) as client,
        client.audio.speech.with_streaming_response.create(
            model="pool", input="Hello", voice="alloy"
        ) as answer,
    ):
        kind = answer.headers["content-type"]
        sound = b"".join([piece async for piece in answer.iter_bytes()])
    assert (kind, sound) == ("audio/mpeg", b"".join(SOUND))
    assert up.requests[0].json == {"input": "Hello", "model": "m", "voice": "alloy"}


async def test_sound_as_events_is_a_stream(upstream) -> None:
    pieces = [
        b'data: {"type":"speech.audio.delta","audio":"aGk="}\n\n',
        b'data: {"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":9}}\n\n',
    ]
    up = await upstream(pieces=pieces)
    async with serving(table({"a": up})) as gateway:
        got = await ask(gateway, Endpoint.SPEECH, stream_format="sse")
        (row,) = await gateway.records()
    assert (got.headers["content-type"], got.body) == ("text/event-stream; charset=utf-8", b"".join(pieces))
    assert (row.prompt_tokens, row.completion_tokens, row.cost_microusd) == (3, 9, None)


NO_SOUND = {
    "500": FAILS,
    "empty": Script(pieces=[], headers=MP3),
    "empty of known length": Script(body=b"", headers=MP3),
    "error in a 200": Script(body=error_body("server_error")),
    "JSON": Script(body=b'{"ok":true}'),
    "page": Script(body=BIG_HTML, headers={"content-type": "text/html"}),
    "cut at once": Script(pieces=SOUND, headers=MP3, cut_after_pieces=0),
    "closed before headers": Script(drop=True),
    "silent": Script(hang=True),
}


@pytest.mark.parametrize("fault", NO_SOUND)
async def test_sound_that_does_not_begin_is_the_next_candidates(upstream, fault) -> None:
    first, second = await upstream(), await upstream()
    first.default, second.default = NO_SOUND[fault], good(Endpoint.SPEECH)
    async with listening(table({"a": first, "b": second})) as door, Client(door.port) as client:
        path, asked = ASKED[Endpoint.SPEECH]
        got = await client.ask(json.dumps({"model": "pool", **asked}).encode(), path=path)
        (row,) = await door.gateway.records()
    assert (got.status, got.body, got.complete) == (200, b"".join(SOUND), True)
    assert (got.gateway["provider"], got.gateway["attempts"], row.attempt_count) == ("b", "2", 2)


CUTS = {
    "cut": (Script(pieces=SOUND, headers=MP3, cut_after_pieces=1), "upstream_protocol_error"),
    "reset": (
        Script(pieces=SOUND, headers=MP3, cut_after_pieces=1, reset=True, piece_delay_s=0.02),
        "upstream_protocol_error",
    ),
    "cut within a known length": (
        Script(body=b"".join(SOUND), headers=MP3, cut_after_bytes=4),
        "upstream_protocol_error",
    ),
    "stall": (Script(pieces=SOUND, headers=MP3, piece_delay_s=0.6), "upstream_timeout"),
}


@pytest.mark.parametrize("fault", CUTS)
async def test_sound_that_breaks_off_does_not_end_as_if_whole(upstream, fault) -> None:
    """The client's connection is cut: nothing in the sound itself could say so."""
    script, code = CUTS[fault]
    first, second = await upstream(), await upstream()
    first.default = script
    async with listening(table({"a": first, "b": second})) as door, Client(door.port) as client:
        path, asked = ASKED[Endpoint.SPEECH]
        got = await client.ask(json.dumps({"model": "pool", **asked}).encode(), path=path)
        (row,) = await door.gateway.records()
        await until(lambda: door.gateway.runtime.health.in_flight() == {})
    assert (got.status, got.body, got.complete) == (200, SOUND[0], False)
    assert (row.outcome, row.error_code, row.attempt_count, second.requests) == ("cut", code, 1, [])


async def test_sdk_is_told_that_sound_broke_off(upstream) -> None:
    up = await upstream()
    up.default = CUTS["cut"][0]
    async with sdk(table({"a": up})) as client:
        with pytest.raises(openai.APIConnectionError):
            await client.audio.speech.create(model="pool", input="Hello", voice="alloy")


async def test_client_that_leaves_ends_the_sound(upstream) -> None:
    up = await upstream(pieces=[b"x" * 10, *[b"y"] * 100], headers=MP3, piece_delay_s=0.05)
    async with listening(table({"a": up})) as door, Client(door.port) as client:
        path, asked = ASKED[Endpoint.SPEECH]
        client.send(json.dumps({"model": "pool", **asked}).encode(), path)
        await client.reader.readuntil(b"x" * 10)
        client.leave()
        await asyncio.wait_for(up.requests[0].gone.wait(), 1)
        (row,) = await door.gateway.records()
    assert (row.outcome, row.status) == ("client_gone", 200)


@pytest.mark.parametrize("is_cut", [False, True])
async def test_django_door_relays_sound_and_cuts_it(upstream, settings, is_cut) -> None:
    settings.MIDDLEWARE = []
    up = await upstream()
    up.default = CUTS["cut"][0] if is_cut else good(Endpoint.SPEECH)
    path, asked = ASKED[Endpoint.SPEECH]
    events = [{"type": "http.request", "body": json.dumps({"model": "pool", **asked}).encode()}]
    sent = []

    async def receive():
        if not events:
            await asyncio.Event().wait()
        return events.pop(0)

    async def send(event):
        sent.append(event)

    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {SECRET}".encode())]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    async with serving(table({"a": up})):
        await ASGIHandler()(scope, receive, send)
    sound = b"".join(event.get("body", b"") for event in sent[1:])
    assert sent[0]["status"] == 200
    assert (sound, sent[-1].get("more_body", False)) == (
        (SOUND[0], True) if is_cut else (b"".join(SOUND), False)
    )
