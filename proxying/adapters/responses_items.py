"""The open item of a Responses stream: what it has said so far, and the events that say it."""

from __future__ import annotations

from typing import Any, Protocol

import orjson

from proxying import sse
from proxying.adapters.base import Progress
from proxying.adapters.json_text import answer_text
from proxying.adapters.responses_answer import (
    call_item,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)
from proxying.adapters.responses_names import Called
from proxying.adapters.streamed_calls import StreamedCall


class OpenItem(Protocol):
    """One item of the output, from its first event to its last."""

    def begin(self, written: list[bytes]) -> None:
        """Write the event that adds it."""
        ...

    def end(self, status: str, written: list[bytes]) -> dict[str, Any]:
        """Write what closes it; answer the whole item."""
        ...


class _Events:
    """Numbers the events of one item and writes them. ``head`` is what the pieces of one part share."""

    def __init__(self, item_id: str, index: int, progress: Progress) -> None:
        self.id = item_id
        self.index = index
        self._progress = progress

    def write(self, kind: str, fields: dict[str, Any]) -> bytes:
        """An event about the item as a whole."""
        data = {"type": kind, "sequence_number": self._number(), "output_index": self.index, **fields}
        return sse.encode_event(answer_text(data), kind.encode())

    def write_part(self, kind: str, fields: dict[str, Any]) -> bytes:
        """An event about a part of the item."""
        return self.write(kind, {"item_id": self.id, **fields})

    def head(self, kind: str, **place: int) -> bytes:
        """What all events of a kind about one place begin with, up to their number."""
        data = {"type": kind, "item_id": self.id, "output_index": self.index, **place}
        return b"event: %b\ndata: %b" % (kind.encode(), orjson.dumps(data)[:-1]) + b',"sequence_number":'

    def piece(self, head: bytes, text: str) -> bytes:
        """One delta: the commonest of events."""
        return b'%b%d,"delta":%b}\n\n' % (head, self._number(), orjson.dumps(text))

    def _number(self) -> int:
        number = self._progress.next_number
        self._progress.next_number = number + 1
        return number


class ReasoningItem:
    """What the model thinks: one part of summary, when there are words."""

    def __init__(self, item_id: str, index: int, progress: Progress) -> None:
        self._events = _Events(item_id, index, progress)
        self._pieces: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._head = b""

    def begin(self, written: list[bytes]) -> None:
        """See ``OpenItem.begin``."""
        item = reasoning_item(self._events.id, "", [])
        written.append(self._events.write("response.output_item.added", {"item": item}))

    def think(self, text: str, details: list[dict[str, Any]], written: list[bytes]) -> None:
        """More of it."""
        self._details += details
        if not text:
            return
        if not self._pieces:
            self._head = self._events.head("response.reasoning_summary_text.delta", summary_index=0)
            part = {"summary_index": 0, "part": {"type": "summary_text", "text": ""}}
            written.append(self._events.write_part("response.reasoning_summary_part.added", part))
        self._pieces.append(text)
        written.append(self._events.piece(self._head, text))

    def end(self, status: str, written: list[bytes]) -> dict[str, Any]:
        """See ``OpenItem.end``."""
        text = "".join(self._pieces)
        if text:
            done = {"summary_index": 0, "text": text}
            part = {"summary_index": 0, "part": {"type": "summary_text", "text": text}}
            written += (
                self._events.write_part("response.reasoning_summary_text.done", done),
                self._events.write_part("response.reasoning_summary_part.done", part),
            )
        item = reasoning_item(self._events.id, text, self._details)
        written.append(self._events.write("response.output_item.done", {"item": item}))
        return item


