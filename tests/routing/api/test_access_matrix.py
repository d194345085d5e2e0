"""Every address of the admin API, by every method, as everybody: the table says who may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from tests import factories
from tests.routing.api.conftest import OPERATOR, VIEWER, Script, person

READ = {"GET": "view"}
COLLECTION = {"GET": "view", "POST": "configure"}
ITEM = {"GET": "view", "PUT": "configure", "PATCH": "configure", "DELETE": "configure"}
KEY = {"GET": "view", "PATCH": "configure", "DELETE": "configure"}

# What each address takes, and the right that it needs. A new one without its row fails the first test.
TABLE = {
    "routing-state": {"GET": "view", "PUT": "operate", "DELETE": "operate"},
    "routing/model-pools": READ,
    "routing/explain": {"POST": "view"},
    "routing/revisions": READ,
    "routing/revisions/<int:number>": READ,
    "routing/revisions/<int:number>/revert": {"POST": "configure"},
    "routing/revisions/<int:number>/export": READ,
    "providers/status": READ,
    "providers/probe": {"POST": "operate"},
    "requests": READ,
    "requests/<name:name>": READ,
    "api/": READ,
    "api/schema": READ,
    "api/providers": COLLECTION,
    "api/providers/<name:name>": ITEM,
    "api/pools": COLLECTION,
    "api/pools/<name:name>": ITEM,
    "api/aliases": COLLECTION,
    "api/aliases/<name:name>": ITEM,
    "api/defaults": {"GET": "view", "PUT": "configure", "PATCH": "configure"},
    "api/client-keys": COLLECTION,
    "api/client-keys/<int:number>": KEY,
    "api/admin-tokens": COLLECTION,
    "api/admin-tokens/<int:number>": KEY,
}
# Without a view of the API: they lead to Django admin's own pages.
LEAD_ON = {"api", "api/session/login", "api/session/logout"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CASES = [(route, method) for route in TABLE for method in METHODS]


def api_patterns() -> Iterator[tuple[str, URLPattern]]:
    """Every pattern below ``/admin/`` that is not Django admin's."""

    def walk(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, URLPattern]]:
        for entry in resolver.url_patterns:
            route = prefix + str(entry.pattern)
            if isinstance(entry, URLResolver):
                if getattr(entry, "namespace", None) != "admin":
                    yield from walk(entry, route)
            elif route.startswith("admin/"):
                yield route.removeprefix("admin/"), entry

    return walk(get_resolver(), "")


def address(route: str) -> str:
    return "/admin/" + route.replace("<int:number>", "1").replace("<name:name>", "east")


def test_every_address_has_its_row_and_both_slash_forms():
    found = dict(api_patterns())
    views = {
        route
        for route, pattern in found.items()
        if issubclass(getattr(pattern.callback, "cls", object), APIView)
    }
    plain = {route for route in views if route == "api/" or not route.endswith("/")}

    assert plain == set(TABLE)
    assert views - plain == {f"{route}/" for route in plain if route != "api/"}
    assert set(found) - views == LEAD_ON


def test_every_method_of_a_view_has_its_row():
    offered = {
        route: {method.upper() for method in METHODS if hasattr(pattern.callback.cls, method.lower())}
        for route, pattern in api_patterns()
        if route in TABLE
    }

    assert offered == {route: set(methods) for route, methods in TABLE.items()}


@pytest.fixture
def people(ada, ben, expired, client_key, nobody, pools) -> dict[str, Script]:
    factories.ClientKeyFactory()
    return {
        "read-write token": ada,
        "read-only token": ben,
        "superuser": person("root", is_superuser=True),
        "operator": person("olga", *OPERATOR),
        "viewer": person("vera", *VIEWER),
        "staff without permissions": person("mallory"),
        "expired token": expired,
        "client key": client_key,
        "nobody": nobody,
    }


MAY = {
    "read-write token": {"view", "operate", "configure"},
    "read-only token": {"view"},
    "superuser": {"view", "operate", "configure"},
    "operator": {"view", "operate"},
    "viewer": {"view"},
    "staff without permissions": set(),
}
UNKNOWN = {"expired token", "client key", "nobody"}


