"""What a client's body must have before anything is routed."""

from __future__ import annotations

import json

import pytest

from proxying.errors import GatewayError, InvalidJSONError, InvalidRequestError, NoCandidateError
from proxying.schemas import parse_body
from routing.types import Endpoint


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"[]", "not an object"),
        (b'"model"', "not an object"),
        (b'{"model":\n "a",}', "line 2, column"),
        (b'{"model":"a"} x', "line 1, column 15"),
        (b'{"model":NaN}', "line 1, column 10"),
        (b'{"model":"\xff"}', "line 1"),
        (b'{"model":"\\ud800"}', "line 1"),
        (b'{"model":' + b"[" * 100_000, "line 1"),
    ],
)
def test_parse_body_names_what_is_wrong(raw, place):
    with pytest.raises(InvalidJSONError) as caught:
        parse_body(raw, Endpoint.CHAT)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")
    assert place in caught.value.message


@pytest.mark.parametrize(
    "raw", [b"{}", b'{"model":null}', b'{"model":3}', b'{"model":" "}', b'{"model":["a"]}']
)
def test_parse_body_needs_a_model(raw):
    with pytest.raises(InvalidRequestError) as caught:
        parse_body(raw, Endpoint.CHAT)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "missing_model", "model")


@pytest.mark.parametrize("value", ["true", 1, 0, "", {}, []])
def test_parse_body_refuses_what_is_neither_stream_nor_none(value):
    raw = json.dumps({"model": "a", "stream": value}).encode()
    with pytest.raises(InvalidRequestError) as caught:
        parse_body(raw, Endpoint.CHAT)
    assert (caught.value.code, caught.value.param) == ("invalid_request", "stream")


@pytest.mark.parametrize("value", [True, False, None])
def test_parse_body_takes_a_stream_or_none(value):
    raw = json.dumps({"model": "a", "stream": value}).encode()
    assert parse_body(raw, Endpoint.CHAT).wants_stream is (value is True)


def test_parse_body_refuses_two_models():
    with pytest.raises(InvalidRequestError) as caught:
        parse_body(b'{"model":"a","model":"b"}', Endpoint.CHAT)
    assert caught.value.code == "duplicate_model"


def test_parse_body_accepts_models_deeper_down():
    body = parse_body(b'{"model":" a ","tools":[{"model":1},{"model":2}]}', Endpoint.CHAT)
    assert body.data["model"] == "a"
    assert body.raw == b'{"model":" a ","tools":[{"model":1},{"model":2}]}'


@pytest.mark.parametrize(
    ("endpoint", "dialect"),
    [(Endpoint.CHAT, "openai"), (Endpoint.MESSAGES, "anthropic"), (Endpoint.RESPONSES, "responses")],
)
def test_parse_body_knows_the_dialect(endpoint, dialect):
    assert parse_body(b'{"model":"a"}', endpoint).dialect == dialect


def test_invalid_body_errors_are_permanent():
    with pytest.raises(GatewayError) as caught:
        parse_body(b"", Endpoint.CHAT)
    assert caught.value.permanent is True


def test_parse_body_knows_no_name_longer_than_any_can_be():
    parse_body(b'{"model":"' + b"m" * 401 + b'"}', Endpoint.CHAT)
    with pytest.raises(NoCandidateError) as caught:
        parse_body(b'{"model":"' + b"m" * 402 + b'"}', Endpoint.CHAT)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert caught.value.message == f"The model '{'m' * 100}…' does not exist."


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"input":"x"}', b'{"model":"omni-moderation-latest","input":"x"}'),
        (b" {}", b' {"model":"omni-moderation-latest"}'),
        (b'{"model":"a","input":"x"}', b'{"model":"a","input":"x"}'),
    ],
)
def test_parse_body_knows_the_default_of_moderations(raw, expected):
    body = parse_body(raw, Endpoint.MODERATIONS)
    assert (body.raw, json.loads(body.raw)["model"]) == (expected, body.data["model"])


def test_parse_body_takes_no_null_for_the_default():
    with pytest.raises(InvalidRequestError):
        parse_body(b'{"model":null,"input":"x"}', Endpoint.MODERATIONS)
