from __future__ import annotations

import pytest

from routing.models import Provider
from tests import factories
from tests.routing.model_lists import model_lists

PATH = "/admin/providers/probe"


@pytest.fixture
def providers(db):
    with model_lists() as lists:
        up, down = lists.start("x", "y"), lists.start(status=500, body=b"")
        factories.ProviderFactory(name="up", base_url=up.base_url)
        factories.ProviderFactory(name="down", base_url=down.base_url)
        factories.ProviderFactory(name="off", base_url=up.base_url, enabled=False)
        yield


def row(name, result, status, message, models=None):
    return {
        "provider_name": name,
        "type": "openai_compatible",
        "result": result,
        "models": models,
        "status": status,
        "message": message,
    }


def answered(response):
    rows = response.json()["results"]
    took = [one.pop("latency_ms") for one in rows]
    return rows, [latency is not None for latency in took]


def test_all_providers_are_asked_and_what_they_say_is_kept(ada, providers):
    rows, called = answered(ada("POST", PATH, {}))

    assert rows == [
        row("down", "failed", "degraded", "It answered HTTP 500."),
        row("off", "not_asked", "disabled", "It is switched off: a disabled provider is never called."),
        row("up", "ok", "healthy", "It lists 2 models.", 2),
    ]
    assert called == [True, False, True]
    assert list(Provider.objects.order_by("name").values_list("probe_state", flat=True)) == [
        "failed",
        "unprobed",
        "ok",
    ]


def test_a_connection_is_tested_without_keeping_anything(ada, providers):
    rows, _ = answered(ada("POST", PATH, {"names": ["up"], "keep": False}))

    assert rows == [row("up", "ok", "degraded", "It lists 2 models.", 2)]
    assert Provider.objects.get(name="up").probe_state == "unprobed"


def test_an_unknown_name_is_refused(ada, providers):
    response = ada("POST", PATH, {"names": ["up", "nobody"]})

    error = response.json()["error"]
    assert (response.status_code, error["message"], error["param"]) == (
        400,
        "There is no provider nobody.",
        "names",
    )
    assert Provider.objects.get(name="up").probe_state == "unprobed"
