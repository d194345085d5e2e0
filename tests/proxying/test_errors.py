"""How errors are written for each dialect, and what never leaves the gateway."""

from __future__ import annotations

import orjson
import pytest

from proxying import errors
from proxying.errors import (
    ErrorFacts,
    GatewayError,
    NoCandidateError,
    UpstreamStatusError,
    render,
    render_event,
)
from routing.types import Refusal


def upstream(status: int, **kwargs) -> UpstreamStatusError:
    values = {"raw_status": status, "type": "api_error", "code": None, "message": "no", **kwargs}
    return UpstreamStatusError(ErrorFacts(status=errors.normalised_status(status), **values))


JSON = (b"content-type", b"application/json")
FINAL = (b"x-should-retry", b"false")


@pytest.mark.parametrize(
    ("error", "status", "headers", "body"),
    [
        (
            errors.InvalidRequestError("Bad.", param="model", code="missing_model"),
            400,
            [JSON, FINAL],
            {"message": "Bad.", "type": "invalid_request_error", "param": "model", "code": "missing_model"},
        ),
        (
            NoCandidateError(
                Refusal(503, "overloaded_error", "no_eligible_candidates", "None.", "model", 7.2)
            ),
            503,
            [JSON, (b"retry-after", b"8")],
            {
                "message": "None.",
                "type": "overloaded_error",
                "param": "model",
                "code": "no_eligible_candidates",
            },
        ),
        (
            NoCandidateError(Refusal(404, "not_found_error", "model_disabled", "Off.", "model", 60.0)),
            404,
            [JSON, FINAL],
            {"message": "Off.", "type": "not_found_error", "param": "model", "code": "model_disabled"},
        ),
        (
            errors.ProviderBusyError("Busy."),
            429,
            [JSON, (b"retry-after", b"1")],
            {"message": "Busy.", "type": "rate_limit_error", "param": None, "code": "provider_busy"},
        ),
        (
            errors.UpstreamTimeoutError("Slow."),
            504,
            [JSON],
            {"message": "Slow.", "type": "upstream_error", "param": None, "code": "upstream_timeout"},
        ),
        (
            upstream(429, type="tokens", code="rate_limit_exceeded", retry_after_s=0.2),
            429,
            [JSON, (b"retry-after", b"1")],
            {"message": "no", "type": "tokens", "param": None, "code": "rate_limit_exceeded"},
        ),
        (
            upstream(400, type="invalid_request_error", code="x", param="n", retry_after_s=9.0),
            400,
            [JSON, FINAL],
            {"message": "no", "type": "invalid_request_error", "param": "n", "code": "x"},
        ),
        (
            upstream(401, code="invalid_api_key", message="Incorrect", refused_credential=True),
            502,
            [JSON, FINAL],
            {
                "message": "The provider refused the gateway's own credential.",
                "type": "upstream_error",
                "param": None,
                "code": "upstream_auth_error",
            },
        ),
    ],
)
def test_render_writes_the_openai_envelope(error, status, headers, body):
    """T55: permanent refusals say so and name no time; transient ones name it when it is known."""
    got_status, got_headers, got_body = render(error, "openai", "req-1")
    assert (got_status, got_headers) == (status, headers)
    assert orjson.loads(got_body) == {"error": body}
    assert render(error, "responses", "req-1")[2] == got_body


