"""Both doors: the same views, the same answers."""

import asyncio
import json

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.urls import path as url

from proxying.doors import django_view
from proxying.errors import ProviderBusyError
from proxying.fastlane import FastLane
from proxying.http import Answer

pytestmark = [pytest.mark.anyio, pytest.mark.urls(__name__)]


NAMED = {"x-user-path", "x-session-id", "traceparent"}


async def echo(request, **arguments):
    body = await request.read_body(2_600_000)
    return Answer(
        201, [(b"x-a", b"b")], b"%d %s" % (len(body), repr((request.query_string, arguments)).encode())
    )


async def named(request):
    return Answer(
        200, [], repr(sorted(item for item in request.headers.items() if item[0] in NAMED)).encode()
    )


async def pieces(request):
    async def stream():
        yield b"one "
        yield b"two"

    read = [len(piece) async for piece in request.chunks()]
    return Answer(200, [(b"x-read", b"%d" % sum(read))], stream=stream())


async def refuse(request):
    problem = ProviderBusyError("Nobody is free.")
    problem.retry_after_s = 3
    raise problem


async def broken(request):
    raise RuntimeError("secret")


ROUTES = {
    "/v1/echo/{name}": {"POST": echo, "GET": echo},
    "/v1/named": {"GET": named},
    "/v1/pieces": {"POST": pieces},
    "/v1/refuse": {"POST": refuse},
    "/v1/messages": {"POST": refuse},
    "/v1/broken": {"GET": broken},
}
urlpatterns = [
    url(path.removeprefix("/").replace("{", "<path:").replace("}", ">"), django_view(methods))
    for path, methods in ROUTES.items()
]


async def ask(app, method, path, body=b"", headers=()):
    """Status, headers and body that a server would send."""
    events = [{"type": "http.request", "body": body}]
    sent = []

    async def receive():
        if not events:
            await asyncio.Event().wait()
        return events.pop(0)

    async def send(event):
        sent.append(event)

    path, _, query = path.partition("?")
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode()}
    scope |= {"headers": [(b"x-request-id", b"r1"), (b"host", b"localhost"), *headers]}
    await asyncio.wait_for(app(scope, receive, send), 5)
    names = {"x-a", "x-read", "x-request-id", "allow", "retry-after", "x-should-retry", "content-length"}
    kept = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    whole = b"".join(event.get("body", b"") for event in sent[1:])
    return sent[0]["status"], {name: kept[name] for name in sorted(names & kept.keys())}, whole


@pytest.fixture(params=["fast", "slow"])
def door(request, settings):
    settings.MIDDLEWARE = []
    return FastLane(ROUTES, ASGIHandler()) if request.param == "fast" else ASGIHandler()


async def test_door_hands_over_body_query_and_arguments(door):
    """A body over DATA_UPLOAD_MAX_MEMORY_SIZE reaches the view."""
    body = b"2600000 ('a=%20b', {'name': 'x/y'})"
    assert await ask(door, "POST", "/v1/echo/x/y?a=%20b", b"z" * 2_600_000) == (
        201,
        {"content-length": "35", "x-a": "b"} if isinstance(door, FastLane) else {"x-a": "b"},
        body,
    )


async def test_door_takes_headers_with_control_characters_for_absent(door):
    """A provider could not be sent them, which would look like the provider's failure."""
    given = [(b"x-user-path", b"/a\x01b"), (b"x-session-id", b"one\ttwo"), (b"traceparent", b"\x7f")]

    _, _, body = await ask(door, "GET", "/v1/named", headers=given)

    assert body == b"[('x-session-id', 'one\\ttwo')]"


async def test_door_streams_both_ways(door):
    status, headers, body = await ask(door, "POST", "/v1/pieces", b"x" * 100_000)
    assert (status, headers, body) == (200, {"x-read": "100000"}, b"one two")


@pytest.mark.parametrize(
    ("method", "path", "size", "status", "headers", "code"),
    [
        ("POST", "/v1/echo/x", 2_600_001, 413, {"x-should-retry": "false"}, "request_too_large"),
        (
            "PUT",
            "/v1/echo/x",
            0,
            405,
            {"allow": "GET, HEAD, POST", "x-should-retry": "false"},
            "method_not_allowed",
        ),
        ("GET", "/v1/refuse", 0, 405, {"allow": "POST", "x-should-retry": "false"}, "method_not_allowed"),
        ("POST", "/v1/refuse", 0, 429, {"retry-after": "3"}, "provider_busy"),
        ("GET", "/v1/broken", 0, 500, {"x-should-retry": "false"}, "internal_error"),
    ],
)
async def test_door_answers_errors_with_the_request_id(door, method, path, size, status, headers, code):
    got_status, got, body = await ask(door, method, path, b"z" * size)
    got.pop("content-length", None)
    assert (got_status, got) == (status, headers | {"x-request-id": "r1"})
    error = json.loads(body)["error"]
    assert (error["code"], "secret" in error["message"]) == (code, False)


async def test_door_writes_errors_in_the_dialect_of_the_path(door):
    _, _, body = await ask(door, "POST", "/v1/messages")
    assert (json.loads(body)["type"], json.loads(body)["request_id"]) == ("error", "r1")


async def test_door_answers_head_without_a_body(door):
    assert await ask(door, "HEAD", "/v1/echo/x") == (201, {"content-length": "21", "x-a": "b"}, b"")
    status, headers, body = await ask(door, "HEAD", "/v1/refuse")
    assert (status, headers["allow"], body) == (405, "POST", b"")
