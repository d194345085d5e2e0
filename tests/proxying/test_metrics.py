"""The page for Prometheus, and who may read it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from proxying import runtime
from proxying.metrics import Metrics
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


def test_open_metrics_need_no_token_and_no_database(client, opened, settings) -> None:
    settings.GATEWAY_METRICS_OPEN = True
    assert client.get("/metrics").status_code == 200
