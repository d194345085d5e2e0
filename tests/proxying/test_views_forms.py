"""Uploads: routed by a field of their form, sent on as they come, failed over as far as their copy goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import openai
import pytest
from django.core.handlers.asgi import ASGIHandler

from routing.types import Endpoint
from tests.proxying import faults
from tests.proxying.gateway import SECRET, Gateway, Got, serving, table, until
from tests.proxying.sockets import Client, Door, listening
from tests.upstream import Script, Upstream

pytestmark = pytest.mark.anyio

PATH = "/v1/audio/transcriptions"
KIND = "multipart/form-data; boundary=b0"
SAID = Script(body=b'{"text":"Hello."}')
FAILS = Script(status=500, body=faults.error_body())
SOUND = bytes(range(256)) * 40


def part(name: str, value: bytes, extra: str = "") -> bytes:
    return f'--b0\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + value + b"\r\n"


def form(sound: bytes = SOUND, *, model: bytes = b"pool", model_last: bool = False, **fields: str) -> bytes:
    file = part("file", sound, '; filename="a.wav"')
    named = part("model", model) + b"".join(part(name, text.encode()) for name, text in fields.items())
    return (file + named if model_last else named + file) + b"--b0--\r\n"


async def ask(door: Door, body: bytes, *, path: str = PATH, **headers: str) -> Got:
    """One upload over a connection of its own."""
    async with Client(door.port) as client:
        return await client.ask(body, path=path, headers={"content-type": KIND, **headers})


@asynccontextmanager
async def sdk(held) -> AsyncIterator[tuple[openai.AsyncOpenAI, Door]]:
    """OpenAI's client at a listening gateway."""
    async with listening(held) as door:
        address = f"http://127.0.0.1:{door.port}/v1"
        async with openai.AsyncOpenAI(base_url=address, api_key=SECRET, max_retries=0) as client:
            yield client, door


async def released(gateway: Gateway) -> None:
    """Nothing of the upload is left."""
    await until(lambda: gateway.runtime.replay_memory.held_bytes == 0)
    await until(lambda: gateway.runtime.health.in_flight() == {})


class Early:
    """A provider that reads so much of each request, does one thing, and lets the test say when to go on."""

    def __init__(self, *, reads: int, says: bytes = b"", closes: bool = False) -> None:
        self.reads = reads
        self.says = says
        self.closes = closes
        self.gone = asyncio.Event()
        self.got = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.got = len(await reader.readexactly(self.reads))
            writer.write(self.says)
            await writer.drain()
            while not self.closes and (piece := await reader.read(65_536)):
                self.got += len(piece)
        self.gone.set()
        writer.transport.abort() if self.closes is None else writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=65_536)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        finally:
            server.close()


# --- what works ---


async def test_sdk_gets_a_transcript_and_the_form_is_the_clients(upstream) -> None:
    up = await upstream(body=SAID.body)
    async with sdk(table({"a": up})) as (client, door):
        got = await client.audio.transcriptions.create(model="pool", file=("a.wav", SOUND), language="en")
        (row,) = await door.gateway.records()
        await released(door.gateway)
    (sent,) = up.requests
    boundary = sent.headers["content-type"].partition("boundary=")[2].encode()
    assert (got.text, sent.path, row.endpoint) == ("Hello.", PATH, "audio_transcriptions")
    assert (sent.body.count(b"--" + boundary), SOUND in sent.body, b"pool" in sent.body) == (4, True, False)
    assert b'name="model"\r\n\r\nm\r\n' in sent.body
    assert sent.headers["content-length"] == str(len(sent.body))
    assert sent.headers["authorization"] == "Bearer secret-of-a"


async def test_sdk_gets_a_stream_of_events(upstream) -> None:
    pieces = [
        b'data: {"type":"transcript.text.delta","delta":"Hel"}\n\n',
        b'data: {"type":"transcript.text.done","usage":{"input_tokens":3,"output_tokens":2}}\n\n',
    ]
    up = await upstream(pieces=pieces)
    async with sdk(table({"a": up})) as (client, door):
        stream = await client.audio.transcriptions.create(model="pool", file=("a.wav", SOUND), stream=True)
        got = [one.type async for one in stream]
        (row,) = await door.gateway.records()
    assert got == ["transcript.text.delta", "transcript.text.done"]
    assert (row.streamed, row.prompt_tokens, row.completion_tokens) == (True, 3, 2)


