"""What a client gets for every fault: whole and streamed, from the first provider or from all of them.

Both sides are real sockets: gunicorn's protocol before the gateway, scripted providers behind it.
"""

from __future__ import annotations

import json

import pytest

from proxying.sse import DONE
from tests.proxying import faults
from tests.proxying.gateway import table, until
from tests.proxying.sockets import listening
from tests.upstream import chunk_event, stream_pieces

pytestmark = pytest.mark.anyio

FAULTS = faults.make()
CASES = [
    pytest.param(name, stream, id=f"{name}-{'streamed' if stream else 'whole'}")
    for name, fault in FAULTS.items()
    for stream in (False, True)
    if fault.script(stream=stream) is not None
]


async def broken(upstream, name, stream):
    """A provider with the fault, and its address."""
    fault = FAULTS[name]
    one = await upstream()
    one.default = fault.script(stream=stream)
    return one, one.base_url if fault.address is None else await fault.address(one)


def last_event(body: bytes) -> dict:
    *_, last, end = body.split(b"\n\n")
    assert end == b""
    return json.loads(last.removeprefix(b"data: "))


@pytest.mark.parametrize(("name", "stream"), CASES)
async def test_second_candidate_answers_for_the_first(upstream, name, stream) -> None:
    fault = FAULTS[name]
    first, address = await broken(upstream, name, stream)
    second = await upstream()
    async with listening(table({"a": address, "b": second})) as door:
        got = await door.ask(stream=stream)
        (row,) = await door.gateway.records()
        await until(lambda: door.gateway.runtime.health.in_flight() == {})
    assert (got.status, got.complete, len(first.requests)) == (200, True, int(fault.calls))
    if fault.event:  # content has gone out: nobody else may answer
        assert (got.gateway["provider"], got.gateway["attempts"], len(second.requests)) == ("a", "1", 0)
        assert got.body.startswith(chunk_event("one "))
        assert (last_event(got.body)["error"]["code"], DONE in got.body) == (fault.code, False)
        assert (row.status, row.outcome, row.error_code) == (200, "cut", fault.code)
        assert [bool(attempt["error"]) for attempt in row.attempts] == [True]
        return
    assert (got.gateway["provider"], got.gateway["attempts"], len(second.requests)) == ("b", "2", 1)
    if stream:
        assert got.body == b"".join(stream_pieces(["one ", "two"]))
    else:
        assert got.json["choices"][0]["message"]["content"] == "one two"
    assert (row.status, row.outcome, row.selected_provider_name) == (200, "ok", "b")
    assert [bool(attempt["error"]) for attempt in row.attempts] == [True, False]


@pytest.mark.parametrize(("name", "stream"), CASES)
async def test_client_is_told_when_every_candidate_fails(upstream, name, stream) -> None:
    fault = FAULTS[name]
    first, address = await broken(upstream, name, stream)
    second, other = await broken(upstream, name, stream)
    async with listening(table({"a": address, "b": other})) as door:
        got = await door.ask(stream=stream)
        (row,) = await door.gateway.records()
    calls = int(fault.calls)
    if fault.event:
        assert (got.status, row.attempt_count, len(first.requests), len(second.requests)) == (200, 1, 1, 0)
        return
    assert (got.status, got.error["code"], got.complete) == (fault.status, fault.code, True)
    assert (got.gateway["attempts"], got.gateway["failover"], got.gateway["provider"]) == ("2", "true", "b")
    assert (len(first.requests), len(second.requests)) == (calls, calls)
    assert (row.status, row.outcome, row.attempt_count) == (fault.status, "error", 2)
    assert [bool(attempt["error"]) for attempt in row.attempts] == [True, True]
    assert set(got.error) == {"message", "type", "param", "code"}
    if fault.status == 429:
        assert got.headers["retry-after"] in {"29", "30", "31"}
    for provider in ("a", "b"):
        assert f"secret-of-{provider}" not in got.body.decode()


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.event])
async def test_break_after_content_of_the_second_candidate_is_told_too(upstream, name) -> None:
    first = await upstream(status=503)
    second, address = await broken(upstream, name, stream=True)
    async with listening(table({"a": first, "b": address})) as door:
        got = await door.ask(stream=True)
        (row,) = await door.gateway.records()
    assert (got.status, got.gateway["provider"], got.gateway["attempts"]) == (200, "b", "2")
    assert got.body.startswith(chunk_event("one "))
    assert (last_event(got.body)["error"]["code"], DONE in got.body) == (FAULTS[name].code, False)
    assert (row.outcome, row.error_code, row.selected_provider_name) == ("cut", FAULTS[name].code, "b")
    assert [bool(attempt["error"]) for attempt in row.attempts] == [True, True]
    assert (len(first.requests), len(second.requests)) == (1, 1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_gzip_nobody_asked_for_is_read(upstream, stream) -> None:
    first = await upstream(gzip=True)
    async with listening(table({"a": first})) as door:
        got = await door.ask(stream=stream)
    assert (got.status, got.complete, "content-encoding" in got.headers) == (200, True, False)
    if stream:
        assert got.body == b"".join(stream_pieces(["one ", "two"]))
    else:
        assert got.json["choices"][0]["message"]["content"] == "one two"


async def test_compressed_stream_is_passed_on_piece_by_piece(upstream) -> None:
    """And one that breaks off tells what came before it."""
    pieces = stream_pieces(["one ", "two"])
    first = await upstream(gzip=True, pieces=pieces, piece_delay_s=0.05, cut_after_pieces=1)
    async with listening(table({"a": first})) as door:
        got = await door.ask(stream=True)
        (row,) = await door.gateway.records()
    assert got.body.startswith(pieces[0])
    assert (last_event(got.body)["error"]["code"], row.outcome) == ("upstream_protocol_error", "cut")
