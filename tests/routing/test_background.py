from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError

from routing import background, leases, probes, services, snapshot
from routing.background import LEASE, Background, Chore
from routing.health_exchange import HealthExchange
from routing.job_thread import JobThread
from routing.live_health import LiveHealth
from routing.models import Lease, Provider, ProviderModel, RoutingRevision
from routing.store_guard import StoreGuard
from tests.factories import ProviderFactory
from tests.routing.model_lists import model_lists
from tests.routing.stores import memory

pytestmark = pytest.mark.django_db(transaction=True)
QUICK = {"tick_s": 0.02, "lease_s": 0.6}


@pytest.fixture
def lists():
    with model_lists() as started:
        yield started


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    yield
    left = [thread for thread in threading.enumerate() if thread.name.startswith("background")]
    for thread in left:
        thread.join(1)  # a thread that is stopped may need a moment to end
    assert [thread.name for thread in left if thread.is_alive()] == []


def live_health(table):
    return LiveHealth(lambda: table, HealthExchange(memory(), StoreGuard()))


def worker(table=None, **options):
    table = table or snapshot.load()
    return Background(live_health(table), table=lambda: table, **{**QUICK, **options})


async def until(condition, timeout_s=5.0):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


def provider(name, upstream, **values):
    return ProviderFactory(name=name, base_url=upstream.base_url, **values)


def test_one_of_two_workers_asks_and_the_other_follows_when_it_stops(lists):
    up = lists.start("a")
    provider("p", up)
    one, other = worker(interval_s=0.2, lease_s=6), worker(interval_s=0.2, lease_s=6)

    async def scenario():
        await one.start()
        await until(lambda: one.is_leader and len(up.requests) == 1)
        await other.start()
        await asyncio.sleep(0.1)
        before = (one.is_leader, other.is_leader)
        await one.stop()
        await until(lambda: other.is_leader, timeout_s=2)  # given back: nobody waits for the lease's end
        asked = len(up.requests)
        await until(lambda: len(up.requests) > asked)
        await other.stop()
        return before

    assert asyncio.run(scenario()) == (True, False)
    assert list(ProviderModel.objects.values_list("model", flat=True)) == ["a"]
    assert Lease.objects.count() == 0


def test_chores_are_done_by_the_leader_alone_in_their_rhythm_and_survive_a_fault(caplog):
    done = []

    def often():
        done.append("often")
        raise OperationalError("away")

    chores = [Chore("often", 0.05, often), Chore("once", 600, lambda: done.append("once"))]
    one, other = worker(chores=chores), worker(chores=[Chore("never", 0, lambda: done.append("never"))])

    async def scenario():
        await one.start()
        await until(lambda: one.is_leader)
        await other.start()
        await until(lambda: done.count("often") == 3)
        await other.stop()
        await one.stop()

    asyncio.run(scenario())
    assert (done.count("once"), done.count("never")) == (1, 0)
    assert caplog.text.count("Background work failed.") == done.count("often")


def test_a_dead_worker_loses_its_lease_at_its_end():
    """Nothing is given back by a process that was killed."""
    leases.take(LEASE, "killed", 1.0)
    next_one = worker()

    async def scenario():
        await next_one.start()
        await asyncio.sleep(0.1)
        early = next_one.is_leader
        await until(lambda: next_one.is_leader)
        await next_one.stop()
        return early

    assert asyncio.run(scenario()) is False


def test_a_worker_whose_database_fails_stops_leading_and_goes_on_later(monkeypatch, caplog):
    one, take, broken = worker(), leases.take, threading.Event()

    def flaky(*args, **kwargs):
        if broken.is_set():
            raise OperationalError("gone")
        return take(*args, **kwargs)

    monkeypatch.setattr(leases, "take", flaky)

    async def scenario():
        await one.start()
        await until(lambda: one.is_leader)
        broken.set()
        await until(lambda: not one.is_leader)
        broken.clear()
        await until(lambda: one.is_leader)
        await one.stop()

    asyncio.run(scenario())
    failed = [record for record in caplog.records if record.name == "sluice.background"]
    assert {record.message for record in failed if record.levelno == logging.ERROR} == {
        "Background work failed."
    }


def test_a_worker_whose_database_hangs_no_longer_believes_that_it_leads(monkeypatch):
    """Its lease has ended for the others, whether it could ask or not."""
    one, take, hang = worker(), leases.take, threading.Event()
    release = threading.Event()

    def slow(*args, **kwargs):
        if hang.is_set():
            release.wait(5)
        return take(*args, **kwargs)

    monkeypatch.setattr(leases, "take", slow)

    async def scenario():
        await one.start()
        await until(lambda: one.is_leader)
        hang.set()
        await until(lambda: not one.is_leader)
        release.set()
        await one.stop()

    asyncio.run(scenario())