async def test_sdk_gets_subtitles_and_translations(upstream) -> None:
    up = await upstream(body=b"1\n00:00:00,000 --> 00:00:01,000\nHello.\n")
    up.default.headers = {"content-type": "text/plain; charset=utf-8"}
    async with sdk(table({"a": up})) as (client, door):
        subtitles = await client.audio.transcriptions.create(
            model="pool", file=("a.wav", SOUND), response_format="srt"
        )
        translated = await ask(door, form(response_format="vtt"), path="/v1/audio/translations")
    assert (subtitles, translated.body) == (up.default.body.decode(), up.default.body)
    assert translated.headers["content-type"] == "text/plain; charset=utf-8"
    assert [one.path for one in up.requests] == [PATH, "/v1/audio/translations"]


async def test_sdk_has_pictures_changed(upstream) -> None:
    up = await upstream(body=b'{"created":1,"data":[{"b64_json":"aGk="}]}')
    picture = ("a.png", b"\x89PNG" + SOUND, "image/png")
    async with sdk(table({"a": up})) as (client, door):
        edited = await client.images.edit(model="pool", image=[picture, picture], prompt="a hat")
        varied = await ask(door, form(), path="/v1/images/variations")
    assert (edited.data[0].b64_json, varied.json["data"]) == ("aGk=", [{"b64_json": "aGk="}])
    assert [one.path for one in up.requests] == ["/v1/images/edits", "/v1/images/variations"]


async def test_json_is_taken_where_a_provider_takes_it(upstream) -> None:
    up = await upstream(body=b'{"data":[{"url":"u"}]}')
    async with listening(table({"a": up})) as door:
        body = b'{"model":"pool","images":[{"image_url":"u"}]}'
        got = await ask(door, body, path="/v1/images/edits", **{"content-type": "application/json"})
    assert (got.status, up.requests[0].json["model"]) == (200, "m")


async def test_model_may_stand_behind_the_file(upstream) -> None:
    up = await upstream(body=SAID.body)
    async with listening(table({"a": up})) as door:
        got = await ask(door, form(SOUND * 20, model_last=True, stream="true"))
    assert (got.status, up.requests[0].body) == (
        200,
        form(SOUND * 20, model_last=True, model=b"m", stream="true"),
    )


async def test_upload_of_unknown_length_goes_on_in_chunks(upstream) -> None:
    up = await upstream(body=SAID.body)
    body = form()
    async with listening(table({"a": up})) as door, Client(door.port) as client:
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {SECRET}\r\ncontent-type: {KIND}\r\n"
        )
        client.writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 1000):
            piece = body[at : at + 1000]
            client.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0)
        client.writer.write(b"0\r\n\r\n")
        got = await client.read()
    assert (got.status, up.requests[0].body) == (200, form(model=b"m"))


async def test_fields_of_the_form_keep_a_session(upstream) -> None:
    first, second = await upstream(status=500, body=faults.error_body()), await upstream(body=SAID.body)
    async with listening(table({"a": first, "b": second})) as door:
        got = await ask(door, form(user="u1"))
        again = await ask(door, form(user="u1"))
    assert [(one.gateway["provider"], one.gateway["affinity"]) for one in (got, again)] == [
        ("b", "miss"),
        ("b", "hit"),
    ]


async def test_django_door_sends_uploads_on(upstream, settings) -> None:
    settings.MIDDLEWARE = []
    first, second = await upstream(status=500, body=faults.error_body()), await upstream(body=SAID.body)
    body, sent = form(SOUND * 30), []
    events = [{"type": "http.request", "body": body}]

    async def receive():
        if not events:
            await asyncio.Event().wait()
        return events.pop(0)

    async def send(event):
        sent.append(event)

    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {SECRET}".encode())]
    headers += [(b"content-type", KIND.encode()), (b"content-length", b"%d" % len(body))]
    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": headers}
    async with serving(table({"a": first, "b": second})) as gateway:
        await ASGIHandler()(scope, receive, send)
        await released(gateway)
    assert (sent[0]["status"], sent[1]["body"]) == (200, SAID.body)
    assert first.requests[0].body == second.requests[0].body == form(SOUND * 30, model=b"m")


# --- failover ---

# A text is a transcript, whatever it says.
FAULTS = {
    name: fault for name, fault in faults.make().items() if fault.whole and name != "wrong content type"
}


