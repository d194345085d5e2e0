from __future__ import annotations

import asyncio
import threading
import time

import pytest
from django.db import OperationalError, connections

from routing import models, snapshot
from routing.types import (
    DiscoveryState,
    FailoverPolicy,
    InventoryMode,
    PoolPolicy,
    RoutingTable,
    SkippedRow,
    Strategy,
    Switch,
    Timeouts,
    WhenAllBlocked,
)
from tests import factories


@pytest.fixture(autouse=True)
def forget_the_table():
    snapshot.reset()
    yield
    snapshot.reset()


@pytest.mark.django_db
def test_load_of_an_empty_database_is_an_empty_table():
    """T10: nothing configured is a table like any other."""
    assert snapshot.load() == RoutingTable()


@pytest.mark.django_db
def test_load_takes_a_provider_with_defaults_of_its_kind(settings):
    settings.GATEWAY_SECRET_ENVIRONMENT = {"OPENAI_API_KEY": "sk-1"}
    settings.GATEWAY_IDLE_TIMEOUT_S = 7.0
    factories.ProviderFactory(
        name="openai",
        kind="openai",
        base_url="",
        credential_ref="${OPENAI_API_KEY}",
        configured_models=["gpt-5"],
        connect_timeout_s=1.5,
        max_in_flight=9,
        options={"api_version": "2026-01"},
    )

    provider = snapshot.load().providers["openai"]

    assert provider.base_url == "https://api.openai.com/v1"
    assert provider.api_key == "sk-1"
    assert provider.credential_error == ""
    assert provider.configured_models == frozenset({"gpt-5"})
    assert provider.timeouts == Timeouts(connect_s=1.5, idle_s=7.0)
    assert provider.max_in_flight == 9
    assert dict(provider.options) == {"api_version": "2026-01"}
    assert "sk-1" not in repr(provider)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "ref", "problem"),
    [
        ("openai", "${OPENAI_API_KEY}", "OPENAI_API_KEY is not set, and there is no OPENAI_API_KEY_FILE."),
        ("openai", "", "No API key is set."),
        ("openai_compatible", "", ""),
    ],
)
def test_load_flags_a_provider_whose_credential_is_missing(settings, kind, ref, problem):
    """T21: the provider stays, so that it is shown with its problem."""
    settings.GATEWAY_SECRET_ENVIRONMENT = {}
    factories.ProviderFactory(name="p", kind=kind, credential_ref=ref)

    table = snapshot.load()

    assert table.providers["p"].api_key is None
    assert table.providers["p"].credential_error == problem
    assert table.skipped == ()


@pytest.mark.django_db
def test_load_takes_discovery_from_listed_models_only():
    provider = factories.ProviderFactory(
        name="p", probe_state="ok", probed_at=factories.NOW, probe_failures=2, probe_error="late"
    )
    factories.ProviderModelFactory(provider=provider, model="new", owned_by="acme", upstream_created=17)
    factories.ProviderModelFactory(provider=provider, model="gone", listed=False)

    loaded = snapshot.load().providers["p"]

    assert loaded.discovery.state is DiscoveryState.OK
    assert loaded.discovery.models == frozenset({"new"})
    assert loaded.discovery.checked_at == factories.NOW.timestamp()
    assert (loaded.discovery.failures, loaded.discovery.error) == (2, "late")
    assert loaded.model_info["new"].owned_by == "acme"
    assert loaded.model_info["new"].created == 17


@pytest.mark.django_db
def test_load_orders_candidates_and_names():
    """T14: names and candidates stand in a fixed order."""
    pool = factories.ModelPoolFactory(canonical_model="zebra")
    factories.ModelPoolFactory(canonical_model="ant")
    for name, priority in (("c", 1), ("b", 2), ("a", 2)):
        factories.PoolCandidateFactory(
            pool=pool, provider=factories.ProviderFactory(name=name), model="m", priority=priority
        )

    table = snapshot.load()

    assert list(table.pools) == ["ant", "zebra"]
    assert [candidate.selector for candidate in table.pools["zebra"].candidates] == ["c/m", "a/m", "b/m"]


@pytest.mark.django_db
def test_load_lays_a_pools_values_over_the_defaults():
    """T40, T42: what a pool does not set comes from the defaults, and those from the built-in ones."""
    factories.RoutingDefaultsFactory(
        strategy="weighted_round_robin", failover_enabled=False, configured_provider_models_mode="allowlist"
    )
    factories.ModelPoolFactory(
        canonical_model="m",
        session_affinity=False,
        failover_max_attempts=1,
        failover_on_statuses=[500],
        when_all_blocked="fail",
    )

    table = snapshot.load()

    assert table.inventory_mode is InventoryMode.ALLOWLIST
    assert table.defaults == PoolPolicy(
        strategy=Strategy.WEIGHTED_ROUND_ROBIN, failover=FailoverPolicy(enabled=False)
    )
    assert table.pools["m"].policy == PoolPolicy(
        strategy=Strategy.WEIGHTED_ROUND_ROBIN,
        session_affinity=False,
        failover=FailoverPolicy(enabled=False, max_attempts=1, retry_on_statuses=frozenset({500})),
        when_all_blocked=WhenAllBlocked.FAIL,
    )
    assert table.pools["m"].overrides == frozenset(
        {"session_affinity", "failover.max_attempts", "failover.retry_on_statuses", "when_all_blocked"}
    )


