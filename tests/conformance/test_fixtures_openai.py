"""Replays every recording of the OpenAI format through its adapter, for clients of the same dialect."""

from __future__ import annotations

import json

import pytest

from proxying.adapters import ADAPTERS, adapter_for
from proxying.adapters.base import Adapter, ClientBody, Target
from proxying.errors import UpstreamStatusError, render, render_event
from proxying.schemas import parse_body
from routing.discovery import read_page
from routing.types import Endpoint, Provider
from tests.conformance.recordings import Recording, recordings

pytestmark = pytest.mark.recordings

ADAPTER = ADAPTERS["openai"]
ENDPOINTS = {
    "/chat/completions": Endpoint.CHAT,
    "/completions": Endpoint.COMPLETIONS,
    "/embeddings": Endpoint.EMBEDDINGS,
    "/moderations": Endpoint.MODERATIONS,
    "/images/generations": Endpoint.IMAGES,
    "/responses": Endpoint.RESPONSES,
    "/audio/translations": Endpoint.TRANSLATIONS,
}
IN_STREAM_ERRORS = {
    "groq/stream-error-event-midstream": (400, "tool_use_failed"),
    "openrouter/stream-error-in-chunk": (400, "400"),
}
REFUSED_CREDENTIALS = ("error-401", "invalid-key", "insufficient-quota")


def endpoint_of(recording: Recording) -> Endpoint | None:
    return next((value for path, value in ENDPOINTS.items() if recording.path.endswith(path)), None)


def reason_not_replayed(recording: Recording) -> str:
    if recording.status >= 400 or recording.path.endswith("/models"):
        return ""
    return "" if endpoint_of(recording) else f"unknown path {recording.path}"


ALL = recordings("openai")
MISSING = {recording.name: reason for recording in ALL if (reason := reason_not_replayed(recording))}
REPLAYED = [recording for recording in ALL if recording.name not in MISSING]


def cases(wanted):
    chosen = [pytest.param(recording, id=recording.name) for recording in REPLAYED if wanted(recording)]
    return chosen or [pytest.param(None, id="not here")]


def is_models(recording):
    return recording.path.endswith("/models")


ERRORS = cases(lambda recording: recording.status >= 400)
MODELS = cases(lambda recording: is_models(recording) and recording.status == 200)
STREAMS = cases(lambda recording: recording.is_stream and recording.status == 200)
WHOLE = cases(
    lambda recording: recording.status == 200 and not recording.is_stream and not is_models(recording)
)
REQUESTS = cases(lambda recording: recording.request is not None and endpoint_of(recording) is not None)


def request_of(recording: Recording) -> ClientBody:
    raw = recording.request or b'{"model":"m"}'
    endpoint = endpoint_of(recording)
    assert endpoint is not None
    if "model" not in json.loads(raw):  # Azure's deployment stands in the path
        raw = b'{"model":"m",' + raw.lstrip().removeprefix(b"{")
    return parse_body(raw, endpoint)


def target_of(recording: Recording) -> Target:
    kinds = {"azure": "azure_openai", "gemini-openai": "gemini"}
    provider = recording.name.split("/")[0]
    return Target(Provider(provider, kinds.get(provider, provider), "https://up.example/v1"), "exact-model")


def adapter_of(recording: Recording) -> Adapter:
    """Who relays it: Responses go straight to those who speak them."""
    endpoint = endpoint_of(recording)
    assert endpoint is not None
    return adapter_for(target_of(recording).provider, endpoint)


def test_every_recording_is_replayed_or_named():
    assert {name for name, reason in MISSING.items() if reason.startswith("unknown")} == set()
    counted = {case.id for group in (ERRORS, MODELS, STREAMS, WHOLE) for case in group}
    assert counted == {recording.name for recording in REPLAYED}


