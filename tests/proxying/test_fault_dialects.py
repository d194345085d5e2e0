"""Faults of providers told in the client's own dialect."""

from __future__ import annotations

import json

import pytest

from tests.proxying import faults
from tests.proxying.gateway import table
from tests.proxying.sockets import Client, listening

pytestmark = pytest.mark.anyio

FAULTS = faults.make()
ASKED = {"model": "pool", "input": "hi"}
MESSAGE = {"model": "pool", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
EVENTS = [name for name, fault in FAULTS.items() if fault.event]
BEFORE = [
    pytest.param(name, stream, id=f"{name}-{'streamed' if stream else 'whole'}")
    for name, fault in FAULTS.items()
    for stream in (False, True)
    if not fault.event and fault.address is None and fault.script(stream=stream) is not None
]


async def ask(door, *, stream, path="/v1/messages"):
    body = {**(MESSAGE if path == "/v1/messages" else ASKED), "stream": stream}
    async with Client(door.port) as client:
        return await client.ask(json.dumps(body).encode(), path=path)


@pytest.mark.parametrize("name", EVENTS)
async def test_messages_client_gets_its_own_error_event(upstream, name) -> None:
    """T57: with its event line, and no clean end after it."""
    first = await upstream()
    first.default = FAULTS[name].script(stream=True)
    async with listening(table({"a": first})) as door:
        got = await ask(door, stream=True)
        (row,) = await door.gateway.records()
    *_, last, end = got.body.split(b"\n\n")
    line, data = last.split(b"\n")
    error = json.loads(data.removeprefix(b"data: "))
    assert (got.status, got.complete, end, line) == (200, True, b"", b"event: error")
    assert (error["type"], set(error)) == ("error", {"type", "error", "request_id"})
    assert b"message_stop" not in got.body
    assert b'"text":"one "' in got.body.replace(b'": "', b'":"')
    assert (row.outcome, row.completion_tokens) == ("cut", 2 if name == "no end" else 1)


@pytest.mark.parametrize(("name", "stream"), BEFORE)
async def test_messages_client_is_served_by_the_second_or_told(upstream, name, stream) -> None:
    first, second = await upstream(), await upstream()
    first.default = FAULTS[name].script(stream=stream)
    async with listening(table({"a": first, "b": second})) as door:
        served = await ask(door, stream=stream)
    async with listening(table({"a": first})) as door:
        told = await ask(door, stream=stream)
    assert (served.status, served.complete, served.gateway["provider"]) == (200, True, "b")
    assert (b"message_stop" in served.body) == stream
    assert (told.status, told.json["type"]) in {(FAULTS[name].status, "error"), (529, "error")}
    assert told.json["error"]["message"]


@pytest.mark.parametrize("name", EVENTS)
async def test_responses_client_gets_its_own_error_events(upstream, name) -> None:
    """Numbered like all others, and no clean end after them."""
    first = await upstream()
    first.default = FAULTS[name].script(stream=True)
    async with listening(table({"a": first})) as door:
        got = await ask(door, stream=True, path="/v1/responses")
        (row,) = await door.gateway.records()
    *blocks, end = got.body.split(b"\n\n")
    names, data = zip(*(block.split(b"\ndata: ") for block in blocks), strict=True)
    events = [json.loads(one) for one in data]
    assert (got.status, got.complete, end) == (200, True, b"")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert names[-2:] == (b"event: error", b"event: response.failed")
    assert (
        events[-2]["error"]["message"] == events[-2]["message"] == events[-1]["response"]["error"]["message"]
    )
    assert (events[-2]["code"], events[-1]["response"]["status"]) == (FAULTS[name].code, "failed")
    assert "".join(event["delta"] for event in events if "delta" in event).startswith("one ")
    assert (row.outcome, row.completion_tokens) == ("cut", 2 if name == "no end" else 1)


@pytest.mark.parametrize(("name", "stream"), BEFORE)
async def test_responses_client_is_served_by_the_second_or_told(upstream, name, stream) -> None:
    first, second = await upstream(), await upstream()
    first.default = FAULTS[name].script(stream=stream)
    async with listening(table({"a": first, "b": second})) as door:
        served = await ask(door, stream=stream, path="/v1/responses")
    async with listening(table({"a": first})) as door:
        told = await ask(door, stream=stream, path="/v1/responses")
    assert (served.status, served.complete, served.gateway["provider"]) == (200, True, "b")
    assert (b"response.completed" in served.body) == stream
    assert (told.status, told.error["code"]) == (FAULTS[name].status, FAULTS[name].code)
    assert told.error["message"]