@pytest.mark.django_db
def test_load_keeps_switches_apart_per_pool():
    """T16: the same pair in two pools has two switches."""
    provider = factories.ProviderFactory(name="p")
    one = factories.ModelPoolFactory(canonical_model="one")
    two = factories.ModelPoolFactory(canonical_model="two")
    factories.PoolCandidateFactory(
        pool=one,
        provider=provider,
        model="m",
        enabled=False,
        switch_reason="why",
        switch_updated_by="ada",
        switch_updated_at=factories.NOW,
        switch_expires_at=factories.NOW,
    )
    factories.PoolCandidateFactory(pool=two, provider=provider, model="m")

    table = snapshot.load()

    at = factories.NOW.timestamp()
    assert table.pools["one"].candidates[0].switch == Switch(False, "why", at, True, "ada", at)
    assert table.pools["two"].candidates[0].switch == Switch()


@pytest.mark.django_db
def test_load_knows_which_providers_show_a_bare_model():
    for name in ("b", "a"):
        factories.ProviderModelFactory(
            provider=factories.ProviderFactory(name=name, probe_state="ok"), model="shared"
        )
    factories.ProviderFactory(name="c", configured_models=["own"])

    assert dict(snapshot.load().bare_models) == {"own": ("c",), "shared": ("a", "b")}


@pytest.mark.django_db
def test_load_finds_callers_by_digest():
    row = factories.ClientKeyFactory(secret="sk-sluice-x", user_path="/team", models=["a*"])

    caller = snapshot.load().callers[bytes.fromhex(row.digest)]

    assert (caller.id, caller.name, caller.user_path, caller.models) == (
        str(row.pk),
        row.name,
        "/team",
        ("a*",),
    )
    assert row.prefix == "sk-sluice-x"


@pytest.mark.django_db
def test_bad_rows_are_left_out_and_reported(caplog):
    """T21: one bad row does not stop the load: it is skipped, logged and shown."""
    good = factories.ProviderFactory(name="good")
    bad = factories.ProviderFactory(name="bad", kind="gone")
    factories.ProviderFactory(name="nowhere", kind="azure_openai", base_url="")
    factories.ProviderFactory(name="odd", configured_models="x")
    pool = factories.ModelPoolFactory(canonical_model="m")
    factories.PoolCandidateFactory(pool=pool, provider=good, model="x")
    factories.PoolCandidateFactory(pool=pool, provider=bad, model="x")
    factories.ModelPoolFactory(canonical_model="n", failover_on_statuses=[9])
    factories.AliasFactory(name="m", target="m")
    key = factories.ClientKeyFactory()
    models.ClientKey.objects.filter(pk=key.pk).update(digest="zz")

    snapshot.refresh()
    table = snapshot.current()

    assert list(table.providers) == ["good"]
    assert [candidate.selector for candidate in table.pools["m"].candidates] == ["good/x"]
    assert list(table.pools) == ["m"]
    assert table.skipped == (
        SkippedRow("provider/bad", "Unknown kind 'gone'."),
        SkippedRow("provider/nowhere", "Its base URL is required for the type azure_openai."),
        SkippedRow("provider/odd", "configured_models is not a list of names."),
        SkippedRow("candidate/m/bad/x", "Its provider cannot be used."),
        SkippedRow(
            "pool/n",
            "Its policy cannot be used: "
            "failover.retry_on_statuses must be an HTTP status between 100 and 599.",
        ),
        SkippedRow("alias/m", "A pool has this name; an alias and a pool cannot share one."),
        SkippedRow(f"client_key/{key.pk}", "The digest is not hexadecimal."),
    )
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"Routing table: {row.object} is left out: {row.problem}" for row in table.skipped]

    caplog.clear()
    snapshot.refresh()
    assert caplog.records == []


@pytest.mark.django_db
def test_bad_defaults_fall_back_to_the_built_in_ones():
    """T21: a bad row of defaults does not stop the load either."""
    factories.RoutingDefaultsFactory(failover_on_statuses="all")

    table = snapshot.load()

    assert table.defaults == PoolPolicy()
    assert [row.object for row in table.skipped] == ["defaults"]


@pytest.mark.django_db
def test_load_takes_few_queries(django_assert_num_queries):
    for _ in range(3):
        factories.PoolCandidateFactory()

    with django_assert_num_queries(8):
        snapshot.load()


@pytest.mark.django_db
def test_refresh_if_changed_looks_at_revision_and_health_version(django_assert_num_queries):
    head = factories.RoutingHeadFactory(revision=4)
    assert snapshot.refresh_if_changed() is True
    table = snapshot.current()

    with django_assert_num_queries(1):
        assert snapshot.refresh_if_changed() is False
    assert snapshot.current() is table

    models.RoutingHead.objects.filter(pk=head.pk).update(health_version=1)
    assert snapshot.refresh_if_changed() is True
    assert snapshot.current().revision == 4


