"""The forms in which operators write a base URL, and what requests use."""

from __future__ import annotations

import pytest

from routing import refusals, snapshot
from routing.addresses import settled
from routing.discovery import read_page, without_asking
from routing.kinds import KINDS
from routing.types import DiscoveryState, Endpoint, Provider
from routing.upstreams import speaks, url
from tests import factories

HOST = "https://res.openai.azure.com"
DATED, CLASSIC = {"api_version": "2025-04-01-preview"}, {"api_version": "2024-10-21"}


@pytest.mark.parametrize(
    ("base_url", "options", "address", "found"),
    [
        (f"{HOST}/openai/v1/", {}, f"{HOST}/openai/v1", {}),
        (f"{HOST}/openai/v1", {"api_version": "preview"}, f"{HOST}/openai/v1", {"api_version": "preview"}),
        (f"{HOST}/openai/v1", DATED, f"{HOST}/openai/v1", {}),
        (HOST, {}, f"{HOST}/openai/v1", {}),
        (f"{HOST}/openai", {"a": "b"}, f"{HOST}/openai/v1", {"a": "b"}),
        (HOST, DATED, f"{HOST}/openai/deployments/{{model}}", DATED),
        (f"{HOST}/openai/", DATED, f"{HOST}/openai/deployments/{{model}}", DATED),
        (f"{HOST}/openai/deployments/{{model}}", {}, f"{HOST}/openai/deployments/{{model}}", CLASSIC),
        (f"{HOST}/openai/deployments/gpt-5", {}, f"{HOST}/openai/deployments/gpt-5", CLASSIC),
        (f"{HOST}/openai/deployments/gpt-5", DATED, f"{HOST}/openai/deployments/gpt-5", DATED),
        ("https://proxy.example/azure", DATED, "https://proxy.example/azure", DATED),
    ],
)
def test_address_of_azure(base_url, options, address, found):
    assert settled(KINDS["azure_openai"], base_url, options) == (address, found)


def test_other_kinds_keep_their_address_and_version():
    assert settled(KINDS["openai"], "", DATED) == ("https://api.openai.com/v1", DATED)
    assert settled(KINDS["openai_compatible"], f"{HOST}/openai", {}) == (f"{HOST}/openai", {})


@pytest.mark.parametrize(
    ("base_url", "options", "address", "has_responses"),
    [
        (HOST, {}, f"{HOST}/openai/v1/chat/completions", True),
        (
            HOST,
            DATED,
            f"{HOST}/openai/deployments/dep%2F1/chat/completions?api-version=2025-04-01-preview",
            False,
        ),
        (
            f"{HOST}/openai/deployments/gpt-5",
            {},
            f"{HOST}/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21",
            False,
        ),
    ],
)
@pytest.mark.django_db
def test_deployment_is_the_candidates_model(settings, base_url, options, address, has_responses):
    settings.GATEWAY_SECRET_ENVIRONMENT = {"AZURE_API_KEY": "k"}
    factories.ProviderFactory(
        name="az", kind="azure_openai", base_url=base_url, options=options, credential_ref="${AZURE_API_KEY}"
    )
    provider = snapshot.load().providers["az"]
    assert url(provider, "/chat/completions", "dep/1") == address
    assert speaks(provider, Endpoint.RESPONSES) is has_responses
    assert (without_asking(provider) is None) is has_responses


def test_list_of_what_could_be_deployed_is_no_inventory():
    """It accepts the key, and a deployment that it does not name can still be called."""
    provider = Provider("az", "azure_openai", f"{HOST}/openai/v1", api_key="k")
    result = read_page(provider, 200, b'{"data":[{"id":"gpt-5-2025-08-07"}]}').result
    assert (result.state, result.models, result.credential_accepted) == (DiscoveryState.UNSUPPORTED, {}, True)
    assert result.note == "Its list names what could be deployed, not what is: what it has is unknown."
    refused = read_page(provider, 401, b'{"error":{"code":"401","message":"Access denied"}}').result
    assert (refused.state, refused.credential_accepted) == (DiscoveryState.FAILED, False)


@pytest.mark.parametrize(
    ("base_url", "problem"),
    [
        (
            f"{HOST}/openai/deployments/d?api-version=2024-10-21",
            "must not have a query; its api-version is the option api_version",
        ),
        (f"{HOST}/openai/v1?a=b", "must not have a query or a fragment"),
        (
            f"{HOST}/openai/deployments/d/chat/completions",
            "must end before the endpoint, such as /chat/completions, which the gateway adds",
        ),
        (f"{HOST}/openai/deployments/{{model}}", ""),
    ],
)
def test_what_is_pasted_with_an_address_is_refused(base_url, problem):
    assert refusals.base_url(base_url) == problem
