"""Replays every recording of Bedrock's Converse format for clients of chat completions."""

from __future__ import annotations

import json

import pytest

from proxying.adapters import ADAPTERS
from proxying.adapters.base import Target
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.conformance.recordings import Recording, recordings

pytestmark = pytest.mark.recordings

ADAPTER = ADAPTERS["bedrock"]
ALL = recordings("bedrock-converse")
BASE = "https://bedrock-runtime.us-east-1.amazonaws.com"
ERRORS = [pytest.param(one, id=one.name) for one in ALL if one.status >= 400]
EXPECTED_ERRORS = {
    "bedrock/error-400-context-length": (400, "context_length_exceeded", False),
    "bedrock/error-403-auth": (403, None, True),
}


def target_of(recording: Recording) -> Target:
    model = recording.path.removeprefix("/model/").removesuffix("/converse")
    return Target(Provider("b", "bedrock", BASE), model)


@pytest.mark.parametrize("recording", ERRORS)
def test_request_is_the_recorded_one(recording):
    """An empty ``inferenceConfig`` says nothing; ours is left out."""
    wanted = json.loads(recording.request)
    chat = [{"role": one["role"], "content": one["content"][0]["text"]} for one in wanted["messages"]]
    body = parse_body(json.dumps({"model": "pool", "messages": chat}).encode(), Endpoint.CHAT)
    sent = ADAPTER.build_request(body, target_of(recording), {})
    assert {**json.loads(sent.body), "inferenceConfig": {}} == wanted
    assert sent.url.replace("%3A", ":") == BASE + recording.path


@pytest.mark.parametrize("recording", ERRORS)
def test_error_keeps_its_status_and_names_its_cause(recording):
    """Recorders kept no ``x-amzn-errortype``: the words have to do."""
    facts = ADAPTER.parse_error(recording.status, recording.headers, recording.response, 0)
    assert (facts.status, facts.code, facts.refused_credential) == EXPECTED_ERRORS[recording.name]
    assert facts.message == json.loads(recording.response)["message"]
