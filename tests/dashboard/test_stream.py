"""The event stream: ticks that say when to read a page again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.test import AsyncClient

from dashboard.views import stream
from routing.types import HealthView, RoutingTable


def worker(revision=3, health=7):
    state = {"table": RoutingTable(revision=revision), "health": HealthView(version=health)}
    found = SimpleNamespace(
        draining=False, table=lambda: state["table"], health=SimpleNamespace(view=lambda: state["health"])
    )
    return found, state


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(stream, "TICK_S", 0.01)
    monkeypatch.setattr(stream, "GRAIN_S", 1e12)


@pytest.mark.anyio
async def test_a_tick_tells_another_version_when_configuration_or_health_changed():
    found, state = worker()
    events = stream.ticks(found)
    assert await anext(events) == b"retry: 2000\n\n"
    assert await anext(events) == b"event: tick\ndata: 3.7.0\n\n"
    assert await anext(events) == b"event: tick\ndata: 3.7.0\n\n"
    state["health"] = HealthView(version=8)
    assert await anext(events) == b"event: tick\ndata: 3.8.0\n\n"
    state["table"] = RoutingTable(revision=4)
    assert await anext(events) == b"event: tick\ndata: 4.8.0\n\n"
    await events.aclose()


@pytest.mark.anyio
async def test_a_stream_ends_when_the_worker_drains():
    found, _ = worker()
    events = stream.ticks(found)
    await anext(events)
    await anext(events)
    found.draining = True
    with pytest.raises(StopAsyncIteration):
        await anext(events)


@pytest.mark.anyio
async def test_a_stream_ends_by_itself_so_that_the_account_is_looked_at_again(monkeypatch):
    monkeypatch.setattr(stream, "LONGEST_S", 0.03)
    found, _ = worker()
    assert 2 <= len([event async for event in stream.ticks(found)]) <= 6


@pytest.mark.django_db
def test_the_stream_is_for_those_who_may_look(people, gateway):
    """Without an open data plane, those who may look are told so."""
    statuses = {name: client.get("/dashboard/stream/").status_code for name, client in people.items()}
    assert statuses == {"ada": 503, "ben": 503, "mallory": 403, "stranger": 403}


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_a_stranger_opens_no_stream(monkeypatch):
    monkeypatch.setattr(stream.runtime, "current", lambda: worker()[0])
    assert (await AsyncClient().get("/dashboard/stream/")).status_code == 403
