"""An operator with an admin token works on the running gateway; what clients get follows within a second."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.conftest import Pool
from tests.e2e.server import Server, until


@pytest.fixture(scope="module")
def token(shared: tuple[Server, Iterator[Pool]]) -> str:
    made = shared[0].manage("create_admin_token", "ada", "--json").stdout
    return json.loads(made)["key"]


@pytest.fixture
def ada(gateway: Server, token: str) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=10) as http:
        yield http


def served_by(gateway: Server, pool: Pool) -> str:
    return gateway.chat(pool.name).headers.get("x-gateway-provider", "")


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_switches_of_all_kinds_are_stored_and_in_force(gateway: Server, pool: Pool, ada, spelling) -> None:
    """T19, T23: the stored entry comes back for every kind, in any letter case; a second later it holds."""
    first = pool.providers[0]
    names = {
        "provider": {"provider_name": first},
        "canonical_model": {"canonical_model": pool.name},
        "pool_candidate": {"provider_name": first, "canonical_model": pool.name, "model": "m"},
    }
    expected = {"provider": pool.providers[1], "canonical_model": "", "pool_candidate": pool.providers[1]}
    for kind, named in names.items():
        asked = {"kind": spelling(kind), **named, "enabled": False, "reason": "tests"}
        answer = ada.put("/admin/routing-state", json=asked)
        committed = time.monotonic()
        entry = {name: value for name, value in answer.json().items() if name != "warnings"}
        assert answer.status_code == 200
        assert {name: entry[name] for name in ("kind", "enabled", "reason", *named)} == {
            "kind": kind,
            "enabled": False,
            "reason": "tests",
            **named,
        }
        assert entry in ada.get("/admin/routing-state").json()
        time.sleep(max(0.0, committed + 1 - time.monotonic()))
        assert served_by(gateway, pool) == expected[kind]
        assert ada.request("DELETE", "/admin/routing-state", json={"key": entry["key"]}).status_code == 204
        until(lambda: served_by(gateway, pool) == first, 1)


def test_timed_switch_goes_back_by_itself(gateway: Server, pool: Pool, ada) -> None:
    asked = {"kind": "provider", "provider_name": pool.providers[0], "enabled": False, "expires_in_s": 1.5}
    assert ada.put("/admin/routing-state", json=asked).status_code == 200
    until(lambda: served_by(gateway, pool) == pool.providers[1], 1)
    until(lambda: served_by(gateway, pool) == pool.providers[0], 3)


def test_dry_run_changes_nothing(gateway: Server, pool: Pool, ada) -> None:
    asked = {"kind": "canonical_model", "canonical_model": pool.name, "enabled": False}
    answer = ada.put("/admin/routing-state", json=asked, params={"dry_run": "true"})
    assert (answer.status_code, answer.json()["dry_run"]) == (200, True)
    assert answer.json()["impact"]["models_leaving"] == [pool.name]
    time.sleep(0.6)
    assert gateway.chat(pool.name).status_code == 200


def test_name_that_does_not_exist_is_refused(ada) -> None:
    """T24."""
    answer = ada.put(
        "/admin/routing-state", json={"kind": "provider", "provider_name": "nobody", "enabled": False}
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "provider_name")


def test_explain_says_what_the_next_request_gets(gateway: Server, pool: Pool, ada) -> None:
    """T3: with a provider switched off, too; and asking takes no turn (T2)."""
    asked = {"kind": "provider", "provider_name": pool.providers[0], "enabled": False}
    assert ada.put("/admin/routing-state", json=asked).status_code == 200
    until(lambda: served_by(gateway, pool) == pool.providers[1], 1)
    told = ada.post("/admin/routing/explain", json={"model": pool.name}).json()
    assert told["outcome"]["status"] == 200
    order = sorted((line["order"], line["provider_name"]) for line in told["candidates"] if line.get("order"))
    assert [name for _, name in order] == [pool.providers[1], pool.providers[2]]
    blocked = [line for line in told["candidates"] if line["provider_name"] == pool.providers[0]]
    assert [line["status"] for line in blocked] == ["disabled_manual"]


def test_client_key_opens_nothing_of_the_operator(gateway: Server) -> None:
    with gateway.client() as http:
        answer = http.get("/admin/routing-state")
    assert answer.status_code in {401, 403}
    assert answer.json()["error"]["type"] in {"authentication_error", "permission_error"}