@pytest.mark.django_db
def test_failed_refresh_keeps_the_last_good_table(monkeypatch):
    factories.RoutingHeadFactory(revision=4)
    snapshot.refresh()
    table = snapshot.current()
    loaded_at = snapshot.status().loaded_at

    def fail():
        raise OperationalError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(snapshot, "_read_head", fail)
        before = time.time()
        assert snapshot.refresh() is False
        first = snapshot.status()
        assert snapshot.refresh_if_changed() is False
        assert snapshot.status() == first

    assert snapshot.current() is table
    assert (first.revision, first.loaded_at, first.error) == (4, loaded_at, "OperationalError: gone")
    assert first.stale_since >= before

    snapshot.refresh_if_changed()
    assert snapshot.status() == snapshot.SnapshotStatus(4, loaded_at, None, "")


def test_current_needs_no_database():
    assert snapshot.current() == RoutingTable()
    assert snapshot.status() == snapshot.SnapshotStatus(0, None, None, "")
    assert snapshot.is_loaded() is False


async def _until(condition, timeout_s=5.0):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread
            await asyncio.sleep(0.005)


def _watcher_threads():
    """The threads that are still at work; one that has said that it ended may need a moment to be gone."""
    found = [thread for thread in threading.enumerate() if thread.name == "routing-watcher"]
    for thread in found:
        thread.join(0.1)
    return [thread for thread in found if thread.is_alive()]


@pytest.mark.anyio
async def test_watcher_reloads_after_a_change(monkeypatch):
    heads = [(1, 0)]
    monkeypatch.setattr(snapshot, "_read_head", lambda: heads[-1])
    monkeypatch.setattr(snapshot, "_load", lambda: (RoutingTable(revision=heads[-1][0]), heads[-1]))
    watcher = snapshot.Watcher(interval_s=0.005)

    await watcher.start()
    await _until(lambda: snapshot.current().revision == 1)
    heads.append((2, 0))
    await _until(lambda: snapshot.current().revision == 2)
    await watcher.stop()

    assert _watcher_threads() == []


@pytest.mark.anyio
async def test_watcher_survives_whatever_a_poll_raises(monkeypatch):
    """T21: a refresh that fails is reported and tried again."""
    faults = [ValueError("odd")]

    def read():
        if faults:
            raise faults.pop()
        return (3, 0)

    monkeypatch.setattr(snapshot, "_read_head", read)
    monkeypatch.setattr(snapshot, "_load", lambda: (RoutingTable(revision=3), (3, 0)))
    watcher = snapshot.Watcher(interval_s=0.005)

    await watcher.start()
    await _until(lambda: snapshot.current().revision == 3)
    await watcher.stop()

    assert snapshot.status().error == ""


@pytest.mark.anyio
async def test_watcher_reports_a_poll_that_hangs_and_can_be_stopped(monkeypatch):
    """T22: a refresh times out and can be cancelled; the loop is never blocked."""
    release = threading.Event()
    monkeypatch.setattr(snapshot, "_read_head", lambda: release.wait(10) and (1, 0))
    watcher = snapshot.Watcher(interval_s=0.005, timeout_s=0.05)

    await watcher.start()
    await _until(lambda: snapshot.status().stale_since is not None)
    assert snapshot.status().error == "TimeoutError: The database did not answer within 0.05 s."
    assert len(_watcher_threads()) == 1
    started = time.perf_counter()
    await watcher.stop()

    assert time.perf_counter() - started < 1
    release.set()
    await _until(lambda: _watcher_threads() == [])


@pytest.mark.anyio
async def test_watcher_stop_is_harmless_when_never_started():
    await snapshot.Watcher(interval_s=1).stop()


@pytest.mark.django_db(transaction=True)
def test_watcher_reads_through_a_connection_of_its_own():
    factories.RoutingHeadFactory(revision=6)

    async def watch():
        watcher = snapshot.Watcher(interval_s=0.01)
        await watcher.start()
        await _until(lambda: snapshot.current().revision == 6)
        await watcher.stop()

    asyncio.run(watch())

    assert snapshot.status().error == ""
    assert _watcher_threads() == []


@pytest.mark.django_db(transaction=True)
def test_load_sees_one_state_of_the_database(monkeypatch):
    """T9: a change that is committed in the middle of a load is not half seen."""
    factories.RoutingHeadFactory(revision=1)
    factories.ProviderFactory(name="early")
    plain = snapshot._read_head

    def write():
        factories.ProviderFactory(name="late")
        models.RoutingHead.objects.update(revision=2)
        connections.close_all()

    def read_then_let_another_write():
        head = plain()
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        return head

    monkeypatch.setattr(snapshot, "_read_head", read_then_let_another_write)
    first = snapshot.load()
    monkeypatch.undo()

    assert (first.revision, list(first.providers)) == (1, ["early"])
    assert list(snapshot.load().providers) == ["early", "late"]
