"""A gateway with nothing configured, and names of any script, from the first start on."""

from __future__ import annotations

import json
from urllib.parse import unquote

import httpx

from tests.e2e.conftest import Serve
from tests.e2e.server import until
from tests.e2e.upstreams import Providers

NAME = "модель/数 v1:\U0001f600"


def test_gateway_starts_empty_and_learns(server: Serve, upstreams: Providers) -> None:
    """T10, T11: no pools: it lists nothing and refuses clearly; what is imported then is served at once."""
    running = server()
    running.key = running.make_key("first")["key"]
    with running.client() as http:
        until(lambda: http.get("/v1/models").status_code == 200, 2)
        assert http.get("/v1/models").json() == {"object": "list", "data": []}
    refused = running.chat("anything")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert refused.headers["x-gateway-attempts"] == "0"

    upstream = upstreams.start()
    config = {
        "providers": {
            "one": {
                "type": "openai_compatible",
                "base_url": upstream.base_url,
                "models": ["数"],
                "timeouts": {"connect": "5s"},
            }
        },
        "models": {"configured_provider_models_mode": "allowlist"},
        "aliases": {"псевдоним": NAME},
        "routing": {"model_pools": {NAME: {"candidates": [{"provider": "one", "model": "数"}]}}},
    }
    # JSON is YAML.
    running.load(json.dumps(config, ensure_ascii=False))
    until(lambda: running.chat(NAME).status_code == 200, 1)

    for asked in (NAME, f"  {NAME} ", "псевдоним"):
        got = running.chat(asked)
        assert (got.status_code, unquote(got.headers["x-gateway-canonical-model"])) == (200, NAME)
        assert (unquote(got.headers["x-gateway-model"]), got.headers["x-gateway-model"].isascii()) == (
            "数",
            True,
        )
        assert upstream.requests[-1].json["model"] == "数"
    with running.client() as http:
        ids = [line["id"] for line in http.get("/v1/models").json()["data"]]
        one = http.get(f"/v1/models/{NAME}".replace(" ", "%20"))
    assert ids == sorted(["one/数", NAME, "псевдоним"])
    assert (one.status_code, one.json()["id"]) == (200, NAME)
    row = running.records("canonical_model = ?", NAME)[-1]
    assert (row["selected_exact_model"], row["config_primary"]) == ("数", "one/数")


def test_anonymous_demo_answers_without_a_key(server: Serve, two_pools) -> None:
    text, _, _ = two_pools()
    running = server(config=text, GATEWAY_ALLOW_ANONYMOUS="true")
    body = {"model": "pool", "messages": []}
    with httpx.Client(base_url=running.url, trust_env=False) as http:
        got = http.post("/v1/chat/completions", json=body)
        wrong = http.post("/v1/chat/completions", json=body, headers={"x-api-key": "sk-sluice-wrong"})
    assert (got.status_code, got.headers["x-gateway-provider"], wrong.status_code) == (200, "a", 401)
