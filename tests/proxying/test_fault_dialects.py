"""Faults of providers told in the client's own dialect."""

from __future__ import annotations

import json

import pytest

from tests.proxying import faults
from tests.proxying.gateway import table
from tests.proxying.sockets import Client, listening

pytestmark = pytest.mark.anyio

FAULTS = faults.make()
MESSAGE = {"model": "pool", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
EVENTS = [name for name, fault in FAULTS.items() if fault.event]
BEFORE = [
    pytest.param(name, stream, id=f"{name}-{'streamed' if stream else 'whole'}")
    for name, fault in FAULTS.items()
    for stream in (False, True)
    if not fault.event and fault.address is None and fault.script(stream=stream) is not None
]


async def ask(door, *, stream):
    async with Client(door.port) as client:
        return await client.ask(json.dumps({**MESSAGE, "stream": stream}).encode(), path="/v1/messages")


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
