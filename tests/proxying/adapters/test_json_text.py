"""JSON that can be read and not be written again is somebody's fault, never the gateway's."""

from __future__ import annotations

import orjson
import pytest

from proxying.adapters import ADAPTERS
from proxying.adapters.base import Target
from proxying.errors import InvalidRequestError, UpstreamProtocolError
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider

DEPTH = 300
DEEP = b'{"a":' * DEPTH + b"1" + b"}" * DEPTH
USER = b'"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]'
KINDS = {"openai": "openai", "anthropic": "anthropic", "gemini": "gemini_native"}
CHAT_TOOL = b'{"type":"function","function":{"name":"f","parameters":' + DEEP + b"}}"
MESSAGES_TOOL = b'{"name":"f","input_schema":' + DEEP + b"}"
TRANSLATED = [
    ("anthropic", Endpoint.CHAT, CHAT_TOOL),
    ("gemini", Endpoint.CHAT, CHAT_TOOL),
    ("openai", Endpoint.MESSAGES, MESSAGES_TOOL),
    ("gemini", Endpoint.MESSAGES, MESSAGES_TOOL),
]


def target(wire: str) -> Target:
    return Target(Provider("p", KINDS[wire], "https://up.example/v1"), "m")


@pytest.mark.parametrize(("wire", "endpoint", "tool"), TRANSLATED)
def test_request_nested_too_deeply_is_refused(wire, endpoint, tool):
    body = parse_body(b"{" + USER + b',"tools":[' + tool + b"]}", endpoint)
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        ADAPTERS[wire].build_request(body, target(wire), {})


def test_request_of_the_same_dialect_goes_through_however_deep():
    body = parse_body(b"{" + USER + b',"tools":[' + CHAT_TOOL + b"]}", Endpoint.CHAT)
    assert DEEP in ADAPTERS["openai"].build_request(body, target("openai"), {}).body


GEMINI_CALL = (
    b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":'
    + DEEP
    + b'}}]},"finishReason":"STOP"}]}'
)
ANTHROPIC_CALL = (
    b'{"content":[{"type":"tool_use","id":"1","name":"f","input":' + DEEP + b'}],"stop_reason":"tool_use"}'
)
OPENAI_CALL = orjson.dumps(
    {
        "choices": [
            {"message": {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": DEEP.decode()}}]}}
        ]
    }
)


@pytest.mark.parametrize(
    ("wire", "endpoint", "raw"),
    [
        ("gemini", Endpoint.CHAT, GEMINI_CALL),
        ("gemini", Endpoint.MESSAGES, GEMINI_CALL),
        ("anthropic", Endpoint.CHAT, ANTHROPIC_CALL),
        ("openai", Endpoint.MESSAGES, OPENAI_CALL),
    ],
)
def test_answer_nested_too_deeply_is_the_providers_fault(wire, endpoint, raw):
    with pytest.raises(UpstreamProtocolError, match="nested too deeply"):
        ADAPTERS[wire].parse_response(200, {}, raw, parse_body(b"{" + USER + b"}", endpoint))


def test_event_nested_too_deeply_is_the_providers_fault():
    stream = ADAPTERS["gemini"].stream(
        parse_body(b"{" + USER + b',"stream":true}', Endpoint.CHAT), target("gemini")
    )
    with pytest.raises(UpstreamProtocolError, match="nested too deeply"):
        stream.feed(b"data: " + GEMINI_CALL + b"\r\n\r\n")
