from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import discovery
from routing.discovery import ProbeResult
from routing.types import DiscoveryState, InventoryMode, ModelInfo, Provider, Switch

KEYED = Provider("p", "openai", "https://up.example/v1", api_key="key-123456")
OPEN = replace(KEYED, kind="vllm", api_key=None)
FALLBACK, ALLOWLIST = InventoryMode.FALLBACK, InventoryMode.ALLOWLIST
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "id", "models", "error", "has_more", "last_id"]), inner)
    ),
    max_leaves=8,
)


def read(body: bytes | str, status: int = 200, provider: Provider = KEYED) -> ProbeResult:
    return discovery.read_page(provider, status, body.encode() if isinstance(body, str) else body).result


@pytest.mark.parametrize(
    ("raw", "rows"),
    [
        (
            '{"data":[{"id":"a","created":5,"owned_by":"o"},{"id":"b"}]}',
            {"a": ModelInfo(5, "o"), "b": ModelInfo()},
        ),
        ('[{"id":"a","organization":"Meta","created":0}]', {"a": ModelInfo(0, "Meta")}),
        ('{"data":[{"id":"models/gemini-x"}]}', {"gemini-x": ModelInfo()}),
        ('{"models":[{"name":"llama"}]}', {"llama": ModelInfo()}),
        ('{"data":[{"id":""},{"id":3},"x",{"created":true,"id":"c"}]}', {"c": ModelInfo()}),
        (
            '{"data":[{"id":"a","created":1700000000.5},{"id":"b","created":1e30}]}',
            {"a": ModelInfo(1_700_000_000), "b": ModelInfo()},
        ),
        ('{"data":[{"id":"a\\u0000b"},{"id":"c","owned_by":"\\u0000"}]}', {"c": ModelInfo()}),
        (json.dumps({"data": [{"id": "m" * 301}, {"id": "m" * 300}]}), {"m" * 300: ModelInfo()}),
        ('\ufeff{"data":[]}', {}),
    ],
)
def test_read_page_reads_vendors_lists(raw, rows):
    assert read(raw) == ProbeResult(DiscoveryState.OK, rows, credential_accepted=True)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ("", "The models list is not JSON."),
        ("<html>", "The models list is not JSON."),
        ("{}", "The answer is not a list of models."),
        ('{"data":{}}', "The answer is not a list of models."),
        ("3", "The answer is not a list of models."),
    ],
)
def test_read_page_refuses_what_is_no_list(raw, error):
    assert read(raw) == ProbeResult(DiscoveryState.FAILED, error=error)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_provider_without_a_list_has_an_unknown_inventory(status):
    result = read("{}", status)

    assert (result.state, result.error) == (DiscoveryState.UNSUPPORTED, "")
    assert result.note == f"There is no models list at its base URL (HTTP {status}): what it has is unknown."


@pytest.mark.parametrize(
    ("status", "body", "error", "accepted"),
    [
        (401, "", "It refused the gateway's credential (HTTP 401).", False),
        (
            401,
            '{"error":{"message":"Incorrect API key provided: sk-ab***yz."}}',
            "It refused the gateway's credential (HTTP 401): Incorrect API key provided: [redacted]",
            False,
        ),
        (403, "", "It does not let the gateway's credential list models (HTTP 403).", None),
        (429, "", "It limits the rate of requests (HTTP 429).", None),
        (302, "", "It redirects (HTTP 302), which is not followed; check the base URL.", None),
        (500, '{"error":"db\\n at https://up.example/v1"}', "It answered HTTP 500: db at [redacted]", None),
        (502, "<html>bad</html>", "It answered HTTP 502.", None),
        (400, '{"message":"key-123456 is odd"}', "It answered HTTP 400: [redacted] is odd", None),
    ],
)
def test_a_refusal_says_what_happened_without_secrets(status, body, error, accepted):
    assert read(body, status) == ProbeResult(DiscoveryState.FAILED, error=error, credential_accepted=accepted)


def test_a_long_error_is_cut():
    assert read(json.dumps({"error": "x " * 500}), 500).error == "It answered HTTP 500: " + "x " * 99 + "x…"


@pytest.mark.parametrize(
    ("provider", "accepted"),
    [(KEYED, True), (OPEN, None), (replace(KEYED, kind="openrouter"), None)],
)
def test_a_list_says_something_of_the_credential_only_where_it_is_needed(provider, accepted):
    """A list that anyone gets must not close the circuit of a refused key."""
    assert read('{"data":[]}', provider=provider).credential_accepted is accepted


