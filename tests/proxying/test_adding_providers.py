"""A vendor and a wire format are added as ``docs/adding-providers.md`` says, with the code that is there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import proxying.adapters
import routing.kinds
from proxying.adapters import ADAPTERS
from proxying.adapters.dialects import ByDialect
from routing.kinds import KINDS, Kind
from tests.proxying.gateway import Got, serving, table
from tests.upstream import Script, stream_pieces

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding-providers.md"
VENDOR, ADAPTER, LINE, KIND = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
ANSWER = {"id": "p1", "words": "Hello there", "end": "said", "counted": [3, 2]}
PIECES = [{"id": "p1", "word": "Hello "}, {"id": "p1", "word": "there"}]
LAST = {"id": "p1", "end": "said", "counted": [3, 2]}
WHOLE = Script(body=json.dumps(ANSWER).encode())


def flow(*rows: dict[str, Any], size: int = 7, **values: Any) -> Script:
    """Lines of JSON, cut anywhere."""
    raw = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    return Script(pieces=pieces, headers={"content-type": "application/x-ndjson"}, **values)


def everywhere(monkeypatch: pytest.MonkeyPatch, name: str, old: object, new: object) -> None:
    """Put a new table wherever the old one was imported."""
    for module in list(sys.modules.values()):
        if vars(module).get(name) is old:
            monkeypatch.setattr(module, name, new)


def add_kind(monkeypatch: pytest.MonkeyPatch, row: str) -> None:
    kind = eval(row, vars(routing.kinds).copy())  # noqa: S307 - a page of ours
    assert isinstance(kind, Kind)
    everywhere(monkeypatch, "KINDS", KINDS, {**KINDS, kind.name: kind})


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's vendor."""
    add_kind(monkeypatch, VENDOR)


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's wire format: its file, its line and its kind."""
    module = ModuleType("proxying.adapters.parrot")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(ADAPTER, str(PAGE), "exec"), vars(module))  # noqa: S102 - a page of ours
    wires = eval(f"{{{LINE}}}", {**vars(proxying.adapters), "ParrotAdapter": module.ParrotAdapter})  # noqa: S307
    # As ``proxying.adapters`` does with each line: Responses come on top.
    made = {name: ByDialect(wire, ADAPTERS["openai"].translations) for name, wire in wires.items()}
    everywhere(monkeypatch, "ADAPTERS", ADAPTERS, {**ADAPTERS, **made})
    add_kind(monkeypatch, KIND)


PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "responses": "/v1/responses"}
ENDS = {"openai": "stop", "anthropic": "end_turn", "responses": "completed"}


