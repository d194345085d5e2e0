from __future__ import annotations

import json
import logging
import socket
import time
from dataclasses import replace
from io import StringIO

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command

from routing import discovery, live, probes, services, snapshot
from routing.discovery import ProbeResult
from routing.health_exchange import HealthExchange
from routing.live_health import LiveHealth
from routing.models import Provider, ProviderModel, RoutingHead, RoutingRevision
from routing.probes import Probe, UnknownProviderError
from routing.provider_status import providers_status
from routing.resolver import Resolver
from routing.store_guard import StoreGuard
from routing.types import DiscoveryState, InventoryMode, ModelInfo
from tests.factories import (
    NOW,
    ModelPoolFactory,
    PoolCandidateFactory,
    ProviderFactory,
    RoutingDefaultsFactory,
)
from tests.routing.model_lists import model_lists
from tests.routing.one_pool import Clock, table
from tests.routing.stores import memory
from tests.upstream import Script

pytestmark = pytest.mark.django_db


@pytest.fixture
def lists():
    with model_lists() as started:
        yield started


@pytest.fixture(autouse=True)
def _fresh_health():
    caches["health"].clear()
    yield
    caches["health"].clear()


def provider(name, upstream, **values):
    base_url = upstream if isinstance(upstream, str) else upstream.base_url
    return ProviderFactory(name=name, base_url=base_url, **values)


def keyed(monkeypatch, settings, name, upstream, key="key-123456"):
    settings.GATEWAY_SECRET_ENVIRONMENT = {"TEST_API_KEY": key}
    return provider(name, upstream, kind="openai", credential_ref="${TEST_API_KEY}")


def inventory(name):
    return list(
        ProviderModel.objects.filter(provider__name=name)
        .order_by("model")
        .values_list("model", "listed", "owned_by", "upstream_created")
    )


def credentials():
    """The open circuits of credentials that a worker starting now would know."""
    return dict(live.ask(Resolver.health_report).health.credentials)


# What is kept


def test_a_models_list_becomes_the_inventory(lists):
    up = lists.start("a", "b")
    provider("p", up)

    found = probes.discover()

    assert [(one.provider.name, one.outcome, one.message) for one in found] == [
        ("p", "ok", "It lists 2 models.")
    ]
    assert inventory("p") == [("a", True, "tests", 1), ("b", True, "tests", 1)]
    row = Provider.objects.get()
    assert (row.probe_state, row.probe_error, row.probe_failures) == ("ok", "", 0)
    assert snapshot.load().providers["p"].model_info["a"] == ModelInfo(1, "tests")
    assert [(one.method, one.path) for one in up.requests] == [("GET", "/v1/models")]


def test_the_next_list_writes_only_what_changed(lists, django_assert_max_num_queries):
    up = lists.start("a", "b", "c")
    provider("p", up)
    probes.discover()
    before = RoutingHead.objects.get().health_version
    first = dict(ProviderModel.objects.values_list("model", "first_seen_at"))

    probes.discover()
    same = RoutingHead.objects.get().health_version
    up.models = ["b", "c", "d"]
    probes.discover()

    assert (same, RoutingHead.objects.get().health_version) == (before, before + 1)
    assert inventory("p") == [
        ("a", False, "tests", 1),
        ("b", True, "tests", 1),
        ("c", True, "tests", 1),
        ("d", True, "tests", 1),
    ]
    assert ProviderModel.objects.get(model="b").first_seen_at == first["b"]
    assert (
        ProviderModel.objects.get(model="a").last_seen_at < ProviderModel.objects.get(model="b").last_seen_at
    )
    assert RoutingRevision.objects.count() == 0


def test_a_list_in_pages_is_read_to_its_end(lists):
    up = lists.start()
    up.script(
        Script(body=b'{"data":[{"id":"a"}],"has_more":true,"last_id":"a"}'),
        Script(body=b'{"data":[{"id":"b"}],"has_more":false,"last_id":"b"}'),
    )
    provider("p", up)

    probes.discover()

    assert [row[0] for row in inventory("p")] == ["a", "b"]
    assert [one.path for one in up.requests] == ["/v1/models", "/v1/models?after_id=a"]


