"""Signed requests: as AWS's own client signs them, where there is an access key, without its secret."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import botocore.session
import pytest
import time_machine
from botocore.awsrequest import AWSResponse

from routing import checks, models, refusals, services, signing, snapshot
from routing.kinds import KINDS
from routing.services import Actor
from routing.sigv4 import Signer
from routing.types import Provider
from routing.upstreams import account_headers, scrub
from tests import factories

ACCESS_KEY, SECRET, TOKEN = (
    "AKIA0123456789ABCDEF",
    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "session//token+==",
)
NEEDED = 'the option "region" is required for the type bedrock without a base_url, such as us-east-1'
MALFORMED = 'the option "region" must be the name of a region, such as us-east-1'
BASE = "https://bedrock-runtime.eu-west-1.amazonaws.com"
NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)


def provider(key=f"{ACCESS_KEY}:{SECRET}", kind="bedrock", base_url=BASE, **options) -> Provider:
    return Provider("b", kind, base_url, api_key=key, options=options)


def signed_by_amazon(model: str, token: str | None, endpoint: str | None = None):
    """A request that AWS's own client has signed, caught before it is sent."""
    session = botocore.session.Session()
    session.set_credentials(ACCESS_KEY, SECRET, token)
    client = session.create_client("bedrock-runtime", region_name="eu-west-1", endpoint_url=endpoint)
    caught = []

    def catch(request, **_):
        caught.append(request)
        return AWSResponse(request.url, 200, {}, Empty())

    client.meta.events.register("before-send.bedrock-runtime.ConverseStream", catch)
    client.converse_stream(modelId=model, messages=[{"role": "user", "content": [{"text": "hé"}]}])
    (request,) = caught
    return request


class Empty:
    """The body of an answer that never came."""

    content = b""

    def stream(self, *_):
        return iter(())


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize(
    "model",
    [
        "anthropic.claude-3-haiku-20240307-v1:0",
        "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/ab12.x~y-z",
    ],
)
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:8123"])
def test_signature_is_the_one_that_amazons_client_makes(model, token, endpoint):
    """The path is signed as it is sent, encoded once more: Bedrock's own client decides what is right."""
    with time_machine.travel(NOW, tick=False):
        theirs = signed_by_amazon(model, token, endpoint)
        headers = {"content-type": "application/json", "accept": "x", "traceparent": "t"}
        key = f"{ACCESS_KEY}:{SECRET}" + (f":{token}" if token else "")
        signing.sign(provider(key), "POST", theirs.url, headers, theirs.body)
    assert headers["authorization"] == theirs.headers["Authorization"].decode()
    assert headers["x-amz-date"] == "20261125T123000Z"
    assert headers.get("x-amz-security-token") == token
    assert (headers["accept"], headers["traceparent"]) == ("x", "t")


def test_key_is_derived_anew_every_day():
    """A worker lives for weeks, and so does its signer."""
    found = []
    kept, request = Signer((ACCESS_KEY, SECRET), "bedrock", "eu-west-1"), ("POST", BASE, "a", b"{}")
    for day in (25, 26, 25):
        with time_machine.travel(datetime(2026, 11, day, tzinfo=UTC), tick=False):
            fresh = Signer((ACCESS_KEY, SECRET), "bedrock", "eu-west-1").sign(*request)
            assert kept.sign(*request) == fresh
            found.append(fresh["authorization"])
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    ("one", "headers"),
    [
        (provider(), {}),
        (provider("ABSKQmVkcm9ja0FQSUtleS1mb28="), {"authorization": "Bearer ABSKQmVkcm9ja0FQSUtleS1mb28="}),
        (provider("id:part", "openai"), {"authorization": "Bearer id:part"}),
    ],
    ids=["access key", "bearer key", "another kind"],
)
def test_credential_is_sent_unless_it_signs(one, headers):
    assert account_headers(one) == headers
    before = {"content-type": "a", **headers}
    after = dict(before)
    signing.sign(one, "POST", f"{BASE}/model/m/converse", after, b"{}")
    assert (after == before) is bool(headers)


@pytest.mark.parametrize(
    ("one", "problem"),
    [
        (provider(), ""),
        (provider(f"{ACCESS_KEY}:{SECRET}:{TOKEN}"), ""),
        (provider("ABSKkey"), ""),
        (provider(None), ""),
        (provider(base_url="https://bedrock.internal", region="us-gov-west-1"), ""),
        (provider("a:b", "openai"), ""),
        (
            provider(f"{ACCESS_KEY}:"),
            "An access key has the form ACCESS_KEY_ID:SECRET or ACCESS_KEY_ID:SECRET:SESSION_TOKEN.",
        ),
        (
            provider("a:b:c:d"),
            "An access key has the form ACCESS_KEY_ID:SECRET or ACCESS_KEY_ID:SECRET:SESSION_TOKEN.",
        ),
        (
            provider(base_url="https://bedrock.internal"),
            "An access key signs for a region: set the option region, such as us-east-1.",
        ),
    ],
)
def test_problem_with_a_credential(one, problem):
    assert signing.problem(one) == problem