def test_render_keeps_status_and_type_of_internal_errors():
    """T47: an internal error is a 500, not a 400."""
    status, headers, body = render(GatewayError("Internal error."), "openai", "r")
    assert (status, headers) == (500, [JSON, FINAL])
    assert orjson.loads(body) == {
        "error": {"message": "Internal error.", "type": "api_error", "param": None, "code": "internal_error"}
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_render_writes_the_anthropic_envelope(status, kind):
    got_status, _, body = render(upstream(status, code="c"), "anthropic", "req-1")
    assert got_status == status
    assert orjson.loads(body) == {
        "type": "error",
        "error": {"type": kind, "message": "no", "details": {"error_code": "c"}},
        "request_id": "req-1",
    }


def test_render_passes_anthropic_errors_on_to_its_clients():
    own = {"type": "overloaded_error", "message": "Overloaded", "details": {"error_code": "x"}}
    status, _, body = render(upstream(529, body=own), "anthropic", "req-1")
    assert (status, orjson.loads(body)) == (529, {"type": "error", "error": own, "request_id": "req-1"})
    assert render(upstream(529, body=own), "openai", "req-1")[0] == 503


def test_overloaded_inside_a_stream_is_the_same_to_anthropics_clients():
    """Before its first content: the client gets a status, and the event had none."""
    own = {"type": "overloaded_error", "message": "Overloaded"}
    inside = upstream(503, raw_status=200, body=own)
    assert (render(inside, "anthropic", "r")[0], render(inside, "openai", "r")[0]) == (529, 503)
    assert render(upstream(503, body=own), "anthropic", "r")[0] == 503


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"type": "invalid_request_error", "message": "no", "details": {"error_code": "d"}},
            {"type": "invalid_request_error", "message": "no", "details": {"error_code": "d"}},
        ),
        (
            {"type": "invalid_request_error", "message": "no", "param": None, "code": "c"},
            {"type": "invalid_request_error", "message": "no", "details": {"error_code": "c"}},
        ),
    ],
)
def test_render_tells_anthropic_error_objects_from_others(body, error):
    assert orjson.loads(render(upstream(400, code="c", body=body), "anthropic", "r")[2])["error"] == error


def test_render_event_per_dialect():
    """T57: an event for an Anthropic client has its event: line."""
    error = errors.UpstreamProtocolError("Cut.")
    fields = {"message": "Cut.", "type": "upstream_error", "param": None, "code": "upstream_protocol_error"}
    assert render_event(error, "openai", "r") == b"data: " + orjson.dumps({"error": fields}) + b"\n\n"
    envelope = orjson.loads(render(error, "anthropic", "r")[2])
    assert render_event(error, "anthropic", "r") == b"event: error\ndata: " + orjson.dumps(envelope) + b"\n\n"


def test_render_event_of_responses_goes_on_counting():
    """The SDKs raise at the first event; Codex knows the second."""
    error = errors.UpstreamProtocolError("Cut.")
    announced = {"id": "resp_1", "model": "m", "status": "in_progress", "tools": [{"name": "f"}]}
    written = render_event(error, "responses", "r", number=4, response=announced)
    first, second, end = written.split(b"\n\n")
    told = orjson.loads(first.removeprefix(b"event: error\ndata: "))
    ending = orjson.loads(second.removeprefix(b"event: response.failed\ndata: "))
    fields = {"message": "Cut.", "type": "upstream_error", "param": None, "code": "upstream_protocol_error"}
    assert told == {**fields, "type": "error", "sequence_number": 4, "error": fields}
    assert (ending["type"], ending["sequence_number"], end) == ("response.failed", 5, b"")
    assert ending["response"] == {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "model": "m",
        "status": "failed",
        "error": {"code": "upstream_protocol_error", "message": "Cut."},
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [{"name": "f"}],
    }


@pytest.mark.parametrize(
    ("status", "normal"),
    [
        (429, 429),
        (500, 500),
        (529, 503),
        (520, 502),
        (524, 502),
        (525, 525),
        (302, 502),
        (0, 502),
        (777, 502),
    ],
)
def test_normalised_status(status, normal):
    assert errors.normalised_status(status) == normal


def test_scrub_error_cleans_everything_that_is_rendered():
    body = {"type": "api_error", "message": "k SECRET", "details": [{"x": "SECRET"}]}
    error = upstream(500, message="k SECRET", param="SECRET", code="SECRET", type="SECRET", body=body)
    errors.scrub_error(error, "SECRET", "http://upstream/v1")
    for dialect in ("openai", "anthropic", "responses"):
        assert b"SECRET" not in render(error, dialect, "r")[2] + render_event(error, dialect, "r")
    assert "SECRET" not in str(error) + repr(error.facts)


@pytest.mark.parametrize(("secret", "base"), [(None, ""), ("", "/"), ("abc", "not a url")])
def test_scrub_leaves_text_when_there_is_no_secret(secret, base):
    assert errors.scrub("an abc text", secret, base) == "an abc text"
