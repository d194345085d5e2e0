"""Broken bytes from both sides: whatever a client or a provider sends, the gateway stays itself.

Examples are mutations of good ones, from a fixed seed; ``make long`` tries many more.
"""

from __future__ import annotations

import asyncio
import json
import random
from email.parser import BytesParser
from email.policy import HTTP
from io import BytesIO
from itertools import pairwise

import pytest
from django.core.exceptions import BadRequest
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from proxying.errors import InvalidRequestError
from proxying.multipart import FormScanner
from tests.effort import LONG
from tests.proxying.gateway import SECRET, Got, table
from tests.proxying.sockets import CHAT, Client, listening
from tests.upstream import Script, stream_pieces

pytestmark = pytest.mark.anyio

EXAMPLES = 20_000 if LONG else 1_500
WHOLE = json.dumps(
    {
        "id": "c1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
).encode()
STREAM = b": ping\n\n" + b"".join(stream_pieces(["one ", "two"]))
ERROR = b'{"error":{"message":"Slow down, try again in 20s","type":"x","param":null,"code":"rate_limit"}}'
SPICE = (
    *(
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n\n",
        b"\r\n\r\n",
        b'"',
        b"\\",
        b"\\ud800",
        b"{",
        b"}",
        b"[",
    ),
    *(b"]" * 50, b"[" * 2000, b"null", b"-1", b"1e999", b"9" * 400, b"data: ", b"event: error\n", b": x\n"),
    *(b'"error":', b'"choices":null,', b'"usage":[],', b'"model":"pool",', b"[DONE]", b'"stream":true,'),
)


def mutated(chance: random.Random, good: bytes, spice: tuple[bytes, ...] = SPICE) -> bytes:
    """A few cuts, repetitions and insertions."""
    body = good
    for _ in range(chance.randrange(1, 4)):
        at, end = sorted((chance.randrange(len(body) + 1), chance.randrange(len(body) + 1)))
        action = chance.randrange(4)
        if action == 0:
            body = body[:at] + chance.choice(spice) + body[at:]
        elif action == 1:
            body = body[:at] + body[end:]
        elif action == 2:
            body = body[:end] + body[at:end] + body[end:]
        else:
            body = body[:at] + chance.randbytes(chance.randrange(1, 8)) + body[end:]
    return body


def is_envelope(got: Got) -> bool:
    return set(got.error) == {"message", "type", "param", "code"} and bool(got.error["message"])


@pytest.fixture(autouse=True)
def _quiet_log(caplog) -> None:
    caplog.set_level("CRITICAL", "sluice.request")


async def test_any_answer_of_a_provider_becomes_an_answer_or_an_error(upstream) -> None:
    """Never an error of the gateway's own making, never an end that looks clean after a fault."""
    chance = random.Random(1)
    first = await upstream()
    async with listening(table({"a": first})) as door:
        health = door.gateway.runtime.health
        for number in range(EXAMPLES):
            stream = bool(number % 2)
            first.requests.clear()
            first.default = script(chance, stream=stream)
            got = await asyncio.wait_for(door.ask(stream=stream), 10)
            assert got.complete, first.default
            if got.status != 200:
                assert (is_envelope(got), got.error["code"] == "internal_error") == (True, False), (
                    first.default
                )
            elif stream:
                last = got.body.rsplit(b"data:", 1)[-1]
                assert last.startswith(b" [DONE]\n") != (b'"error":{' in last), first.default
            else:
                assert json.loads(got.body)["choices"], first.default
            health._circuits.clear()  # each example meets a provider that is well
            health._cuts.clear()
            health._changed = True
        assert health.in_flight() == {}


def script(chance: random.Random, *, stream: bool) -> Script:
    """A broken answer: body, events in odd pieces, status or headers."""
    what = chance.randrange(4)
    if what == 0:
        headers = {"retry-after": chance.choice(["-1", "1e400", "x" * 300, "Wed, 99 Foo", "0", "\xa0", ""])}
        return Script(
            status=chance.choice([400, 402, 404, 418, 429, 503, 599]),
            body=mutated(chance, ERROR),
            headers=headers,
        )
    if stream and what < 3:
        body = mutated(chance, STREAM)
        cuts = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(5)))
        bounds = [0, *cuts, len(body)]
        pieces = [body[a:b] for a, b in pairwise(bounds) if b > a]
        return Script(pieces=pieces)
    return Script(body=mutated(chance, WHOLE))


