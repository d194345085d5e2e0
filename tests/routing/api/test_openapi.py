"""The OpenAPI description: whole, offline, and true of what the API answers."""

from __future__ import annotations

import re
from datetime import timedelta
from io import BytesIO

import pytest
import requests
import schemathesis
from django.contrib.staticfiles import finders
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from hypothesis import HealthCheck, Phase, given, settings
from requests.adapters import HTTPAdapter
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3 import HTTPResponse

from routing.models import AdminToken
from tests import factories
from tests.routing.api.conftest import Script, person
from tests.routing.api.test_access_matrix import TABLE, address

ANSWERS = [status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 12


@pytest.fixture(scope="module")
def description() -> dict:
    return SchemaGenerator().get_schema(request=None, public=True)


def templated(route: str) -> str:
    """An address as the description has it."""
    return "/admin/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)


# The pages of Swagger and the description itself are not described.
OPERATIONS = [
    (templated(route), method)
    for route, methods in TABLE.items()
    if route not in {"api/", "api/schema"}
    for method in methods
]


def test_description_is_valid_and_names_every_operation(description):
    validate_schema(description)
    described = {
        (path, method.upper()) for path, methods in description["paths"].items() for method in methods
    }

    assert described == set(OPERATIONS)
    ids = [operation["operationId"] for one in description["paths"].values() for operation in one.values()]
    assert len(ids) == len(set(ids))


def test_swagger_needs_nothing_from_elsewhere_and_no_inline_script(db):
    root = person("root", is_superuser=True)
    page = root.client.get("/admin/api/").content.decode()
    script = root.client.get("/admin/api/?script=")
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert [one for one in addresses if one.startswith(("http", "//"))] == []
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page) == []
    assert re.findall(r"\son\w+=", page) == []
    assert "/admin/api/schema" in script.content.decode()
    assert finders.find("drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js")


@pytest.mark.parametrize("route", [route for route, methods in TABLE.items() if "GET" in methods])
def test_browsable_pages_have_no_inline_script(pools, route):
    root = person("root", is_superuser=True)
    root("PUT", "/admin/routing-state", {"kind": "provider", "provider_name": "east", "enabled": False})
    answer = root.client.get(
        address(route).replace("pools/east", "pools/chat"), headers={"Accept": "text/html"}
    )
    page = answer.content.decode()
    inline = [tag for tag in re.findall(r"<script[^>]*>", page) if "src=" not in tag and "json" not in tag]

    assert answer.status_code < 500
    assert inline == []


def call(ask: Script, case: schemathesis.Case) -> requests.Response:
    """Send a made-up request through Django's test client, in this test's transaction."""
    sent = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    given_back = ask.client.generic(
        sent.method,
        sent.path_url,
        sent.body or b"",
        content_type=sent.headers.get("Content-Type", ""),
        headers={"Accept": "application/json", **ask.headers},
    )
    raw = HTTPResponse(
        BytesIO(given_back.content),
        given_back.headers,
        given_back.status_code,
        preload_content=False,
        reason=given_back.reason_phrase,
    )
    answer = HTTPAdapter().build_response(sent, raw)
    answer.elapsed = timedelta()
    return answer


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_nothing_is_answered_that_is_not_described(ada, pools, description, path, method):
    """Made-up requests, good and bad: no server error, no answer that the description does not know."""
    key = factories.ClientKeyFactory()
    factories.RequestRecordFactory(caller_id=str(key.pk))
    ada("PUT", "/admin/routing-state", {"kind": "provider", "provider_name": "east", "enabled": False})
    statuses = []

    @given(case=schemathesis.openapi.from_dict(description)[path][method].as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case):
        case.query = {name: value for name, value in (case.query or {}).items() if name != "format"}
        response = call(ada, case)
        case.validate_response(response, checks=ANSWERS)
        statuses.append(response.status_code)
        AdminToken.objects.filter(name="ada").update(enabled=True, read_only=False, expires_at=None)

    ask()
    assert [status for status in statuses if status >= 500 or status in {401, 403}] == []