def test_the_credential_goes_along(lists, monkeypatch, settings):
    up = lists.start()
    keyed(monkeypatch, settings, "p", up)

    probes.discover()

    assert up.requests[0].headers["authorization"] == "Bearer key-123456"


# Who is not called


def test_a_disabled_provider_is_not_called(lists):
    """T23: no path calls it."""
    up = lists.start()
    provider("p", up, enabled=False)

    found = [*probes.discover(), *probes.check_connections(["p"])]

    assert [(one.outcome, one.message) for one in found] == [
        ("not_asked", "It is switched off: a disabled provider is never called.")
    ] * 2
    assert (up.connections, Provider.objects.get().probe_state) == (0, "unprobed")


def test_an_allow_list_never_calls_the_provider(lists):
    """T28: then only live outcomes say anything of it."""
    RoutingDefaultsFactory(configured_provider_models_mode="allowlist")
    up = lists.start()
    provider("p", up, configured_models=["x"])

    found = probes.discover()

    assert [one.outcome for one in found] == ["not_asked"]
    assert up.connections == 0
    report = providers_status(live.ask(Resolver.health_report))["providers"][0]
    assert (report["status"], report["inventory"]["shown"]) == ("healthy", 1)


def test_a_kind_without_a_list_is_unsupported_without_a_call(lists, settings):
    up = lists.start()
    settings.GATEWAY_SECRET_ENVIRONMENT = {"TEST_API_KEY": "k"}
    provider("p", up, kind="perplexity", credential_ref="${TEST_API_KEY}")

    found = probes.discover()

    assert [(one.outcome, one.message) for one in found] == [
        ("unsupported", "Perplexity has no models list.")
    ]
    assert (up.connections, Provider.objects.get().probe_state) == (0, "unsupported")


def test_names_are_checked_before_anyone_is_called(lists):
    """T21: a row that cannot be used says why."""
    up = lists.start()
    provider("p", up)
    ProviderFactory(name="odd", kind="odd")

    for name, text in (
        ("nobody", "There is no provider nobody."),
        ("odd", "The provider odd cannot be used: Unknown kind 'odd'."),
    ):
        with pytest.raises(UnknownProviderError) as caught:
            probes.discover(["p", name])
        assert str(caught.value) == text
    assert up.connections == 0


def test_only_the_named_are_called(lists):
    one, other = lists.start(), lists.start()
    provider("a", one)
    provider("b", other)

    probes.discover(["b", "b"])

    assert (one.connections, other.connections) == (0, 1)


def test_a_connection_is_checked_without_keeping_anything(lists):
    provider("p", lists.start("a"))

    [probe] = probes.check_connections(["p"])

    assert (probe.outcome, probe.message, probe.latency_ms > 0) == ("ok", "It lists 1 model.", True)
    assert (Provider.objects.get().probe_state, inventory("p")) == ("unprobed", [])


# Failures


@pytest.mark.parametrize("status", [404, 405, 501])
def test_no_list_means_an_unknown_inventory(lists, status):
    provider("p", lists.start(status=status, body=b"{}"), configured_models=["x"])

    found = probes.discover()

    assert found[0].outcome == "unsupported"
    assert (Provider.objects.get().probe_state, Provider.objects.get().probe_error) == ("unsupported", "")
    assert snapshot.load().providers["p"].discovery.models == frozenset()


def test_a_failing_provider_with_models_is_degraded_and_keeps_them(lists):
    """T27: models and an error together are degraded, not healthy."""
    up = lists.start("a")
    provider("p", up)
    probes.discover()
    up.default = Script(status=500, body=b'{"error":{"message":"down"}}')

    for _ in range(4):
        probes.discover()

    row = providers_status(live.ask(Resolver.health_report))["providers"][0]
    assert (row["status"], row["status_reason"]) == (
        "degraded",
        "The last probe failed: It answered HTTP 500: down",
    )
    assert (row["inventory"]["discovered"], row["inventory"]["failures"]) == (1, 4)