async def test_any_body_of_a_client_is_served_or_refused(upstream) -> None:
    """Never a 5xx, and the connection's next request is served."""
    chance = random.Random(2)
    first = await upstream()
    good = json.dumps({**CHAT, "user": "u", "stream_options": {"include_usage": True}, "n": 1}).encode()
    async with listening(table({"a": first})) as door, Client(door.port) as client:
        for _ in range(EXAMPLES):
            first.requests.clear()
            body = mutated(chance, good)
            got = await asyncio.wait_for(client.ask(body), 10)
            assert got.status in {200, 400, 403, 404}, body
            assert got.status == 200 or is_envelope(got), body
            assert len(first.requests) == (got.status == 200), body


FORM = (
    b'--b0\r\nContent-Disposition: form-data; name="language"\r\n\r\nen\r\n'
    b'--b0\r\nContent-Disposition: form-data; name="model"\r\n\r\npool\r\n'
    b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\x00\r\n--b\r\n--b0--\r\n"
)


async def test_any_form_of_a_client_is_served_or_refused(upstream) -> None:
    """What is served has one model for another parser too: the one that was routed."""
    chance = random.Random(4)
    first = await upstream(body=b'{"text":"Hello."}')
    kind = "multipart/form-data; boundary=b0"
    headers = {"content-type": kind}
    async with listening(table({"a": first})) as door, Client(door.port) as client:
        for _ in range(EXAMPLES):
            first.requests.clear()
            body = mutated(chance, FORM)
            path = "/v1/audio/transcriptions"
            got = await asyncio.wait_for(client.ask(body, path=path, headers=headers), 10)
            assert got.status in {200, 400, 404}, body
            assert got.status == 200 or is_envelope(got), body
            assert [models_in(one.body, kind) for one in first.requests] == [["m"]] * (got.status == 200), (
                body
            )
        assert door.gateway.runtime.replay_memory.held_bytes == 0


SMUGGLED = b'Content-Disposition: form-data; name="model"\r\n\r\nsmuggled\r\n'
FORM_SPICE = (
    *(
        b"--b0",
        b"\r\n--b0\r\n",
        b"\n--b0\r\n",
        b"\r\n--b0--",
        b"--b0\r\n" + SMUGGLED,
        b"\r\n--b0\r\n" + SMUGGLED,
    ),
    *(b'name="model"', b"; name=model", b"; name*=utf-8''model", b"=?utf-8?q?model?=", b"%6d", b'\\"', b"\\"),
    *(b";", b" ", b"\t", b"\r\n\r\n", b"\r\n", b"\n", b"\r", b"\0", b"\xff"),
    b"Content-Transfer-Encoding: base64\r\n",
)


def test_no_parser_reads_another_model_from_a_form_that_is_taken() -> None:
    """What a provider's parser makes of it is not known: a strict one and a lax one stand for all."""
    chance = random.Random(5)
    taken = 0
    for _ in range(EXAMPLES * 10):
        raw = mutated(chance, FORM, FORM_SPICE)
        scanner = FormScanner(b"b0", frozenset({b"model"}))
        try:
            scanner.feed(raw)
            scanner.end()
        except InvalidRequestError:
            continue
        field = scanner.fields.get(b"model")
        if field is None:
            continue
        taken += 1
        sent = raw[: field.start] + b"routed" + raw[field.end :]
        assert {*models_in(sent, "multipart/form-data; boundary=b0"), *models_of_django(sent)} <= {
            "routed"
        }, raw
    assert taken > 100


def models_of_django(form: bytes) -> list[str]:
    """The values of ``model`` as Django reads them; none of a form that it refuses."""
    meta = {"CONTENT_TYPE": "multipart/form-data; boundary=b0", "CONTENT_LENGTH": str(len(form))}
    parser = MultiPartParser(meta, BytesIO(form), [MemoryFileUploadHandler()], "utf-8")
    try:
        fields, _ = parser.parse()
    except (MultiPartParserError, BadRequest):
        return []
    return [str(value) for value in fields.getlist("model")]


def models_in(form: bytes, kind: str) -> list[str]:
    """The values of ``model`` as the standard library reads them."""
    read = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + form)
    parts = [
        one for one in read.iter_parts() if one.get_param("name", header="content-disposition") == "model"
    ]
    return [one.get_payload(decode=True).decode() for one in parts]


async def test_any_head_of_a_client_is_served_or_refused(upstream) -> None:
    """The worker lives, and answers the next connection."""
    chance = random.Random(3)
    first = await upstream()
    body = json.dumps(CHAT).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
        f"x-session-id: s\r\nx-request-id: r\r\nx-user-path: /a\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    async with listening(table({"a": first})) as door:
        for _ in range(EXAMPLES // 4):
            async with Client(door.port) as client:
                client.writer.write(mutated(chance, head) + body)
                client.writer.write_eof()
                answer = await asyncio.wait_for(client.reader.read(65536), 10)
            assert not answer.startswith(b"HTTP/1.1 5"), answer
        assert (await door.ask()).status == 200
        assert door.gateway.runtime.health.in_flight() == {}
