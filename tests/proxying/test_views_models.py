"""The models list in both shapes, through the fast lane."""

from __future__ import annotations

from dataclasses import replace

import pytest

from routing.types import Switch
from tests.proxying.gateway import caller, serving, table

pytestmark = pytest.mark.anyio
ANTHROPIC = {"anthropic-version": "2023-06-01"}


def aliased(held, count=0):
    return replace(held, aliases={f"alias-{n:02}": "pool" for n in range(count)})


def line(name):
    return {"id": name, "object": "model", "created": 0, "owned_by": "a"}


async def test_list_is_what_a_request_would_get() -> None:
    async with serving(aliased(table({"a": "http://127.0.0.1:9/v1"}), 1)) as gateway:
        got = await gateway.call("GET", "/v1/models")
        gateway.switch("a", switch=Switch(enabled=False))
        off = await gateway.call("GET", "/v1/models")
    lines = [line("a/m"), line("alias-00"), line("pool")]
    assert (got.status, got.json) == (200, {"object": "list", "data": lines})
    assert off.json == {"object": "list", "data": []}


async def test_list_follows_the_keys_models() -> None:
    held = table({"a": "http://127.0.0.1:9/v1"}, callers=(caller(models=("pool",)),))
    async with serving(held) as gateway:
        got = await gateway.call("GET", "/v1/models")
    assert [one["id"] for one in got.json["data"]] == ["pool"]


async def test_one_model_may_have_a_slash_in_its_id() -> None:
    async with serving(table({"a": "http://127.0.0.1:9/v1"})) as gateway:
        got = await gateway.call("GET", "/v1/models/a/m")
        unknown = await gateway.call("GET", "/v1/models/a/none")
    assert (got.status, got.json) == (200, line("a/m"))
    assert (unknown.status, unknown.error["code"], unknown.error["param"]) == (
        404,
        "model_not_found",
        "model",
    )


async def test_anthropic_shape_is_paged() -> None:
    async with serving(aliased(table({"a": "http://127.0.0.1:9/v1"}), 21)) as gateway:
        first = (await gateway.call("GET", "/v1/models", headers=ANTHROPIC)).json
        rest = (await gateway.call("GET", f"/v1/models?after_id={first['last_id']}", headers=ANTHROPIC)).json
        back = (await gateway.call("GET", "/v1/models?before_id=alias-03&limit=2", headers=ANTHROPIC)).json
        bad = await gateway.call("GET", "/v1/models?limit=0", headers=ANTHROPIC)
    assert (len(first["data"]), first["has_more"], first["first_id"]) == (20, True, "a/m")
    assert first["data"][0] == {
        "type": "model",
        "id": "a/m",
        "display_name": "a/m",
        "created_at": "1970-01-01T00:00:00Z",
    }
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (
        ["alias-19", "alias-20", "pool"],
        False,
    )
    assert ([one["id"] for one in back["data"]], back["has_more"]) == (["alias-01", "alias-02"], True)
    assert (bad.status, bad.json["type"], bad.error["type"]) == (400, "error", "invalid_request_error")


async def test_list_needs_a_key() -> None:
    async with serving(table({"a": "http://127.0.0.1:9/v1"})) as gateway:
        got = await gateway.call("GET", "/v1/models", headers={"authorization": "Bearer nope"})
    assert (got.status, got.error["code"], got.headers["x-should-retry"]) == (401, "invalid_api_key", "false")
