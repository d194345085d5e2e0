"""The fast lane as an ASGI callable."""

import asyncio
import json

import pytest

from proxying.doors import django_view
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


async def test_django_view_takes_large_bodies(async_rf):
    """A body over DATA_UPLOAD_MAX_MEMORY_SIZE reaches the view."""

    async def size(request):
        return Answer(201, [(b"x-a", b"b")], b"%d" % len(await request.read_body(4_000_000)))

    request = async_rf.post("/v1/x", b"x" * 3_000_000, content_type="application/json")
    response = await django_view({"POST": size})(request)
    assert (response.status_code, response["x-a"], response.content) == (201, "b", b"3000000")