def test_unhealthy_needs_three_failures_in_a_row(lists):
    up = lists.start(status=500, body=b"")
    provider("p", up)
    seen = []
    for _ in range(3):
        probes.discover()
        seen.append(providers_status(live.ask(Resolver.health_report))["summary"]["overall_status"])
    up.default = Script()
    probes.discover()
    seen.append(providers_status(live.ask(Resolver.health_report))["summary"]["overall_status"])

    assert seen == ["degraded", "degraded", "unhealthy", "healthy"]


def test_a_candidate_of_an_unhealthy_provider_is_blocked_with_its_reason(lists):
    """T25: the pool shows it."""
    row = provider("p", lists.start(status=500, body=b""))
    PoolCandidateFactory(pool=ModelPoolFactory(canonical_model="m"), provider=row, model="m")
    for _ in range(3):
        probes.discover()

    survey = live.ask(lambda resolver: resolver.survey())

    blocked = survey.decisions[0].blocked
    assert [[note.code.value for note in state.reasons] for state in blocked] == [["provider_unhealthy"]]


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ({"drop": True}, "Its answer cannot be read: Server disconnected without sending a response."),
        (
            {"raw": b"no http\r\n\r\n"},
            "Its answer cannot be read: illegal status line: bytearray(b'no http').",
        ),
        ({"body": b'{"data":[', "close": True}, "The models list is not JSON."),
        ({"body": b'{"data":[]}', "cut_after_bytes": 4}, None),
        ({"status": 302, "headers": {"location": "http://127.0.0.1:9/"}, "body": b""}, None),
    ],
)
def test_broken_answers_are_failures_with_a_message(lists, script, error):
    provider("p", lists.start(**script))

    found = probes.discover()

    assert found[0].outcome == "failed"
    assert found[0].message == (error or found[0].message)
    assert Provider.objects.get().probe_error == found[0].message != ""


def test_a_redirect_is_not_followed(lists):
    other = lists.start()
    up = lists.start(status=307, headers={"location": f"{other.base_url}/models"}, body=b"")
    provider("p", up)

    found = probes.discover()

    assert found[0].message == "It redirects (HTTP 307), which is not followed; check the base URL."
    assert other.connections == 0


def test_a_provider_that_hangs_times_out_and_delays_nobody(lists, monkeypatch):
    """T22: bounded in time."""
    monkeypatch.setattr(probes, "TIMEOUT_S", 0.3)
    provider("a", lists.start(hang=True))
    provider("b", lists.start("x"))
    started = time.monotonic()

    found = probes.discover()

    assert [(one.outcome, one.message) for one in found] == [
        ("failed", "It did not list its models within 0.3 s."),
        ("ok", "It lists 1 model."),
    ]
    assert time.monotonic() - started < 3


def test_a_few_are_asked_at_once(lists, monkeypatch):
    monkeypatch.setattr(probes, "_AT_ONCE", 2)
    up = lists.start(delay_s=0.1)
    for number in range(4):
        provider(f"p{number}", up)
    started = time.monotonic()

    probes.discover()

    assert 0.2 <= time.monotonic() - started < 0.39


def test_a_provider_that_is_not_there_says_so_without_its_address():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        provider("p", f"http://127.0.0.1:{port}/v1")

        found = probes.discover()

    assert (found[0].outcome, found[0].message) == (
        "failed",
        "It cannot be reached: All connection attempts failed.",
    )


def test_a_host_that_does_not_exist_says_so():
    provider("p", "http://nowhere.invalid/v1")

    assert probes.discover()[0].message == "It cannot be reached: its host name is not known."


def test_a_list_that_never_ends_is_refused(lists, monkeypatch):
    monkeypatch.setattr(probes, "MOST_BYTES", 1000)
    provider("p", lists.start(body=b"[" + b" " * 2000 + b"]"))

    assert probes.discover()[0].message == "Its list has over 1000 bytes."