@pytest.mark.parametrize(
    ("base_url", "options", "where"),
    [
        (BASE, {}, "eu-west-1"),
        (BASE, {"region": "us-east-1"}, "us-east-1"),
        ("https://vpce-0a-1b.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com", {}, "ap-southeast-2"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", {}, "us-gov-west-1"),
        ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn", {}, "cn-north-1"),
        ("https://bedrock-runtime.us-east-1.api.aws", {}, "us-east-1"),
    ],
)
def test_region_is_the_option_or_what_the_host_says(base_url, options, where):
    headers: dict[str, str] = {}
    signing.sign(
        provider(base_url=base_url, **options), "POST", f"{base_url}/model/m/converse", headers, b"{}"
    )
    assert headers["authorization"].split("/")[2] == where


@pytest.mark.parametrize(
    ("base_url", "options", "problem"),
    [
        ("", {"region": "us-east-1"}, ""),
        (BASE, {}, ""),
        ("", {}, NEEDED),
        ("", {"region": "evil.example/"}, MALFORMED),
        (BASE, {"region": "Frankfurt"}, MALFORMED),
    ],
)
def test_problem_with_a_region(base_url, options, problem):
    kind = KINDS["bedrock"]
    assert refusals.region(kind, base_url or kind.default_base_url, options) == problem


def test_parts_of_an_access_key_are_taken_out_of_texts():
    key = f"{ACCESS_KEY}:{SECRET}:{TOKEN}"
    text = f"The credential {ACCESS_KEY} with {SECRET} and {TOKEN}, or {key}; ASIA0123456789ABCDEF."
    hidden = "The credential [redacted] with [redacted] and [redacted], or [redacted]; [redacted]."
    assert scrub(text, key, BASE) == hidden


def test_library_is_imported_for_access_keys_only():
    code = (
        "import sys\n"
        "from routing import signing\n"
        "from routing.types import Provider\n"
        "made = [Provider('b', 'bedrock', 'https://b.eu-west-1.x', api_key=key) for key in ('k', 'a:b')]\n"
        "bearer, signs = made\n"
        "headers = {}\n"
        "signing.problem(bearer), signing.sign(bearer, 'POST', 'https://b', headers, b'')\n"
        "print('botocore' in sys.modules, headers)\n"
        "print(repr(signing.problem(signs)), 'botocore' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False {}\n'' True\n"


# In the table and in the configuration


@pytest.fixture
def without_library(monkeypatch):
    """As where ``requirements/bedrock.txt`` is not installed."""
    signing._signer.cache_clear()
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    monkeypatch.delitem(sys.modules, "routing.sigv4", raising=False)
    yield
    signing._signer.cache_clear()


def load(settings, **fields):
    settings.GATEWAY_SECRET_ENVIRONMENT = {"AWS_API_KEY": f"{ACCESS_KEY}:{SECRET}"}
    values = {"kind": "bedrock", "base_url": "", "credential_ref": "${AWS_API_KEY}", **fields}
    factories.ProviderFactory(name="aws", **values)
    return snapshot.load()


@pytest.mark.django_db
def test_address_has_the_providers_region(settings):
    found = load(settings, options={"region": "eu-west-1"}).providers["aws"]
    assert (found.base_url, found.credential_error) == (BASE, "")


@pytest.mark.django_db
@pytest.mark.usefixtures("without_library")
def test_missing_library_makes_the_credential_unusable(settings):
    """The provider says so everywhere, and others serve: no request fails first."""
    found = load(settings, options={"region": "eu-west-1"}).providers["aws"]
    assert found.credential_error == (
        "Requests with an access key are signed, and the package for it is missing. "
        "Install botocore: pip install --require-hashes -r requirements/bedrock.txt"
    )
    (message,) = checks.check_signing(None, databases=["default"])
    assert (message.id, message.msg) == (
        "sluice.W003",
        f"The provider aws cannot be called. {found.credential_error}",
    )


@pytest.mark.django_db
def test_check_is_silent_where_requests_can_be_signed(settings):
    load(settings, options={"region": "eu-west-1"})
    factories.ProviderFactory(name="other")
    assert checks.check_signing(None, databases=["default"]) == []
    assert checks.check_signing(None) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, NEEDED),
        ({"region": "x"}, MALFORMED),
    ],
)
def test_bad_region_is_refused_when_it_is_written_and_left_out_of_the_table(settings, options, problem):
    with pytest.raises(services.Invalid) as caught:
        services.save_provider(
            name="new",
            values={"kind": "bedrock", "base_url": "", "options": options},
            actor=Actor("ada"),
            source="api",
        )
    assert caught.value.errors == {"options": [refusals.sentence(problem)]}
    assert not models.Provider.objects.filter(name="new").exists()
    (skipped,) = load(settings, options=options).skipped
    assert (skipped.object, skipped.problem) == ("provider/aws", f"Its options cannot be used: {problem}.")
