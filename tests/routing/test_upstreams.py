from __future__ import annotations

from urllib.parse import quote

import pytest

from routing.types import Provider
from routing.upstreams import account_headers, scrub, url


def provider(kind="openai", base_url="https://up.example/v1", **values):
    return Provider("p", kind, base_url, **values)


@pytest.mark.parametrize(
    ("kind", "key", "headers"),
    [
        ("openai", "k", {"authorization": "Bearer k"}),
        ("openai", " k\n", {"authorization": "Bearer k"}),
        ("azure_openai", "k", {"api-key": "k"}),
        ("ollama", None, {}),
        ("of no kind", "k", {"authorization": "Bearer k"}),
    ],
)
def test_account_headers_follow_the_kind(kind, key, headers):
    assert account_headers(provider(kind, api_key=key)) == headers


def test_account_headers_name_the_account_of_the_options():
    options = {"organization": "org", "project": "proj", "api_version": "1"}

    assert account_headers(provider(options=options)) == {
        "openai-organization": "org",
        "openai-project": "proj",
    }


@pytest.mark.parametrize(
    ("base_url", "options", "model", "address"),
    [
        ("https://up.example/v1", {}, "", "https://up.example/v1/x"),
        ("https://up.example/v1/", {}, "", "https://up.example/v1/x"),
        ("", {}, "", "https://api.openai.com/v1/x"),
        ("https://a/{model}", {"api_version": "2024 1"}, "a/b", "https://a/a%2Fb/x?api-version=2024%201"),
    ],
)
def test_url_is_below_the_base(base_url, options, model, address):
    assert url(provider(base_url=base_url, options=options), "/x", model) == address


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key s3cr3t-value is bad", "key [redacted] is bad"),
        ("POST https://llm.internal:8443/v1/chat failed", "POST [redacted]/chat failed"),
        ("no route to llm.internal:8443", "no route to [redacted]"),
        ("Incorrect API key provided: sk-proj-****abcd.", "Incorrect API key provided: [redacted]"),
        ("header Bearer abcdef123456 refused", "header Bearer [redacted] refused"),
        ("AIzaSyA1234567890abc and gsk_abcdefghij1234", "[redacted] and [redacted]"),
        (
            "task-something-long and the xai-model and ask-me",
            "task-something-long and the xai-model and ask-me",
        ),
        ("see https://platform.openai.com/account", "see https://platform.openai.com/account"),
        ("HTTPS://LLM.Internal:8443/V1 is down", "[redacted] is down"),
        ("cannot resolve llm.internal.", "cannot resolve [redacted]."),
        ("a callm.internal and llm.internal.example", "a callm.internal and llm.internal.example"),
        ("?to=https%3a%2F%2Fllm.internal%3A8443%2Fv1&x", "?to=[redacted]&x"),
    ],
)
def test_scrub_takes_keys_and_addresses_out(text, clean):
    assert scrub(text, "s3cr3t-value", "https://llm.internal:8443/v1") == clean


@pytest.mark.parametrize("key", ["a+b/c=1234", "ä-key-1234", "\udcff-key-1234"])
def test_scrub_takes_keys_out_of_query_strings(key):
    for safe in ("", "/"):
        text = f"GET /v1/models?key={quote(key, safe=safe, errors='replace')}&page=1 failed"
        assert scrub(text, key, "http://vllm:8000/v1") == "GET /v1/models?key=[redacted]&page=1 failed"


def test_scrub_leaves_a_host_of_one_word_in_sentences():
    assert scrub("vllm says no; vllm:8000", None, "http://vllm:8000/v1") == "vllm says no; [redacted]"
