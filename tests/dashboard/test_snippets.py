"""Commands to copy, and advice: what a shell and a person make of them."""

from __future__ import annotations

import ast
import json
import shlex

import pytest

from dashboard.advice import advice
from dashboard.snippets import chat_curl, sdk_chat, stub_curl
from routing.types import Endpoint

BASE = "http://127.0.0.1:1/v1"
ODD = 'it\'s $HOME `a` "b" ünd'


def sent_by(command: str) -> tuple[str, dict]:
    """The address and the body that a shell would hand to curl."""
    words = shlex.split(command.replace("\\\n", ""))
    return next(word for word in words if word.startswith("http")), json.loads(words[-1])


def test_a_shell_sends_exactly_what_was_typed():
    body = {"model": ODD, "messages": [{"role": "user", "content": "a\nb 'c'"}]}
    assert sent_by(chat_curl(BASE, body)) == (f"{BASE}/chat/completions", body)


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("chat_completions", "/chat/completions"),
        ("completions", "/completions"),
        ("embeddings", "/embeddings"),
        ("responses", "/responses"),
        ("messages", "/messages"),
        ("count_tokens", "/messages/count_tokens"),
        ("images", "/images/generations"),
        ("moderations", "/moderations"),
        ("rerank", "/rerank"),
    ],
)
def test_a_record_becomes_a_request_to_its_endpoint(endpoint, path):
    assert Endpoint(endpoint)
    url, body = sent_by(stub_curl(BASE, endpoint, ODD))
    assert (url, body["model"], "stream" in body) == (BASE + path, ODD, False)
    assert sent_by(stub_curl(BASE, endpoint, ODD, streamed=True))[1]["stream"] is True


def test_an_endpoint_without_a_json_body_has_no_command():
    assert stub_curl(BASE, "audio_transcriptions", "m") == ""


def test_the_key_is_a_placeholder_that_the_shell_fills_in():
    assert '-H "Authorization: Bearer $SLUICE_API_KEY"' in chat_curl(BASE, {})
    assert 'api_key="sk-sluice-…"' in sdk_chat(BASE, "m")


def test_the_sdk_snippet_is_python_with_the_models_very_name():
    strings = [
        node.value for node in ast.walk(ast.parse(sdk_chat(BASE, ODD))) if isinstance(node, ast.Constant)
    ]
    assert ODD in strings


@pytest.mark.parametrize(
    ("code", "attempts", "begins"),
    [
        ("no_eligible_candidates", 0, "Every candidate is blocked"),
        ("context_length_exceeded", 1, "This is the provider's own answer"),
        ("missing_model", 0, "The request was refused before a provider was called"),
    ],
)
def test_advice_is_about_the_code_or_about_who_refused(code, attempts, begins):
    assert advice(code, attempts=attempts).startswith(begins)


def test_an_answer_that_broke_off_is_no_matter_of_configuration():
    assert "base URL" in advice("upstream_protocol_error", attempts=1)
    assert advice("upstream_protocol_error", attempts=1, cut=True).startswith("The provider broke off")
    assert advice("upstream_timeout", attempts=1, cut=True).startswith("The provider was too slow")
