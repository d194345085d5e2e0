"""``/admin/api/<plural>/``: everything that Django admin can do, a script can do."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from routing import keys, models
from tests import factories

pytestmark = pytest.mark.usefixtures("pools")
API = "/admin/api"


def error(response) -> tuple:
    found = response.json()["error"]
    return response.status_code, found["code"], found["param"]


def without(shape: dict, name: str) -> dict:
    return {key: value for key, value in shape.items() if key != name}


def revisions() -> int:
    return models.RoutingRevision.objects.count()


@pytest.fixture
def encrypted(settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]


@pytest.mark.parametrize(
    "path",
    [
        "/providers/east",
        "/pools/weighted",
        "/aliases/fast",
        "/defaults",
    ],
)
def test_what_was_read_can_be_written_back_and_changes_nothing(ada, path):
    before = ada.get(API + path)
    answer = ada("PUT", API + path, before)

    assert (answer.status_code, revisions()) == (200, 0)
    assert without(answer.json(), "updated_at") == without(before, "updated_at")


def test_provider_is_made_changed_and_deleted(ada):
    made = ada(
        "POST",
        f"{API}/providers",
        {"name": "north", "kind": "openai", "credential": "${NORTH_KEY}", "reason": "more room"},
    )
    assert made.status_code == 201
    shape = made.json()
    assert (shape["credential_status"], shape["pools"], shape["discovery"]["state"]) == (
        "${NORTH_KEY}",
        0,
        "unprobed",
    )
    assert "credential" not in shape

    changed = ada("PATCH", f"{API}/providers/north", {"max_in_flight": 4, "connect_timeout_s": 1.5})
    assert (changed.json()["max_in_flight"], changed.json()["credential_status"]) == (4, "${NORTH_KEY}")
    replaced = ada("PUT", f"{API}/providers/north", {"kind": "groq"})
    assert error(replaced) == (400, "credential_required", "credential")
    replaced = ada("PUT", f"{API}/providers/north", {"kind": "groq", "credential": "${GROQ_KEY}"}).json()
    assert (replaced["kind"], replaced["max_in_flight"], replaced["connect_timeout_s"]) == (
        "groq",
        None,
        None,
    )

    assert ada("DELETE", f"{API}/providers/north?reason=gone").status_code == 204
    assert error(ada("GET", f"{API}/providers/north")) == (404, "provider_not_found", None)
    assert [row["reason"] for row in ada.get("/admin/routing/revisions")["results"]] == [
        "gone",
        "",
        "",
        "more room",
    ]


def test_stored_key_is_never_shown(ada, encrypted):
    secret = "sk-very-secret-indeed-f3a"
    ada("PATCH", f"{API}/providers/east", {"credential": secret})
    pages = [
        ada("GET", path).content.decode()
        for path in (
            f"{API}/providers",
            f"{API}/providers/east",
            "/admin/providers/status",
            "/admin/routing/revisions/1",
            "/admin/routing/revisions/1/export",
        )
    ]

    assert ada.get(f"{API}/providers/east")["credential_status"] == "set …f3a"
    assert [page for page in pages if secret in page] == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "east", "kind": "openai"}, (409, "already_exists", "name")),
        ({"name": "no good", "kind": "openai"}, (400, "invalid_value", "name")),
        ({"kind": "openai"}, (400, "invalid_value", "name")),
        ({"name": "n", "kind": {"openai": 1}}, (400, "invalid_value", "kind")),
        ({"name": "n", "kind": ["openai"]}, (400, "invalid_value", "kind")),
        ({"name": "n", "kind": "openai", "idle_timeout_s": True}, (400, "invalid_value", "idle_timeout_s")),
        ({"name": "n", "kind": "openai", "max_in_flight": "1_0"}, (400, "invalid_value", "max_in_flight")),
        ({"name": "n", "kind": "openai", "max_in_flight": "٣"}, (400, "invalid_value", "max_in_flight")),
        ({"name": "n", "kind": "acme"}, (400, "invalid_value", "kind")),
        ({"name": "n", "kind": "openai_compatible"}, (400, "invalid_value", "base_url")),
        ({"name": "n", "kind": "openai", "base_url": "ftp://x"}, (400, "invalid_value", "base_url")),
        ({"name": "n", "kind": "openai", "idle_timeout_s": "nan"}, (400, "invalid_value", "idle_timeout_s")),
        ({"name": "n", "kind": "openai", "max_in_flight": 0}, (400, "invalid_value", "max_in_flight")),
        (
            {"name": "n", "kind": "openai", "credential": "${SECRET_KEY}"},
            (400, "invalid_value", "credential"),
        ),
        ({"name": "n", "kind": "openai", "credential": "typed"}, (400, "invalid_value", "credential")),
        ({"name": "n", "kind": "openai", "options": {"a\x00": "b"}}, (400, "invalid_value", "options")),
        ({"name": "n", "kind": "openai", "options": {"\ud800": "b"}}, (400, "invalid_value", "options")),
        ({"name": "n", "kind": "openai", "api_key": "x"}, (400, "invalid_value", "api_key")),
    ],
)
def test_provider_that_cannot_be_is_refused(ada, body, expected):
    assert error(ada("POST", f"{API}/providers", body)) == expected
    assert revisions() == 0


def test_provider_in_use_stays(ada):
    answer = ada("DELETE", f"{API}/providers/east")

    assert error(answer) == (409, "in_use", None)
    assert answer.json()["error"]["details"] == ["pool chat", "pool weighted"]


def test_pool_with_slashes_is_made_by_put_and_replaced(ada):
    path = f"{API}/pools/meta%2Fllama:3"
    first = ada(
        "PUT",
        path,
        {
            "strategy": "weighted_round_robin",
            "failover": {"max_attempts": 2},
            "candidates": [
                {"provider_name": "east", "model": "x", "weight": 3},
                {"provider_name": "west", "model": "y", "enabled": False},
            ],
        },
    )
    assert (first.status_code, first.json()["canonical_model"]) == (201, "meta/llama:3")
    assert first.json()["failover"] == {
        "enabled": None,
        "max_attempts": 2,
        "retry_on_statuses": None,
        "retry_on_model_errors": None,
    }
    west = {"provider_name": "west", "model": "y"}
    second = ada("PUT", path, {"candidates": [west], "confirm": True}).json()
    assert (second["strategy"], second["failover"]["max_attempts"]) == (None, None)
    assert [(one["model"], one["enabled"]) for one in second["candidates"]] == [("y", False)]


@pytest.mark.parametrize(
    ("plural", "name", "body"),
    [
        ("pools", "canonical_model", {"candidates": [{"provider_name": "east", "model": "x"}]}),
        ("aliases", "name", {"target": "chat"}),
        ("providers", "name", {"kind": "openai"}),
    ],
)
def test_name_in_the_address_is_trimmed(ada, plural, name, body):
    made = ada("PUT", f"{API}/{plural}/%20new%20", body)
    again = ada("PUT", f"{API}/{plural}/new%0A", body)

    assert (made.status_code, made.json()[name], again.status_code, revisions()) == (201, "new", 200, 1)
    assert ada("PUT", f"{API}/{plural}/%20", body).status_code == 400


def test_pool_patch_changes_only_what_it_has(ada):
    answer = ada(
        "PATCH", f"{API}/pools/weighted", {"failover": {"enabled": False}, "description": "d"}
    ).json()

    assert (answer["strategy"], answer["description"], answer["failover"]["enabled"]) == (
        "weighted_round_robin",
        "d",
        False,
    )
    assert len(answer["candidates"]) == 2
    assert revisions() == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/pools", {"canonical_model": "n", "candidates": []}, (400, "empty_pool", "candidates")),
        (
            "POST",
            "/pools",
            {"canonical_model": "chat", "candidates": []},
            (409, "already_exists", "canonical_model"),
        ),
        ("POST", "/pools", {"canonical_model": "n"}, (400, "invalid_value", "candidates")),
        (
            "PATCH",
            "/pools/chat",
            {"candidates": [{"provider_name": "north", "model": "x"}]},
            (400, "provider_not_found", "candidates.0.provider_name"),
        ),
        (
            "PATCH",
            "/pools/chat",
            {"candidates": [{"provider_name": "east", "model": "x", "weight": 0}]},
            (400, "invalid_value", "candidates.0.weight"),
        ),
        (
            "PATCH",
            "/pools/chat",
            {"failover": {"max_attempts": 0}},
            (400, "invalid_value", "failover.max_attempts"),
        ),
        (
            "PATCH",
            "/pools/chat",
            {"failover": {"retry_on_statuses": [99]}},
            (400, "invalid_value", "failover.retry_on_statuses"),
        ),
        ("PATCH", "/pools/chat", {"canonical_model": "other"}, (400, "invalid_value", "canonical_model")),
        ("PATCH", "/pools/nothing", {"description": "d"}, (404, "pool_not_found", None)),
        ("PATCH", "/pools/chat", {"enabled": "off"}, (400, "invalid_value", "enabled")),
        ("POST", "/aliases", {"name": "chat", "target": "weighted"}, (400, "invalid_value", "name")),
        ("POST", "/aliases", {"name": "n", "target": "fast"}, (400, "invalid_value", "target")),
        ("PUT", "/aliases/n", {}, (400, "invalid_value", "target")),
        ("PATCH", "/defaults", {"strategy": "random"}, (400, "invalid_value", "strategy")),
        ("DELETE", "/pools/chat", None, (409, "in_use", None)),
        ("DELETE", "/aliases/nothing", None, (404, "alias_not_found", None)),
        ("PATCH", "/client-keys/99", {"name": "n"}, (404, "key_not_found", None)),
        ("GET", "/client-keys/99999999999999999999999", None, (404, "key_not_found", None)),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(ada, method, path, body, expected):
    answer = ada(method, API + path, body)

    assert error(answer)[:2] == expected[:2]
    assert (error(answer)[2] or "").startswith(expected[2] or "")
    assert revisions() == 0


def test_pool_that_loses_its_last_candidate_needs_confirmation(ada):
    body = {"candidates": [{"provider_name": "east", "model": "x", "enabled": False}]}
    refused = ada("PATCH", f"{API}/pools/chat", body)

    assert error(refused) == (409, "would_empty_pool", "confirm")
    assert ada("PATCH", f"{API}/pools/chat", {**body, "confirm": ["chat"]}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/providers", {"name": "north", "kind": "openai"}),
        ("PATCH", "/pools/weighted", {"strategy": "priority_failover"}),
        ("DELETE", "/aliases/fast", None),
        ("PUT", "/defaults", {"strategy": "weighted_round_robin"}),
        ("POST", "/client-keys", {"name": "app"}),
        ("DELETE", "/admin-tokens/{own}", None),
    ],
)
def test_dry_run_of_any_write_writes_nothing(ada, method, path, body):
    path = path.replace("{own}", str(models.AdminToken.objects.get(name="ada").pk))
    answer = ada(method, f"{API}{path}?dry_run=true", body)

    assert (answer.status_code, answer.json()["dry_run"]) == (200, True)
    assert set(answer.json()) == {"dry_run", "impact", "changes"}
    assert (len(answer.json()["changes"]) >= 1, revisions()) == (True, 0)
    assert ada("GET", f"{API}/aliases/fast").status_code == 200


def test_defaults_are_replaced_and_changed(ada):
    changed = ada("PATCH", f"{API}/defaults", {"failover": {"max_attempts": 5}}).json()
    replaced = ada("PUT", f"{API}/defaults", {"configured_provider_models_mode": "allowlist"}).json()

    assert (changed["failover"]["max_attempts"], changed["configured_provider_models_mode"]) == (
        5,
        "fallback",
    )
    assert (replaced["failover"]["max_attempts"], replaced["configured_provider_models_mode"]) == (
        None,
        "allowlist",
    )


@pytest.mark.parametrize(
    ("plural", "table", "prefix"),
    [
        ("client-keys", models.ClientKey, keys.CLIENT_KEY_PREFIX),
        ("admin-tokens", models.AdminToken, keys.ADMIN_TOKEN_PREFIX),
    ],
)
def test_key_is_shown_once_and_ended_by_delete(ada, plural, table, prefix):
    made = ada("POST", f"{API}/{plural}", {"name": "app"})
    key, number = made.json()["key"], made.json()["id"]
    row = table.objects.get(pk=number)

    assert (made.status_code, key.startswith(prefix)) == (201, True)
    assert row.digest == keys.key_digest(key).hex()
    assert key not in ada("GET", f"{API}/{plural}").content.decode()
    assert "key" not in ada.get(f"{API}/{plural}/{number}")
    assert ada("PATCH", f"{API}/{plural}/{number}", {"name": "renamed"}).json()["name"] == "renamed"
    assert ada("DELETE", f"{API}/{plural}/{number}").status_code == 204
    assert ada.get(f"{API}/{plural}/{number}")["enabled"] is False


def test_client_key_keeps_its_scope(ada):
    body = {"name": "app", "user_path": "team/a/", "models": ["gpt-*"], "expires_at": "2100-01-01T00:00:00Z"}
    shape = ada("POST", f"{API}/client-keys", body).json()

    assert (shape["user_path"], shape["models"], shape["expires_at"]) == (
        "/team/a",
        ["gpt-*"],
        "2100-01-01T00:00:00Z",
    )


def test_every_write_names_its_revision(ada):
    answer = ada("PATCH", f"{API}/aliases/fast", {"target": "weighted"})
    stale = ada("PATCH", f"{API}/aliases/fast?expected_revision=0", {"target": "chat"})

    assert answer["X-Gateway-Revision"] == "1"
    assert error(stale) == (409, "stale_revision", "expected_revision")
    assert ada("PATCH", f"{API}/aliases/fast?expected_revision=1", {"target": "chat"}).status_code == 200


@pytest.mark.parametrize("data", ["{", "[1", '"text"', "[" * 100_000])
def test_body_that_cannot_be_read_is_refused(ada, data):
    answer = ada.client.generic(
        "PUT", f"{API}/defaults", data, content_type="application/json", headers=ada.headers
    )

    assert (answer.status_code, set(answer.json())) == (400, {"error"})


def test_other_types_of_body_are_refused(ada):
    answer = ada.client.generic(
        "PUT", f"{API}/defaults", "a=1", content_type="text/plain", headers=ada.headers
    )

    assert error(answer) == (415, "unsupported_media_type", None)


def test_list_is_in_the_order_of_names(ada):
    factories.ProviderFactory(name="a")

    assert [one["name"] for one in ada.get(f"{API}/providers")] == ["a", "east", "west"]