@pytest.mark.parametrize("name", FAULTS)
async def test_second_candidate_is_sent_the_same(upstream, name) -> None:
    fault = FAULTS[name]
    first, second = await upstream(), await upstream(body=SAID.body)
    first.default = fault.whole()
    if first.default.body is None and first.default.pieces is None:
        first.default.body = SAID.body
    address = first.base_url if fault.address is None else await fault.address(first)
    body = form(SOUND * 50)
    async with listening(table({"a": address, "b": second})) as door:
        got = await ask(door, body)
        (row,) = await door.gateway.records()
        await released(door.gateway)
    assert (got.status, got.body, got.gateway["provider"], got.gateway["attempts"]) == (
        200,
        SAID.body,
        "b",
        "2",
    )
    assert second.requests[0].body == form(SOUND * 50, model=b"m")
    assert (len(first.requests), [bool(one["error"]) for one in row.attempts]) == (
        int(fault.calls),
        [True, False],
    )


async def test_upload_beyond_its_copy_goes_to_one_provider_only(upstream, settings) -> None:
    settings.GATEWAY_REPLAY_BYTES = 100_000
    first, second = await upstream(drop=True), await upstream(body=SAID.body)
    async with listening(table({"a": first, "b": second})) as door:
        failed = await ask(door, form(SOUND * 30))
        first.default = SAID
        passed = await ask(door, form(SOUND * 30))
        rows = await door.gateway.records(2)
        await released(door.gateway)
    assert (failed.status, failed.error["code"], failed.gateway["attempts"]) == (
        502,
        "upstream_unreachable",
        "1",
    )
    assert failed.error["message"].endswith("(There is no copy of the upload to send to another provider.)")
    assert (rows[0].error_message, rows[0].attempt_count) == (failed.error["message"], 1)
    assert (passed.status, first.requests[1].body, second.requests) == (
        200,
        form(SOUND * 30, model=b"m"),
        [],
    )


async def test_room_for_copies_is_shared(upstream, settings) -> None:
    """Without room an upload goes to one provider; one whose model comes late has to wait."""
    settings.GATEWAY_REPLAY_TOTAL_BYTES = 150_000
    first, second = await upstream(status=500, body=faults.error_body()), await upstream(body=SAID.body)
    async with listening(table({"a": first, "b": second})) as door:
        assert door.gateway.runtime.replay_memory.take(100_000) is True
        door.gateway.runtime.show_gauges()
        text = door.gateway.runtime.metrics.exposition().decode()
        alone = await ask(door, form(SOUND * 20))
        late = await ask(door, form(SOUND * 20, model_last=True))
        door.gateway.runtime.replay_memory.give(100_000)
        await released(door.gateway)
        again = await ask(door, form(SOUND * 10))
    assert "\nsluice_replay_bytes 100000.0\n" in text
    assert (alone.status, alone.gateway["attempts"]) == (500, "1")
    assert (late.status, late.error["code"], late.headers["retry-after"]) == (503, "too_many_uploads", "1")
    assert (again.status, again.gateway["attempts"]) == (200, "2")


@pytest.mark.parametrize("status", [429, 401, 503])
@pytest.mark.parametrize("closes", [False, True])
async def test_answer_before_the_end_of_the_upload_counts(upstream, status, closes) -> None:
    """The provider says no while it is still being sent the body; the next one gets all of it."""
    error = faults.error_body()
    says = b"HTTP/1.1 %d No\r\ncontent-length: %d\r\n\r\n%b" % (status, len(error), error)
    early, second = Early(reads=1000, says=says, closes=closes), await upstream(body=SAID.body)
    body = form(SOUND * 400)
    async with early.running() as address, listening(table({"a": address, "b": second})) as door:
        got = await ask(door, body)
        (row,) = await door.gateway.records()
        await asyncio.wait_for(early.gone.wait(), 1)
        await released(door.gateway)
    assert (got.status, got.gateway["provider"], second.requests[0].body) == (
        200,
        "b",
        form(SOUND * 400, model=b"m"),
    )
    assert [one["status"] for one in row.attempts] == [status, 200]
    assert early.got < len(body)


async def test_provider_that_takes_nothing_is_left_for_the_next(upstream) -> None:
    class Deaf(Early):
        async def serve(self, reader, writer) -> None:
            await self.gone.wait()
            writer.close()

    deaf, second = Deaf(reads=0), await upstream(body=SAID.body)
    async with deaf.running() as address, listening(table({"a": address, "b": second})) as door:
        got = await ask(door, form(SOUND * 700))
        (row,) = await door.gateway.records()
        deaf.gone.set()
    assert (got.status, second.requests[0].body) == (200, form(SOUND * 700, model=b"m"))
    assert row.attempts[0]["error"].startswith("upstream_timeout")


