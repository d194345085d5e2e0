"""The fast lane as an ASGI callable."""

import asyncio
import json

import pytest

from proxying.fastlane import FastLane
from proxying.http import Answer

pytestmark = pytest.mark.anyio


async def echo(request, **arguments):
    return Answer(200, [], await request.read_body(5) + repr(arguments).encode())


async def broken(request):
    raise RuntimeError("secret")


async def run(routes, path, method="POST", body=b"", leave=None):
    events = [{"type": "http.request", "body": body}]
    sent = []

    async def receive():
        if events:
            return events.pop(0)
        await (leave or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(event):
        sent.append(event)

    lane = FastLane(routes, None)
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    await lane(scope, receive, send)
    assert lane.in_flight == 0
    return sent


async def test_lane_answers_whole_with_arguments():
    sent = await run({"/v1/models/{id}": {"POST": echo}}, "/v1/models/a/b", body=b"hey")
    assert sent[0]["headers"] == [(b"content-length", b"16")]
    assert sent[1]["body"] == b"hey{'id': 'a/b'}"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/none", b"", 404, "unknown_url"),
        ("/v1/get", b"", 405, "method_not_allowed"),
        ("/v1/echo", b"123456", 413, "request_too_large"),
        ("/v1/broken", b"", 500, "internal_error"),
    ],
)
async def test_lane_errors_are_envelopes(path, body, status, code):
    routes = {"/v1/get": {"GET": echo}, "/v1/echo": {"POST": echo}, "/v1/broken": {"POST": broken}}
    sent = await run(routes, path, body=body)
    error = json.loads(sent[1]["body"])["error"]
    assert (sent[0]["status"], error["code"], "secret" in error["message"]) == (status, code, False)


@pytest.mark.parametrize("streamed", [False, True])
async def test_client_that_leaves_cancels_the_view(streamed):
    """T33: whole answers too."""
    leave, closed = asyncio.Event(), asyncio.Event()

    async def hang():
        try:
            leave.set()
            yield b"first"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def view(request):
        await request.read_body(10)
        if streamed:
            return Answer(stream=hang())
        async for _ in hang():
            pass
        return Answer()

    sent = await asyncio.wait_for(run({"/v1/x": {"POST": view}}, "/v1/x", leave=leave), 1)
    assert len(sent) == (2 if streamed else 0)
    await asyncio.wait_for(closed.wait(), 1)


async def test_client_that_leaves_cancels_a_view_without_a_body():
    """T33: a GET too, whose view reads nothing."""
    leave, cancelled = asyncio.Event(), asyncio.Event()

    async def view(request):
        leave.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    assert await asyncio.wait_for(run({"/v1/x": {"GET": view}}, "/v1/x", "GET", leave=leave), 1) == []
    assert cancelled.is_set()


async def test_client_that_leaves_an_unread_body_ends_the_stream():
    leave, closed = asyncio.Event(), asyncio.Event()

    async def pieces():
        try:
            leave.set()
            yield b"first"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def view(request):
        return Answer(stream=pieces())

    sent = await asyncio.wait_for(run({"/v1/x": {"POST": view}}, "/v1/x", body=b"unread", leave=leave), 1)
    assert [event.get("body") for event in sent] == [None, b"first"]
    assert closed.is_set()


async def test_server_that_cancels_is_not_mistaken_for_the_client():
    async def view(request):
        await asyncio.Event().wait()

    task = asyncio.create_task(run({"/v1/x": {"GET": view}}, "/v1/x", "GET"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_lane_hands_other_paths_on_and_answers_head_without_a_body():
    async def rest(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    sent = []

    async def send(event):
        sent.append(event)

    for method in ("GET", "HEAD"):
        scope = {"type": "http", "method": method, "path": "/", "headers": [], "query_string": b""}
        await FastLane({}, rest)(scope, None, send)
    assert [event.get("body") for event in sent] == [None, b"page", None, b""]


async def refuse_the_first_piece(request):
    async for _ in request.chunks():
        break
    return Answer(400, body=b"no")


@pytest.mark.parametrize(("pieces", "waits"), [(1, False), (3, True)])
async def test_lane_waits_for_a_client_that_is_still_sending(pieces, waits):
    """And for no other: its answer has its last event at once."""
    events = [
        {"type": "http.request", "body": b"x", "more_body": number < pieces - 1} for number in range(pieces)
    ]
    sent = []

    async def receive():
        if not events:
            await asyncio.Event().wait()
        return events.pop(0)

    async def send(event):
        sent.append((event.get("body"), event.get("more_body", False), len(events)))

    lane = FastLane({"/v1/x": {"POST": refuse_the_first_piece}}, None)
    scope = {"type": "http", "method": "POST", "path": "/v1/x", "query_string": b"", "headers": []}
    await asyncio.wait_for(lane(scope, receive, send), 1)
    last = [(b"no", True, 2), (b"", False, 0)] if waits else [(b"no", False, 0)]
    assert sent[1:] == last


async def test_refusals_have_the_id_by_the_name_that_the_dialect_reads():
    for path, names in (("/v1/messages", {b"x-request-id", b"request-id"}), ("/v1/get", {b"x-request-id"})):
        sent = await run({path: {"GET": echo}}, path)
        ids = [value for name, value in sent[0]["headers"] if name in {b"x-request-id", b"request-id"}]
        assert ({name for name, _ in sent[0]["headers"]} & names, len(ids)) == (names, len(names))