class MessageItem:
    """What the model says: a part of text, a part of refusal, or both."""

    def __init__(self, item_id: str, index: int, progress: Progress) -> None:
        self._events = _Events(item_id, index, progress)
        self._content: list[dict[str, Any]] = []
        self._kind = ""
        self._pieces: list[str] = []
        self._logprobs: list[Any] = []
        self._annotations: list[dict[str, Any]] = []
        self._head = b""

    def begin(self, written: list[bytes]) -> None:
        """See ``OpenItem.begin``."""
        item = message_item(self._events.id, [], "in_progress")
        written.append(self._events.write("response.output_item.added", {"item": item}))

    def say(self, text: str, logprobs: list[Any], written: list[bytes]) -> None:
        """More text."""
        self._part("output_text", written)
        self._pieces.append(text)
        if not logprobs:
            written.append(self._events.piece(self._head, text))
            return
        self._logprobs += logprobs
        fields = {"content_index": len(self._content), "delta": text, "logprobs": logprobs}
        written.append(self._events.write_part("response.output_text.delta", fields))

    def annotate(self, note: dict[str, Any], written: list[bytes]) -> None:
        """A citation in the text."""
        self._part("output_text", written)
        place = {"content_index": len(self._content), "annotation_index": len(self._annotations)}
        self._annotations.append(note)
        written.append(
            self._events.write_part("response.output_text.annotation.added", {**place, "annotation": note})
        )

    def refuse(self, text: str, written: list[bytes]) -> None:
        """More of a refusal."""
        self._part("refusal", written)
        self._pieces.append(text)
        written.append(self._events.piece(self._head, text))

    def end(self, status: str, written: list[bytes]) -> dict[str, Any]:
        """See ``OpenItem.end``."""
        self._end_part(written)
        item = message_item(self._events.id, self._content, status)
        written.append(self._events.write("response.output_item.done", {"item": item}))
        return item

    def _part(self, kind: str, written: list[bytes]) -> None:
        if self._kind == kind:
            return
        self._end_part(written)
        self._kind = kind
        index = len(self._content)
        part = refusal_part("") if kind == "refusal" else text_part("", [], [])
        fields = {"content_index": index, "part": part}
        written.append(self._events.write_part("response.content_part.added", fields))
        self._head = self._events.head(f"response.{kind}.delta", content_index=index)
        if kind == "output_text":
            self._head = self._head.replace(b',"sequence_number":', b',"logprobs":[],"sequence_number":')

    def _end_part(self, written: list[bytes]) -> None:
        if not self._kind:
            return
        text, index = "".join(self._pieces), len(self._content)
        place: dict[str, Any] = {"content_index": index}
        if self._kind == "refusal":
            part = refusal_part(text)
            done = self._events.write_part("response.refusal.done", {**place, "refusal": text})
        else:
            part = text_part(text, self._logprobs, self._annotations)
            said = {"text": text, "logprobs": self._logprobs}
            done = self._events.write_part("response.output_text.done", {**place, **said})
        written += (done, self._events.write_part("response.content_part.done", {**place, "part": part}))
        self._content.append(part)
        self._kind, self._pieces, self._logprobs, self._annotations = "", [], [], []


class CallItem:
    """A call of a tool."""

    def __init__(
        self, item_id: str, index: int, progress: Progress, call: StreamedCall, called: Called
    ) -> None:
        self._events = _Events(item_id, index, progress)
        self._kind = "custom_tool_call_input" if called.is_custom else "function_call_arguments"
        self._head = self._events.head(f"response.{self._kind}.delta")
        self._called = called
        self.call = call

    def begin(self, written: list[bytes]) -> None:
        """See ``OpenItem.begin``."""
        item = call_item(self._events.id, self.call.id, self._called, "", "in_progress")
        item["input" if self._called.is_custom else "arguments"] = ""
        written.append(self._events.write("response.output_item.added", {"item": item}))

    def flush(self, written: list[bytes]) -> None:
        """Write what of the arguments has not gone out; a custom tool's input waits until it is whole."""
        text = "" if self._called.is_custom else self.call.unwritten()
        if text:
            written.append(self._events.piece(self._head, text))

    def end(self, status: str, written: list[bytes]) -> dict[str, Any]:
        """See ``OpenItem.end``."""
        self.flush(written)
        item = call_item(self._events.id, self.call.id, self._called, "".join(self.call.pieces), status)
        name = "input" if self._called.is_custom else "arguments"
        if self._called.is_custom or not self.call.pieces:
            written.append(self._events.piece(self._head, item[name]))
        done = {"name": item["name"], name: item[name]} if name == "arguments" else {name: item[name]}
        written += (
            self._events.write_part(f"response.{self._kind}.done", done),
            self._events.write("response.output_item.done", {"item": item}),
        )
        return item
