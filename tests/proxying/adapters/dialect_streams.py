"""Puts streams together as clients do, so that they can be compared with whole answers."""

from __future__ import annotations

import json
from typing import Any

from proxying import sse

EVENTS_OF_BLOCK = ["content_block_start", "content_block_delta", "content_block_stop"]


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> bytes:
    """One chat completion chunk."""
    data = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", **fields}
    data["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return sse.encode_event(json.dumps(data).encode())


def usage_chunk(**usage: Any) -> bytes:
    """The chunk that carries nothing but the usage."""
    data = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    return sse.encode_event(json.dumps({**data, "usage": usage}).encode())


def event(kind: str, **fields: Any) -> bytes:
    """One event of a Messages stream."""
    return sse.encode_event(json.dumps({"type": kind, **fields}).encode(), kind.encode())


def events_of(raw: bytes) -> list[sse.Event]:
    """Every event; nothing may be left over."""
    splitter = sse.Splitter()
    found = [sse.parse_event(block) for block in splitter.feed(raw)]
    assert splitter.rest() == b""
    return [one for one in found if one is not None]


def message_of(raw: bytes) -> dict[str, Any]:
    """The message that a Messages client makes of a stream, which must be well formed. T57."""
    message: dict[str, Any] = {}
    open_index: int | None = None
    pieces: list[str] = []
    names = []
    for found in events_of(raw):
        data = json.loads(found.data)
        assert found.name.decode() == data["type"]
        names.append(data["type"])
        if data["type"] in EVENTS_OF_BLOCK[1:]:
            assert data["index"] == open_index
        if data["type"] == "message_start":
            message = data["message"]
        elif data["type"] == "content_block_start":
            assert (open_index, data["index"]) == (None, len(message["content"]))
            open_index, pieces = data["index"], []
            message["content"].append(data["content_block"])
        elif data["type"] == "content_block_delta":
            _add_delta(message["content"][-1], data["delta"], pieces)
        elif data["type"] == "content_block_stop":
            if message["content"][-1]["type"] == "tool_use":
                message["content"][-1]["input"] = json.loads("".join(pieces) or "{}")
            open_index = None
        elif data["type"] == "message_delta":
            message.update(data["delta"])
            message["usage"].update(data["usage"])
    assert (names[0], names[-2:], open_index) == ("message_start", ["message_delta", "message_stop"], None)
    return message


def _add_delta(block: dict[str, Any], delta: dict[str, Any], pieces: list[str]) -> None:
    if delta["type"] == "text_delta":
        block["text"] += delta["text"]
    elif delta["type"] == "thinking_delta":
        block["thinking"] += delta["thinking"]
    elif delta["type"] == "signature_delta":
        block["signature"] = delta["signature"]
    elif delta["type"] == "input_json_delta":
        pieces.append(delta["partial_json"])


def completion_of(raw: bytes) -> dict[str, Any]:
    """The chat completion that a client makes of a stream, which must end with ``[DONE]``."""
    found = events_of(raw)
    assert [one.data == b"[DONE]" for one in found] == [False] * (len(found) - 1) + [True]
    chunks = [json.loads(one.data) for one in found[:-1]]
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    reasons, usage = [], None
    for data in chunks:
        usage = data.get("usage") or usage
        for choice in data["choices"]:
            reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
            _merge(message, choice["delta"])
    (reason,) = reasons
    details = message.get("reasoning_details")
    if details:
        message["reasoning_details"] = _joined_details(details)
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"id": chunks[0]["id"], "model": chunks[0]["model"], "choices": [choice], "usage": usage}


def _merge(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name in ("content", "reasoning_content", "refusal"):
        if delta.get(name):
            message[name] = (message.get(name) or "") + delta[name]
    for name in ("reasoning_details", "annotations"):
        if name in delta:
            message.setdefault(name, []).extend(delta[name])
    for call in delta.get("tool_calls", []):
        calls = message.setdefault("tool_calls", [])
        if call["index"] == len(calls):
            calls.append({"id": call["id"], "type": call["type"], "function": dict(call["function"])})
        else:
            calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]


def _joined_details(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    joined: dict[int, dict[str, Any]] = {}
    for one in details:
        known = joined.setdefault(one["index"], dict(one, **({"text": ""} if "text" in one else {})))
        if "text" in one:
            known["text"] += one["text"]
            known["signature"] = one["signature"] or known["signature"]
    return list(joined.values())
