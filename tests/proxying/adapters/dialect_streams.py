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


def response_of(raw: bytes) -> dict[str, Any]:
    """The answer that a Responses client makes of a stream's events, which must be well formed.

    What the pieces add up to is what the ``done`` events and the last event repeat.
    """
    output: list[dict[str, Any]] = []
    open_part: tuple[int, dict[str, Any]] | None = None
    names, answer = [], {}
    for number, found in enumerate(events_of(raw)):
        data = json.loads(found.data)
        assert (found.name.decode(), data["sequence_number"]) == (data["type"], number)
        names.append(data["type"])
        kind = data["type"].removeprefix("response.")
        if "response" in data:
            answer = data["response"]
        elif kind == "output_item.added":
            assert data["output_index"] == len(output)
            output.append(data["item"])
        elif kind == "output_item.done":
            assert (data["output_index"], open_part) == (len(output) - 1, None)
            assert _without_end(data["item"]) == _without_end(output[-1])
            output[-1] = data["item"]
        else:
            assert (data["output_index"], data["item_id"]) == (len(output) - 1, output[-1]["id"])
            open_part = _add_event(output[-1], kind, data, open_part)
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-1] == f"response.{answer['status']}"
    assert answer["output"] == output
    return answer


def _without_end(item: dict[str, Any]) -> dict[str, Any]:
    """What only the last event of an item says."""
    return {name: value for name, value in item.items() if name not in {"status", "encrypted_content"}}


def _add_event(
    item: dict[str, Any], kind: str, data: dict[str, Any], open_part: tuple[int, dict[str, Any]] | None
) -> tuple[int, dict[str, Any]] | None:
    place = data.get("content_index", data.get("summary_index"))
    if kind in {"content_part.added", "reasoning_summary_part.added"}:
        parts = item["summary" if "summary_index" in data else "content"]
        assert (open_part, place) == (None, len(parts))
        parts.append(data["part"])
        return place, data["part"]
    if kind in {"function_call_arguments.delta", "custom_tool_call_input.delta"}:
        item["input" if kind.startswith("custom") else "arguments"] += data["delta"]
        return open_part
    if kind in {"function_call_arguments.done", "custom_tool_call_input.done"}:
        said = "input" if kind.startswith("custom") else "arguments"
        assert data[said] == item[said]
        return open_part
    assert open_part is not None
    assert place == open_part[0]
    part = open_part[1]
    if kind in {"content_part.done", "reasoning_summary_part.done"}:
        assert data["part"] == part
        return None
    name = "refusal" if kind.startswith("refusal") else "text"
    if kind.endswith("annotation.added"):
        assert data["annotation_index"] == len(part["annotations"])
        part["annotations"].append(data["annotation"])
    elif kind.endswith(".delta"):
        part[name] += data["delta"]
        if "logprobs" in part:
            part["logprobs"] += data["logprobs"]
    else:
        assert kind.endswith(".done")
        assert data[name] == part[name]
    return open_part


def numbered(*events: tuple[str, dict[str, Any]]) -> list[bytes]:
    """Events of a Responses stream, from their types (without ``response.``) and fields."""
    return [
        sse.encode_event(
            json.dumps({"type": f"response.{kind}", "sequence_number": number, **fields}).encode(),
            f"response.{kind}".encode(),
        )
        for number, (kind, fields) in enumerate(events)
    ]