def expected(who: str, route: str, method: str) -> str:
    right = TABLE[route].get(method)
    if who in UNKNOWN:
        return "signs in" if route == "api/" and who == "nobody" else "unauthenticated"
    if right is None:
        return "no such method" if "view" in MAY[who] else "forbidden"
    return "served" if right in MAY[who] else "forbidden"


def got(response) -> str:
    words = {401: "unauthenticated", 403: "forbidden", 405: "no such method", 302: "signs in"}
    return words.get(response.status_code, "served" if response.status_code < 500 else "broken")


@pytest.mark.parametrize(("route", "method"), CASES)
def test_everybody_may_what_the_table_says(people, route, method):
    body = None if method in {"GET", "DELETE"} else {}
    answers = {who: ask(method, address(route), body, Accept="*/*") for who, ask in people.items()}

    assert {who: got(response) for who, response in answers.items()} == {
        who: expected(who, route, method) for who in people
    }
    refused = {who: one.json()["error"] for who, one in answers.items() if one.status_code in {401, 403}}
    for who, error in refused.items():
        code = "invalid_admin_token" if answers[who].status_code == 401 else "permission_denied"
        assert (error["code"], set(error)) == (code, {"message", "type", "param", "code"})


def test_who_configures_pools_may_not_make_himself_a_token(pools):
    olaf = person("olaf", *OPERATOR, "change_modelpool", "change_provider")

    assert olaf("POST", "/admin/api/admin-tokens", {"name": "mine"}).status_code == 403
    assert olaf("PATCH", "/admin/api/aliases/fast", {"target": "weighted"}).status_code == 200


def test_a_session_writes_only_with_the_csrf_token(pools, django_user_model):
    client = Client(enforce_csrf_checks=True)
    client.force_login(django_user_model.objects.create_superuser("root"))
    ask = Script(client=client)
    switch = {"kind": "provider", "provider_name": "east", "enabled": False}

    assert ask("PUT", "/admin/routing-state", switch).json()["error"]["code"] == "permission_denied"
    client.get("/admin/login/")
    token = client.cookies["csrftoken"].value if "csrftoken" in client.cookies else ""
    assert token or client.get("/admin/password_change/").status_code == 200
    token = client.cookies["csrftoken"].value
    assert ask("PUT", "/admin/routing-state", switch, **{"X-CSRFToken": token}).status_code == 200


def test_a_disabled_token_is_refused_at_once(ada, pools):
    assert ada("GET", "/admin/routing-state").status_code == 200
    number = ada.get("/admin/api/admin-tokens")[0]["id"]
    ada("DELETE", f"/admin/api/admin-tokens/{number}")

    assert ada("GET", "/admin/routing-state").status_code == 401


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "path",
    ["/admin/", "/admin/nothing", "/admin/routing/modelpool/", "/admin/login/", "/admin/api/pools/a%00b"],
)
def test_scripts_get_json_everywhere(path, method, ada, client_key):
    csrf = Client(enforce_csrf_checks=True, raise_request_exception=False)
    ada.client = client_key.client = csrf
    found, refused = ada(method, path), client_key(method, path)

    assert (found.status_code, found.json()["error"]["code"]) == (404, "unknown_url")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_admin_token")


def test_a_fault_is_json_for_scripts_and_a_page_for_people(ada, nobody, monkeypatch):
    monkeypatch.setattr("routing.api.inspection.live.ask", lambda question: 1 / 0)
    answer = ada("GET", "/admin/routing/model-pools")

    assert (answer.status_code, answer.json()) == (
        500,
        {
            "error": {
                "message": "Internal Server Error.",
                "type": "api_error",
                "param": None,
                "code": "internal_error",
            }
        },
    )


def test_a_database_that_does_not_answer_is_said_so(ada, monkeypatch):
    from django.db import OperationalError

    def down(question):
        raise OperationalError("gone")

    monkeypatch.setattr("routing.api.inspection.live.ask", down)
    answer = ada("GET", "/admin/routing/model-pools")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
