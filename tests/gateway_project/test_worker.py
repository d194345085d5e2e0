"""Who serves a connection, and what the worker is told of it."""

from __future__ import annotations

import asyncio
import ctypes
from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from gateway_project import worker
from gateway_project.worker import Connection, connection_of
from proxying.fastlane import FastLane
from proxying.lane_connection import LaneConnection
from tests.proxying.sockets import Worker

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        ({}, True),
        ({"accesslog": "-"}, False),
        ({"certfile": "a.pem", "keyfile": "a.pem"}, False),
        ({"proxy_protocol": "v1"}, False),
        ({"protocol": "uwsgi"}, False),
    ],
)
def test_lane_serves_plain_connections_that_nobody_logs(settings: dict[str, str], plain: bool) -> None:
    config = Config()
    for name, value in settings.items():
        config.set(name, value)
    assert worker._speaks_plainly(config) is plain


async def test_connection_is_the_lanes_where_there_is_one() -> None:
    made = Worker(asyncio.get_running_loop(), FastLane({}, None))
    assert isinstance(connection_of(made), LaneConnection)
    made.lane = None
    assert isinstance(connection_of(made), Connection)


async def test_last_request_of_a_worker_ends_its_connection_and_the_worker() -> None:
    made = Worker(asyncio.get_running_loop(), FastLane({}, None))
    made.max_requests = 2
    assert made.keeps_connections
    made.served()
    assert (made.keeps_connections, made.alive) == (False, True)
    made.served()
    assert (made.nr, made.alive) == (2, False)


async def test_worker_that_drains_or_keeps_none_ends_connections() -> None:
    made = Worker(asyncio.get_running_loop(), FastLane({}, None))
    made.is_draining = True
    assert not made.keeps_connections
    made.is_draining, made.keepalive_s = False, 0.0
    assert not made.keeps_connections


@pytest.mark.parametrize("library", [SimpleNamespace(malloc_trim=lambda pad: pad), SimpleNamespace()])
def test_memory_is_returned_where_the_library_can(monkeypatch, library: SimpleNamespace) -> None:
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: asked.append(name) or library)
    worker._return_memory()
    assert asked == [None]