def test_errors_are_scrubbed_of_the_key_and_the_address(lists, monkeypatch, settings):
    up = lists.start(status=500)
    up.default.body = json.dumps({"error": f"key-123456 at {up.base_url}"}).encode()
    keyed(monkeypatch, settings, "p", up)

    probes.discover()

    assert Provider.objects.get().probe_error == "It answered HTTP 500: [redacted] at [redacted]"


# Egress


def test_a_metadata_address_is_never_called():
    provider("p", "http://169.254.169.254/v1")

    assert probes.discover()[0].message == (
        "It is not called: the address is link-local, of cloud metadata or of no host."
    )


def test_private_addresses_are_refused_when_asked_to(lists, settings):
    """The address of the socket counts, not the name."""
    settings.GATEWAY_EGRESS_DENY_PRIVATE = True
    up = lists.start()
    provider("p", f"http://localhost:{up.port}/v1")

    assert probes.discover()[0].message == (
        "It is not called: the address is private, which GATEWAY_EGRESS_DENY_PRIVATE refuses."
    )
    assert up.connections == 0


def test_a_name_is_resolved_and_stays_in_the_host_header(lists):
    up = lists.start()
    provider("p", f"http://localhost:{up.port}/v1")

    assert probes.discover()[0].outcome == "ok"
    assert up.requests[0].headers["host"] == f"localhost:{up.port}"


# Credentials


def test_a_refused_credential_is_told_to_the_workers_and_an_accepted_one_too(lists, monkeypatch, settings):
    """A command's probe reaches workers through the shared health."""
    up = lists.start(status=401, body=b'{"error":{"message":"no"}}')
    keyed(monkeypatch, settings, "p", up)

    probes.discover()
    refused = credentials()
    state = providers_status(live.ask(Resolver.health_report))["providers"][0]
    up.default = Script()
    probes.discover()

    assert refused["p"].cause == "It refused the gateway's credential (HTTP 401): no"
    assert (state["status"], state["credential"]["state"]) == ("unhealthy", "refused")
    assert credentials() == {}


def test_a_key_that_may_not_list_models_is_not_refused(lists, monkeypatch, settings):
    keyed(monkeypatch, settings, "p", lists.start(status=403, body=b""))

    probes.discover()

    assert credentials() == {}
    assert Provider.objects.get().probe_error == (
        "It does not let the gateway's credential list models (HTTP 403)."
    )


@pytest.mark.anyio
@pytest.mark.parametrize(("ago_s", "refused"), [(5, False), (500, True)])
async def test_what_live_calls_say_of_a_key_counts_more_than_a_list(ago_s, refused):
    clock, shown = Clock(time.time() - ago_s), table(("a", 1))
    health = LiveHealth(lambda: shown, HealthExchange(memory(), StoreGuard(clock), clock), clock=clock)
    health.success("a", "x")
    clock.now += ago_s

    result = ProbeResult(DiscoveryState.FAILED, error="HTTP 401", credential_accepted=False)
    probes.tell_health(health, [Probe(shown.providers["a"], result)])

    assert bool(health.view().credentials) is refused


def test_a_missing_credential_is_not_sent(lists, settings):
    settings.GATEWAY_SECRET_ENVIRONMENT = {}
    up = lists.start()
    provider("p", up, kind="openai", credential_ref="${TEST_API_KEY}")

    found = probes.discover()

    assert (found[0].outcome, up.connections) == ("not_asked", 0)
    assert found[0].message.startswith("It has no usable credential: ")


# Log, schedule, command


def test_a_change_is_logged_once(lists, caplog):
    up = lists.start(status=500, body=b"")
    provider("p", up)
    caplog.set_level(logging.INFO, "sluice.health")

    probes.discover()
    probes.discover()
    up.default = Script()
    probes.discover()

    lines = [record for record in caplog.records if record.name == "sluice.health"]
    assert [(line.levelname, line.event_type, line.provider, line.cause) for line in lines] == [
        ("WARNING", "discovery_failed", "p", "It answered HTTP 500."),
        ("INFO", "discovery_ok", "p", ""),
    ]