def test_a_list_in_pages_goes_on_where_it_says():
    page = discovery.read_page(KEYED, 200, b'{"data":[{"id":"a"}],"has_more":true,"last_id":"a/1"}')
    versioned = replace(KEYED, options={"api_version": "1"})
    other = discovery.read_page(versioned, 200, b'{"data":[],"has_more":true,"last_id":"a"}')
    last = discovery.read_page(KEYED, 200, b'{"data":[],"has_more":false,"last_id":"a"}')

    assert page.next_url == "https://up.example/v1/models?after_id=a%2F1"
    assert other.next_url == "https://up.example/v1/models?api-version=1&after_id=a"
    assert last.next_url is None


def test_pages_are_joined_and_a_failed_one_fails_all():
    one, two = read('{"data":[{"id":"a"}]}'), read('{"data":[{"id":"b"}]}')

    both = discovery.joined(KEYED, one, two)
    broken = discovery.joined(KEYED, one, read("", 500))

    assert (list(both.models), both.credential_accepted) == (["a", "b"], True)
    assert broken == ProbeResult(
        DiscoveryState.FAILED, error="A later page of the models list failed: It answered HTTP 500."
    )


def test_more_models_than_anyone_has_are_refused(monkeypatch):
    monkeypatch.setattr(discovery, "MOST_MODELS", 1)

    result = discovery.joined(KEYED, read('{"data":[{"id":"a"}]}'), read('{"data":[{"id":"b"}]}'))

    assert (result.state, result.error) == (DiscoveryState.FAILED, "It lists more than 1 models.")


@pytest.mark.parametrize(
    ("provider", "mode", "why"),
    [
        (KEYED, FALLBACK, ""),
        (
            replace(KEYED, switch=Switch(enabled=False)),
            FALLBACK,
            "It is switched off: a disabled provider is never called.",
        ),
        (replace(KEYED, switch=Switch(enabled=False, expires_at=50.0)), FALLBACK, ""),
        (
            KEYED,
            ALLOWLIST,
            "The inventory mode is allowlist: its configured models are taken as given.",
        ),
        (
            replace(KEYED, credential_error="A_KEY is not set."),
            FALLBACK,
            "It has no usable credential: A_KEY is not set.",
        ),
    ],
)
def test_why_a_provider_is_not_asked(provider, mode, why):
    """T23, T28: a provider that is off is never called, nor is any with an allow-list."""
    assert discovery.why_not_asked(provider, mode, 100.0) == why


@pytest.mark.parametrize(
    ("provider", "note"),
    [
        (replace(KEYED, kind="perplexity"), "Perplexity has no models list."),
        (
            replace(KEYED, base_url="https://x/openai/deployments/{model}"),
            "Its base URL leads to single models; it has no list of them.",
        ),
    ],
)
def test_kinds_and_addresses_without_a_list_need_no_call(provider, note):
    assert discovery.without_asking(provider) == ProbeResult(DiscoveryState.UNSUPPORTED, note=note)


def test_others_are_asked_with_their_credential():
    assert discovery.without_asking(KEYED) is None
    assert discovery.request_headers(KEYED) == {
        "accept": "application/json",
        "user-agent": "sluice",
        "authorization": "Bearer key-123456",
    }


@given(st.integers(100, 599), st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_read_page_never_raises(status, raw):
    page = discovery.read_page(KEYED, status, raw)
    assert page.result.state in {DiscoveryState.OK, DiscoveryState.FAILED, DiscoveryState.UNSUPPORTED}
    assert (page.result.error == "") is (page.result.state is not DiscoveryState.FAILED)


GEMINI = Provider("g", "gemini_native", "", api_key="key-123456")


def test_geminis_own_list_is_asked_for_with_its_header():
    assert discovery.models_url(GEMINI) == "https://generativelanguage.googleapis.com/v1beta/models"
    assert discovery.request_headers(GEMINI)["x-goog-api-key"] == "key-123456"


def test_geminis_own_list_is_read_page_by_page():
    body = b'{"models":[{"name":"models/gemini-x","version":"1"}],"nextPageToken":"a b"}'
    page = discovery.read_page(GEMINI, 200, body)
    assert page.result == ProbeResult(DiscoveryState.OK, {"gemini-x": ModelInfo()}, credential_accepted=True)
    assert page.next_url == discovery.models_url(GEMINI) + "?pageToken=a%20b"


def test_geminis_400_for_a_bad_key_is_a_refused_credential():
    error = {"message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}
    found = read(json.dumps({"error": error}), 400, GEMINI)
    assert (found.credential_accepted, found.error) == (
        False,
        "It refused the gateway's credential (HTTP 400): API key not valid.",
    )