# --- what a client may do wrong ---


async def test_form_is_refused_before_anybody_is_called(upstream) -> None:
    up = await upstream(body=SAID.body)
    cases = {
        form(model=b" "): "missing_model",
        part("file", SOUND, '; filename="a"') + b"--b0--\r\n": "missing_model",
        form(model=b"\xff"): "invalid_request",
        form(model=b"unknown"): "model_not_found",
        b"hello": "invalid_request",
        part("model", b"pool") + form(): "duplicate_model",
    }
    async with listening(table({"a": up})) as door:
        got = [(await ask(door, body)).error["code"] for body in cases]
        unbounded = await ask(door, form(), **{"content-type": "multipart/form-data"})
        plain = await ask(door, form(), **{"content-type": "text/plain"})
        await released(door.gateway)
    assert got == [*cases.values()]
    assert (unbounded.status, plain.status, up.requests) == (400, 400, [])


@pytest.mark.parametrize(
    ("tail", "code"),
    [(part("model", b"other") + b"--b0--\r\n", "duplicate_model"), (b"--b0", "invalid_request")],
)
async def test_fault_behind_the_file_ends_the_call(upstream, tail, code) -> None:
    """The provider never sees the end of it, and is not blamed."""
    early, second = Early(reads=1000), await upstream(body=SAID.body)
    body = form(SOUND * 20).removesuffix(b"--b0--\r\n") + tail
    async with early.running() as address, listening(table({"a": address, "b": second})) as door:
        got = await ask(door, body)
        (row,) = await door.gateway.records()
        await asyncio.wait_for(early.gone.wait(), 1)
        circuits = door.gateway.runtime.health.view().circuits
        await released(door.gateway)
    assert (got.status, got.error["code"], second.requests, dict(circuits)) == (400, code, [], {})
    assert (row.attempts[0]["error"], early.got < len(body)) == (code, True)


async def test_model_behind_a_large_file_is_refused_with_a_hint(upstream, settings) -> None:
    settings.GATEWAY_REPLAY_BYTES = 100_000
    up = await upstream(body=SAID.body)
    async with listening(table({"a": up})) as door:
        got = await ask(door, form(SOUND * 30, model_last=True))
        await released(door.gateway)
    assert (got.status, got.error["param"], up.requests) == (400, "model", [])
    assert got.error["message"] == (
        "The field 'model' must stand within the first 100000 bytes of the form: put it before the file."
    )


@pytest.mark.parametrize("is_told", [True, False])
async def test_upload_over_the_limit_is_refused(upstream, settings, is_told) -> None:
    settings.GATEWAY_MAX_BODY_BYTES = 200_000
    early = Early(reads=1000)
    body = form(SOUND * 100)
    async with early.running() as address, listening(table({"a": address})) as door:
        if is_told:
            got = await ask(door, body)
        else:
            async with Client(door.port) as client:
                head = f"POST {PATH} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {SECRET}\r\n"
                head += f"content-type: {KIND}\r\ntransfer-encoding: chunked\r\n\r\n"
                client.writer.write(head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
                got = await client.read()
            await asyncio.wait_for(early.gone.wait(), 1)
        await released(door.gateway)
    assert (got.status, got.error["code"]) == (413, "request_too_large")
    assert early.got <= 200_000


def too_much(client: openai.AsyncOpenAI, path: str):
    """A request that sockets do not hold."""
    if path == PATH:
        return client.audio.transcriptions.create(model="pool", file=("a.wav", SOUND * 2000))
    message = {"role": "user", "content": "x" * 20_000_000}
    return client.chat.completions.create(model="pool", messages=[message])


@pytest.mark.parametrize("path", [PATH, "/v1/chat/completions"])
async def test_client_that_only_writes_still_gets_its_refusal(path) -> None:
    """It sends all it has before it looks: closing on it would take the answer from it."""
    async with listening(table({})) as door:
        address = f"http://127.0.0.1:{door.port}/v1"
        async with openai.AsyncOpenAI(base_url=address, api_key="nobody", max_retries=0) as client:
            for _ in range(3):
                with pytest.raises(openai.AuthenticationError):
                    await too_much(client, path)


async def begun(client: Client, body: bytes, sent: int) -> None:
    """Send the head of an upload, and so much of its body."""
    head = f"POST {PATH} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {SECRET}\r\ncontent-type: {KIND}\r\n"
    client.writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body[:sent])
    await client.writer.drain()


