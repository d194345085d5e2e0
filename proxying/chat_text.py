"""What a chat's answer says, for people: the text of OpenAI's wire format, whole or streamed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from proxying.sse import Splitter, parse_event


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of an answer. ``kind`` is ``text``, ``thought``, ``tool`` or ``error``."""

    kind: str
    text: str


class StreamText:
    """Reads a stream piece by piece."""

    def __init__(self) -> None:
        self._splitter = Splitter()

    def feed(self, piece: bytes) -> list[Said]:
        """What the piece says; nothing while its event is incomplete."""
        said: list[Said] = []
        for block in self._splitter.feed(piece):
            event = parse_event(block)
            if event is not None and event.data != b"[DONE]":
                said += _said(event.data, "delta")
        return said


def whole_text(body: bytes) -> list[Said]:
    """What an answer says that came in one piece; an error's message too."""
    return list(_said(body, "message"))


def _said(data: bytes, field: str) -> Iterator[Said]:
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        yield Said("error", "The answer is not JSON.")
        return
    if not isinstance(answer, dict):
        return
    error = answer.get("error")
    if isinstance(error, dict):
        yield Said("error", str(error.get("message") or "The answer is an error without a message."))
    for choice in answer.get("choices") or ():
        message = choice.get(field) if isinstance(choice, dict) else None
        if isinstance(message, dict):
            yield from _message(message)


def _message(message: dict[str, Any]) -> Iterator[Said]:
    thought = message.get("reasoning_content") or message.get("reasoning")
    for kind, text in (
        ("thought", thought),
        ("text", message.get("content")),
        ("text", message.get("refusal")),
    ):
        if isinstance(text, str) and text:
            yield Said(kind, text)
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield Said("tool", f"{function.get('name') or ''}{function.get('arguments') or ''}")