@pytest.mark.parametrize("recording", REQUESTS)
def test_request_goes_up_with_only_the_model_changed(recording):
    body = request_of(recording)
    sent = adapter_of(recording).build_request(body, target_of(recording), {}).body
    expected = {**json.loads(body.raw), "model": "exact-model"}
    got = json.loads(sent)
    if got.get("stream_options") != expected.get("stream_options"):
        assert expected["stream"] is True
        expected["stream_options"] = {**(expected.get("stream_options") or {}), "include_usage": True}
    assert got == expected
    assert list(got)[: len(json.loads(body.raw))] == list(json.loads(body.raw))


@pytest.mark.parametrize("recording", WHOLE)
def test_whole_answer_is_relayed_byte_for_byte(recording):
    request = request_of(recording)
    answer = adapter_of(recording).parse_response(200, recording.headers, recording.response, request)
    usage = json.loads(recording.response).get("usage") or {}
    assert answer.body == recording.response
    assert answer.usage.prompt_tokens == usage.get("prompt_tokens", usage.get("input_tokens"))


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
@pytest.mark.parametrize("asked", [True, False], ids=["usage asked", "usage not asked"])
@pytest.mark.parametrize("recording", STREAMS)
def test_stream_is_relayed_byte_for_byte(recording, asked, size):
    request = request_of(recording)
    request.data["stream"] = True
    request.data["stream_options"] = {"include_usage": asked}
    translator = adapter_of(recording).stream(request, target_of(recording))
    raw = recording.response
    out, error = relay(translator, raw, size)
    if recording.name in IN_STREAM_ERRORS:
        assert (error.facts.status, error.facts.code) == IN_STREAM_ERRORS[recording.name]
        assert raw.startswith(out)
        assert json.loads(render_event(error, "openai", "r")[len("data: ") :])["error"]["message"]
        return
    assert error is None
    assert (translator.has_content, translator.finished) == (True, True)
    never_asks = recording.name.startswith(("mistral", "perplexity")) or request.dialect == "responses"
    assert out == (raw if asked or never_asks else without_usage_chunk(raw))
    counted = b'"prompt_tokens":' in raw or b'"input_tokens":' in raw
    assert counted == (translator.usage.prompt_tokens is not None)


def relay(translator, raw: bytes, size: int) -> tuple[bytes, UpstreamStatusError | None]:
    out = b""
    try:
        for at in range(0, len(raw), size):
            out += translator.feed(raw[at : at + size])
        return out + translator.end(), None
    except UpstreamStatusError as error:
        return out + error.partial, error


def without_usage_chunk(raw: bytes) -> bytes:
    blocks = raw.split(b"\n\n")
    return b"\n\n".join(block for block in blocks if not is_usage_chunk(block))


def is_usage_chunk(block: bytes) -> bool:
    lines = [line for line in block.splitlines() if line.startswith(b"data: {")]
    data = json.loads(lines[0][len(b"data: ") :]) if lines else {}
    return data.get("choices") == [] and isinstance(data.get("usage"), dict)


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("recording", ERRORS)
def test_error_is_normalised_to_the_envelope(recording, dialect):
    facts = ADAPTER.parse_error(recording.status, recording.headers, recording.response, 0.0)
    refused = any(word in recording.name for word in REFUSED_CREDENTIALS)
    assert (facts.status, facts.refused_credential) == (recording.status, refused)
    status, _, body = render(UpstreamStatusError(facts), dialect, "req-1")
    error = json.loads(body)["error"]
    assert status == (502 if refused else recording.status)
    assert isinstance(error["message"], str)
    if not refused:
        assert error["message"] == facts.message
        assert facts.message[:20] in recording.response.decode()


@pytest.mark.parametrize("recording", MODELS)
def test_models_list_is_read(recording):
    page = read_page(Provider("p", "openai", "https://up.example/v1"), 200, recording.response)
    ids = [row["id"].removeprefix("models/") for row in json.loads(recording.response)["data"]]
    assert list(page.result.models) == ids