def test_due_times_are_spread_around_the_interval():
    times = [discovery.due_at(f"p{number}", 1000.0, 60) - 1000.0 for number in range(200)]

    assert (min(times) >= 54, max(times) <= 66, max(times) - min(times) > 9) == (True, True, True)
    assert discovery.due_at("p", None, 60) == 0.0
    assert discovery.due_at("p1", 1000.0, 60) == times[1] + 1000.0


@pytest.mark.parametrize(
    ("values", "asked_anew"),
    [({"base_url": "http://127.0.0.1:8/v1"}, True), ({"max_in_flight": 3}, False)],
)
def test_another_account_is_asked_anew(values, asked_anew):
    provider("p", "http://127.0.0.1:9/v1", probed_at=NOW)

    services.save_provider(
        name="p", values=values, actor=services.Actor("ada"), source="admin", reason="moved"
    )

    assert (Provider.objects.get().probed_at is None) is asked_anew


def test_the_command_prints_a_table_and_ends_with_1_when_one_failed(lists):
    provider("a", lists.start("x", "y"))
    provider("bad", lists.start(status=500, body=b""))
    provider("off", "http://127.0.0.1:9/v1", enabled=False)
    out = StringIO()

    with pytest.raises(CommandError) as caught:
        call_command("probe_providers", stdout=out)

    head, *lines = [line.split(maxsplit=6) for line in out.getvalue().splitlines()]
    assert head == ["PROVIDER", "KIND", "RESULT", "MODELS", "MS", "STATUS", "MESSAGE"]
    assert [[*line[:4], *line[5:]] for line in lines] == [
        ["a", "openai_compatible", "ok", "2", "healthy", "It lists 2 models."],
        ["bad", "openai_compatible", "failed", "-", "degraded", "It answered HTTP 500."],
        [
            "off",
            "openai_compatible",
            "not_asked",
            "-",
            "disabled",
            "It is switched off: a disabled provider is never called.",
        ],
    ]
    assert str(caught.value) == "1 of 3 failed."


def test_the_command_prints_json_of_the_named(lists):
    provider("a", lists.start("x"))
    provider("b", lists.start("x"))
    out = StringIO()

    call_command("probe_providers", "b", "--json", stdout=out)

    rows = json.loads(out.getvalue())
    assert [{**row, "latency_ms": None} for row in rows] == [
        {
            "provider_name": "b",
            "type": "openai_compatible",
            "result": "ok",
            "models": 1,
            "latency_ms": None,
            "status": "healthy",
            "message": "It lists 1 model.",
        }
    ]


def test_the_command_refuses_an_unknown_name_and_prints_when_there_is_nothing():
    out = StringIO()
    call_command("probe_providers", stdout=out)

    with pytest.raises(CommandError, match=r"^There is no provider x\.$"):
        call_command("probe_providers", "x")
    assert out.getvalue() == "There are no providers yet.\n"


@pytest.mark.anyio
async def test_discovery_that_moves_a_provider_is_an_event_of_every_worker():
    clock = Clock()
    shown = [replace(table(("a", 1)), inventory_mode=InventoryMode.FALLBACK)]
    health = LiveHealth(lambda: shown[0], HealthExchange(memory(), StoreGuard(clock), clock), clock=clock)
    await health.sync()
    found = replace(
        shown[0].providers["a"].discovery,
        state=DiscoveryState.OK,
        models=frozenset({"x"}),
        checked_at=clock.now - 1,
    )
    shown[0] = replace(shown[0], providers={"a": replace(shown[0].providers["a"], discovery=found)})

    await health.sync()
    await health.sync()

    assert [(one.at, one.provider, one.what) for one in health.transitions] == [
        (clock.now - 1, "a", "provider_healthy")
    ]