def request(dialect: str, *, stream: bool, **fields: Any) -> tuple[str, bytes]:
    """Where a client of the dialect asks, and what."""
    body = {"model": "pool", **fields, **({"stream": True} if stream else {})}
    if dialect == "responses":
        body |= {"input": "Hi", "max_output_tokens": 9}
    else:
        body |= {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
    return PATHS[dialect], json.dumps(body).encode()


def said(got: Got) -> tuple[str, str]:
    """Text and end of an answer in any dialect, whole or streamed."""
    rows = [json.loads(row[6:]) for row in got.body.splitlines() if row.startswith(b"data: {")]
    if not rows:
        return told(got.json)
    choices = [choice for row in rows for choice in row.get("choices", [])]
    texts = [choice["delta"].get("content") or "" for choice in choices]
    texts += [row["delta"].get("text", "") for row in rows if row.get("type") == "content_block_delta"]
    texts += [row["delta"] for row in rows if row.get("type") == "response.output_text.delta"]
    ends = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    ends += [row["delta"]["stop_reason"] for row in rows if row.get("type") == "message_delta"]
    ends += [row["response"]["status"] for row in rows if row.get("type") == "response.completed"]
    (end,) = ends
    return "".join(texts), end


def told(answer: dict[str, Any]) -> tuple[str, str]:
    """Text and end of a whole answer."""
    if "choices" in answer:
        (choice,) = answer["choices"]
        return choice["message"]["content"], choice["finish_reason"]
    if "output" in answer:
        (message,) = answer["output"]
        return "".join(part["text"] for part in message["content"]), answer["status"]
    return "".join(block["text"] for block in answer["content"]), answer["stop_reason"]


in_all_dialects = pytest.mark.parametrize("dialect", ENDS)
whole_and_streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@in_all_dialects
@whole_and_streamed
async def test_vendor_is_a_row(acme, upstream, dialect, stream):
    vendor = await upstream()
    if stream:
        vendor.script(Script(pieces=stream_pieces(["one ", "two"])))
    async with serving(table({"a": vendor}, providers={"a": {"kind": "acme"}})) as gateway:
        got = await gateway.call(
            "POST", *request(dialect, stream=stream, stream_options={"include_usage": True})
        )
    assert (got.status, said(got)) == (200, ("one two", ENDS[dialect]))
    (sent,) = vendor.requests
    assert (sent.path, sent.headers["x-acme-key"]) == ("/v1/chat/completions", "secret-of-a")
    assert "stream_options" not in sent.json


@in_all_dialects
@whole_and_streamed
async def test_wire_format_is_a_file_and_a_line(parrot, upstream, dialect, stream):
    vendor = await upstream()
    vendor.script(flow(*PIECES, LAST) if stream else WHOLE)
    async with serving(table({"p": vendor}, providers={"p": {"kind": "parrot"}})) as gateway:
        got = await gateway.call("POST", *request(dialect, stream=stream))
        (row,) = await gateway.records()
    assert (got.status, got.complete, said(got)) == (200, True, ("Hello there", ENDS[dialect]))
    assert (row.outcome, row.prompt_tokens, row.completion_tokens) == ("ok", 3, 2)
    (sent,) = vendor.requests
    flowing = {"flow": True} if stream else {}
    assert sent.json == {"who": "m", "lines": ["user: Hi"], "most": 9, **flowing}
    assert (sent.path, sent.headers["authorization"]) == ("/v1/say", "Bearer secret-of-p")


@in_all_dialects
@whole_and_streamed
async def test_new_wire_fails_over_like_all_others(parrot, upstream, dialect, stream):
    vendor, other = await upstream(), await upstream()
    vendor.script(Script(status=503, body=b'{"message":"Moulting."}'))
    async with serving(table({"p": vendor, "q": other}, providers={"p": {"kind": "parrot"}})) as gateway:
        got = await gateway.call("POST", *request(dialect, stream=stream))
    assert (got.status, said(got)) == (200, ("one two", ENDS[dialect]))
    assert (got.gateway["provider"], got.gateway["attempts"]) == ("q", "2")


@in_all_dialects
async def test_what_the_new_wire_cannot_say_is_refused_by_name(parrot, upstream, dialect):
    vendor = await upstream()
    async with serving(table({"p": vendor}, providers={"p": {"kind": "parrot"}})) as gateway:
        got = await gateway.call("POST", *request(dialect, stream=False, temperature=0.5))
    assert (got.status, got.error["message"]) == (400, "temperature: Parrot cannot be told this.")
    assert vendor.requests == []


@in_all_dialects
async def test_cut_stream_of_the_new_wire_ends_with_an_error(parrot, upstream, dialect):
    vendor = await upstream()
    vendor.script(flow(*PIECES))
    async with serving(table({"p": vendor}, providers={"p": {"kind": "parrot"}})) as gateway:
        got = await gateway.call("POST", *request(dialect, stream=True))
        (row,) = await gateway.records()
    last = [json.loads(line[6:]) for line in got.body.splitlines() if line.startswith(b"data: {")][-1]
    error = last.get("response", last)["error"]
    assert error["message"] == "The provider's stream ended before the answer was complete."
    assert (row.outcome, row.completion_tokens) == ("cut", 2)
