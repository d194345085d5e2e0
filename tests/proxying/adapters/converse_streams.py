"""Converse's streams as Bedrock frames them, and answers cut into such streams."""

from __future__ import annotations

import json
from typing import Any

from proxying.eventstream import encode


def event(kind: str, **data: Any) -> bytes:
    """One event, with the padding that Bedrock adds."""
    headers = {"event-type": kind, "content-type": "application/json", "message-type": "event"}
    return encode(headers, json.dumps({**data, "p": "abcdefgh"}).encode())


def exception(kind: str, **data: Any) -> bytes:
    """One exception inside a stream."""
    headers = {"exception-type": kind, "content-type": "application/json", "message-type": "exception"}
    return encode(headers, json.dumps(data).encode())


def start(index: int, **held: Any) -> bytes:
    """The start of a block; texts have none."""
    return event("contentBlockStart", start=held, contentBlockIndex=index)


def delta(index: int, **held: Any) -> bytes:
    """A piece of a block."""
    return event("contentBlockDelta", delta=held, contentBlockIndex=index)


def stop(index: int) -> bytes:
    """The end of a block."""
    return event("contentBlockStop", contentBlockIndex=index)


def ending(reason: str = "end_turn", usage: dict[str, Any] | None = None) -> list[bytes]:
    """The end of an answer."""
    counts = {} if usage is None else {"usage": usage}
    return [event("messageStop", stopReason=reason), event("metadata", **counts, metrics={"latencyMs": 1})]


def streamed(answer: dict[str, Any], cut: int = 4) -> list[bytes]:
    """A whole answer as the events of a stream, texts cut into pieces of ``cut`` characters."""
    events = [event("messageStart", role="assistant")]
    for index, block in enumerate(answer["output"]["message"]["content"]):
        events += [*_block(index, block, cut), stop(index)]
    return [*events, *ending(answer["stopReason"], answer.get("usage"))]


def _block(index: int, block: dict[str, Any], cut: int) -> list[bytes]:
    if "text" in block:
        return [delta(index, text=piece) for piece in _pieces(block["text"], cut)]
    if "toolUse" in block:
        use = block["toolUse"]
        text = json.dumps(use["input"], separators=(",", ":"), ensure_ascii=False) if use["input"] else ""
        head = {name: value for name, value in use.items() if name != "input"}
        pieces = ["", *_pieces(text, cut)]
        return [start(index, toolUse=head), *[delta(index, toolUse={"input": one}) for one in pieces]]
    held = block["reasoningContent"]
    if "redactedContent" in held:
        return [delta(index, reasoningContent=held)]
    thought = held["reasoningText"]
    pieces = [delta(index, reasoningContent={"text": one}) for one in _pieces(thought["text"], cut)]
    signature = thought.get("signature")
    return [*pieces, *([delta(index, reasoningContent={"signature": signature})] if signature else [])]


def _pieces(text: str, cut: int) -> list[str]:
    return [text[at : at + cut] for at in range(0, len(text), cut)]
