"""The page for Prometheus, and who may read it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from proxying import runtime
from proxying.metrics import Metrics
from proxying.views import metrics as metrics_page
from routing.types import Discovery, DiscoveryState
from tests.factories import AdminTokenFactory, ClientKeyFactory
from tests.proxying.gateway import serving, table


@pytest.mark.anyio
async def test_models_beyond_the_bound_are_counted_together(upstream, monkeypatch) -> None:
    """Whatever providers list over time: labels stay few, and so does memory."""
    monkeypatch.setattr("proxying.metrics.MAX_PLACES", 3)
    one = await upstream()
    found = Discovery(state=DiscoveryState.OK, models=frozenset(f"m{number}" for number in range(6)))
    async with serving(table({"a": one}, providers={"a": {"discovery": found}})) as gateway:
        for number in range(6):
            assert (await gateway.chat(model=f"a/m{number}")).status == 200
        gateway.runtime.show_gauges()
        page = gateway.runtime.metrics.exposition().decode()
    counted = [line for line in page.splitlines() if line.startswith("sluice_attempts_total{")]
    assert len(counted) == 4
    assert [line.rpartition(" ")[2] for line in counted if "(other)" in line] == ["3.0"]
    assert 'sluice_entries{map="metric_places"} 3.0' in page
    assert 'sluice_entries{map="plans"} 6.0' in page
    assert 'sluice_entries{map="pins"} ' in page


@pytest.mark.anyio
async def test_very_long_names_are_not_remembered(upstream) -> None:
    one = await upstream()
    async with serving(table({"a": one})) as gateway:
        got = await gateway.chat(model="x" * 100_000)
        assert gateway.runtime.resolver.size() == 0
    assert (got.status, got.error["code"]) == (404, "model_not_found")


class Open:
    """A runtime that only has metrics."""

    def __init__(self) -> None:
        self.metrics = Metrics()

    def show_gauges(self) -> None:
        self.metrics.queue.set(3)


@pytest.fixture
def opened(monkeypatch) -> None:
    monkeypatch.setattr(runtime, "_current", [Open()])


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.django_db
@pytest.mark.parametrize("values", [{}, {"read_only": True}])
def test_admin_token_reads_the_metrics(client, opened, values) -> None:
    AdminTokenFactory(secret="sluice-admin-good", **values)
    page = client.get("/metrics", headers=bearer("sluice-admin-good"))
    assert (page.status_code, page["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "sluice_records_queued 3.0" in page.text


@pytest.mark.django_db
@pytest.mark.parametrize(
    "secret", ["", "unknown", "sluice-admin-off", "sluice-admin-old", "sk-sluice-client"]
)
def test_others_do_not_read_the_metrics(client, opened, secret) -> None:
    AdminTokenFactory(secret="sluice-admin-off", enabled=False)
    AdminTokenFactory(secret="sluice-admin-old", expires_at=timezone.now() - timedelta(seconds=1))
    ClientKeyFactory(secret="sk-sluice-client")
    page = client.get("/metrics", headers=bearer(secret))
    assert (page.status_code, page.json()["error"]["code"]) == (401, "invalid_api_key")
    assert page["WWW-Authenticate"] == "Bearer"


@pytest.fixture
def database_away(monkeypatch):
    """Makes every look at the admin tokens fail from then on."""

    def start() -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OperationalError("connection refused")

        monkeypatch.setattr("proxying.views.metrics.AdminToken.objects.filter", refuse)

    return start


@pytest.fixture(autouse=True)
def nobody_let_in() -> None:
    metrics_page._let_in.clear()


@pytest.mark.django_db
def test_who_read_the_metrics_before_reads_them_while_the_database_is_away(
    client, opened, database_away
) -> None:
    """That it is away, since when, and how many records wait is what the page is read for then."""
    AdminTokenFactory(secret="sluice-admin-good")
    assert client.get("/metrics", headers=bearer("sluice-admin-good")).status_code == 200
    database_away()
    assert client.get("/metrics", headers=bearer("sluice-admin-good")).status_code == 200
    refused = client.get("/metrics", headers=bearer("sluice-admin-other"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")


@pytest.mark.django_db
@pytest.mark.parametrize("ending", [{"enabled": False}, {"expires_at": timezone.now() - timedelta(hours=1)}])
def test_a_token_that_has_ended_is_forgotten(client, opened, database_away, ending) -> None:
    token = AdminTokenFactory(secret="sluice-admin-good")
    assert client.get("/metrics", headers=bearer("sluice-admin-good")).status_code == 200
    type(token).objects.filter(pk=token.pk).update(**ending)
    assert client.get("/metrics", headers=bearer("sluice-admin-good")).status_code == 401
    database_away()
    assert client.get("/metrics", headers=bearer("sluice-admin-good")).status_code == 503


@pytest.mark.django_db
def test_a_token_ends_in_time_while_the_database_is_away(client, opened, database_away, monkeypatch) -> None:
    now = timezone.now()
    AdminTokenFactory(secret="sluice-admin-good", expires_at=now + timedelta(hours=1))
    assert client.get("/metrics", headers=bearer("sluice-admin-good")).status_code == 200
    database_away()
    monkeypatch.setattr("proxying.views.metrics.timezone.now", lambda: now + timedelta(hours=2))
    assert client.get("/metrics", headers=bearer("sluice-admin-good")).status_code == 401


def test_open_metrics_need_no_token_and_no_database(client, opened, settings) -> None:
    settings.GATEWAY_METRICS_OPEN = True
    assert client.get("/metrics").status_code == 200