async def test_client_that_leaves_ends_the_upload() -> None:
    early = Early(reads=1000)
    body = form(SOUND * 20)
    async with (
        early.running() as address,
        listening(table({"a": address})) as door,
        Client(door.port) as client,
    ):
        await begun(client, body, 100_000)
        await asyncio.sleep(0.05)  # one piece, which waits for the next
        client.writer.write(body[100_000:150_000])
        await until(lambda: early.got > 1000)
        client.leave()
        await asyncio.wait_for(early.gone.wait(), 1)
        (row,) = await door.gateway.records()
        circuits = door.gateway.runtime.health.view().circuits
        await released(door.gateway)
    assert (row.status, row.outcome, row.error_code) == (499, "client_gone", "client_gone")
    assert (row.attempts[0]["error"], dict(circuits)) == ("client_gone", {})


async def test_client_that_leaves_ends_an_answer_that_began_before_its_upload_was_over() -> None:
    event = b'data: {"type":"transcript.text.delta","delta":"Hel"}\n\n'
    says = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    early = Early(reads=1000, says=says + b"%x\r\n%b\r\n" % (len(event), event))
    async with (
        early.running() as address,
        listening(table({"a": address})) as door,
        Client(door.port) as client,
    ):
        body = form(SOUND * 40)
        await begun(client, body, 100_000)
        await asyncio.sleep(0.05)
        client.writer.write(body[100_000:200_000])
        await client.reader.readuntil(event)
        client.leave()
        await asyncio.wait_for(early.gone.wait(), 1)
        (row,) = await door.gateway.records()
        circuits = door.gateway.runtime.health.view().circuits
        await released(door.gateway)
    assert (row.status, row.outcome, row.streamed, dict(circuits)) == (200, "client_gone", True, {})


async def test_slow_client_is_not_its_providers_fault(upstream) -> None:
    """``FAST`` gives the provider 0.4 s for its first byte; the client takes longer for its body."""
    up = await upstream(body=SAID.body)
    body = form(SOUND * 20)
    async with listening(table({"a": up})) as door, Client(door.port) as client:
        await begun(client, body, 100_000)
        await asyncio.sleep(0.6)
        client.writer.write(body[100_000:])
        got = await client.read()
    assert (got.status, up.requests[0].body) == (200, form(SOUND * 20, model=b"m"))


async def test_client_that_does_not_go_on_is_told_so(upstream) -> None:
    """After the request's deadline of 2 s."""
    up, second = await upstream(body=SAID.body), await upstream(body=SAID.body)
    async with listening(table({"a": up, "b": second})) as door, Client(door.port) as client:
        await begun(client, form(SOUND * 20), 100_000)
        got = await client.read()
        (row,) = await door.gateway.records()
        circuits = door.gateway.runtime.health.view().circuits
        await released(door.gateway)
    assert (got.status, got.error["code"], got.headers["x-should-retry"]) == (408, "request_timeout", "false")
    assert (row.attempt_count, row.attempts[0]["error"], dict(circuits)) == (1, "request_timeout", {})


async def test_endpoint_that_nobody_serves_is_refused(upstream) -> None:
    up = await upstream(body=SAID.body)
    chat_only = {"a": {"endpoints": frozenset({Endpoint.CHAT})}}
    async with listening(table({"a": up}, providers=chat_only)) as door:
        got = await ask(door, form(SOUND * 100))
        await released(door.gateway)
    assert (got.status, got.error["code"], up.requests) == (400, "unsupported_endpoint", [])


async def test_many_uploads_at_once_all_arrive(upstream) -> None:
    up: Upstream = await upstream(body=SAID.body)
    async with listening(table({"a": up})) as door:
        got = await asyncio.gather(*(ask(door, form(SOUND * (10 + n))) for n in range(20)))
        await released(door.gateway)
    assert [one.status for one in got] == [200] * 20
    assert sorted(len(one.body) for one in up.requests) == [
        len(form(SOUND * (10 + n), model=b"m")) for n in range(20)
    ]
    assert json.loads(got[0].body) == {"text": "Hello."}