def test_switches_that_are_over_are_written_back_by_the_leader():
    row = ProviderFactory(name="p")
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    services.set_switch(
        target=services.SwitchTarget("provider", provider_name="p"),
        enabled=False,
        expires_at=soon,
        actor=services.Actor("ada"),
        source="api",
    )
    one = worker()
    reader = JobThread("reader")

    async def scenario():
        await one.start()
        async with asyncio.timeout(5):
            while not await reader.run(lambda: Provider.objects.get(pk=row.pk).enabled):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await one.stop()
        await reader.stop(2)

    asyncio.run(scenario())
    row.refresh_from_db()
    assert (row.enabled, row.switch_expires_at) == (True, None)
    assert RoutingRevision.objects.order_by("-number").values_list("source", "actor").first() == (
        "system",
        "system",
    )
    assert datetime.now(UTC) - soon < timedelta(seconds=5)


def test_switches_are_looked_after_within_five_seconds():
    """The promise of the documentation: a lease is renewed, and switches expire, in every tick."""
    assert min(5.0, background.LEASE_S / 2) > background.TICK_S


def test_the_command_writes_back_what_is_over():
    past = datetime.now(UTC) - timedelta(seconds=1)
    ProviderFactory(name="p", enabled=False, switch_base=True, switch_expires_at=past, switch_created_at=past)
    first, second = StringIO(), StringIO()

    call_command("expire_switches", stdout=first)
    call_command("expire_switches", stdout=second)

    assert (first.getvalue(), second.getvalue()) == ("1 switch written back.\n", "0 switches written back.\n")
    assert Provider.objects.get().enabled is True


def test_only_who_is_due_and_may_be_called_is_asked(lists):
    """T23, T28."""
    fresh, stale, never, off = (lists.start() for _ in range(4))
    now = datetime.now(UTC)
    provider("fresh", fresh, probed_at=now)
    provider("stale", stale, probed_at=now - timedelta(seconds=90))
    provider("never", never)
    provider("off", off, enabled=False)
    one = worker(interval_s=60)

    async def scenario():
        await one.start()
        await until(lambda: stale.requests and never.requests)
        await asyncio.sleep(0.1)
        await one.stop()

    asyncio.run(scenario())
    assert [len(up.requests) for up in (fresh, stale, never, off)] == [0, 1, 1, 0]


def test_a_provider_is_not_asked_in_every_tick_when_nothing_can_be_written(lists, monkeypatch):
    up = lists.start()
    provider("p", up)
    one = worker(interval_s=60)

    def refuse(**kwargs):
        raise OperationalError("the disk is full")

    monkeypatch.setattr(services, "record_probe", refuse)

    async def scenario():
        await one.start()
        await until(lambda: up.requests)
        await asyncio.sleep(0.2)
        await one.stop()

    asyncio.run(scenario())
    assert len(up.requests) == 1


def test_a_probe_tells_this_worker_of_the_credential(lists, settings):
    settings.GATEWAY_SECRET_ENVIRONMENT = {"TEST_API_KEY": "k-123456"}
    provider("p", lists.start(), kind="openai", credential_ref="${TEST_API_KEY}")
    table = snapshot.load()
    health = live_health(table)
    health.credential_refused("p", "HTTP 401")
    one = Background(health, table=lambda: table, **QUICK)

    async def scenario():
        await one.start()
        await until(lambda: not health.view().credentials)
        await one.stop()

    asyncio.run(scenario())
    assert [one.what for one in health.transitions] == ["credential_refused", "credential_accepted"]


def test_stopping_cancels_a_probe_under_way(lists):
    """T22."""
    up = lists.start(hang=True)
    provider("p", up)
    one = worker()

    async def scenario():
        await one.start()
        await until(lambda: up.requests)
        started = time.monotonic()
        await one.stop()
        await one.stop()
        return time.monotonic() - started

    assert asyncio.run(scenario()) < 1.0
    assert Provider.objects.get().probe_state == "unprobed"


def test_a_fault_in_a_round_does_not_end_discovery(lists, monkeypatch, caplog):
    up = lists.start("a")
    provider("p", up)
    one, ask_all, faults = worker(interval_s=0.1), probes.ask_all, [ValueError("bug")]

    async def faulty(*args):
        if faults:
            raise faults.pop()
        return await ask_all(*args)

    monkeypatch.setattr(probes, "ask_all", faulty)

    async def scenario():
        await one.start()
        await until(lambda: up.requests)
        await one.stop()

    asyncio.run(scenario())
    assert "Model discovery failed." in [record.message for record in caplog.records]
