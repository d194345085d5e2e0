"""A stream of chat completion chunks as events of a Responses stream."""

from __future__ import annotations

from typing import Any, Final

import orjson

from proxying import sse
from proxying.adapters.base import Progress
from proxying.adapters.chat_message import NewId, calls_of, reasoning_of, text_of, usage_of
from proxying.adapters.gateway_reasoning import signed_call
from proxying.adapters.json_text import answer_text
from proxying.adapters.responses_answer import (
    AnswerIds,
    Clock,
    annotations_of,
    announced,
    answer_ids,
    call_prefix,
    details_of,
    last_status,
    logprobs_of,
    settle,
)
from proxying.adapters.responses_items import CallItem, MessageItem, OpenItem, ReasoningItem
from proxying.adapters.responses_names import Called, called_as
from proxying.adapters.streamed_calls import CallOrder

_TERMINAL: Final = {"completed": "response.completed", "incomplete": "response.incomplete"}


class ResponsesEvents:
    """See ``proxying.adapters.dialects.EventWriter``. Items come one after another, never interleaved.

    An item of text that goes on after a call of a function is a new one: its events are over by then.
    """

    def __init__(self, request: dict[str, Any], new_id: NewId, clock: Clock) -> None:
        self.progress = Progress()
        self._request = request
        self._new_id = new_id
        self._clock = clock
        self._ids: AnswerIds | None = None
        self._item: OpenItem | None = None
        self._calls = CallOrder(new_id, "call")
        self._called: dict[str, Called] | None = None
        self._output: list[dict[str, Any]] = []
        self._finish: Any = None
        self._usage: dict[str, Any] | None = None

    def write(self, event: sse.Event) -> bytes:
        """The events for one chunk."""
        if event.data == b"[DONE]":
            return self._end()
        data = orjson.loads(event.data)
        self._usage = usage_of(data) or self._usage
        written: list[bytes] = []
        # Azure's first chunk has no choice, no id and no model.
        for choice in data.get("choices") or ():
            if choice.get("index") in (0, None):
                if self._ids is None:
                    self._start(data, written)
                self._choice(choice, written)
        return b"".join(written)

    def _start(self, data: dict[str, Any], written: list[bytes]) -> AnswerIds:
        ids = self._ids = answer_ids(data.get("id"), self._new_id)
        self.progress.response = announced(self._request, data, ids, self._clock)
        # The client's tools come back in it: written once, as they can be long.
        answer = answer_text(self.progress.response)
        written += (self._about("response.created", answer), self._about("response.in_progress", answer))
        return ids

    def _about(self, kind: str, answer: bytes) -> bytes:
        name = kind.encode()
        number = self.progress.next_number
        self.progress.next_number += 1
        head = b'event: %b\ndata: {"type":"%b","sequence_number":%d,"response":' % (name, name, number)
        return head + answer + b"}\n\n"

    def _choice(self, choice: dict[str, Any], written: list[bytes]) -> None:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            thought, details = reasoning_of(delta), details_of(delta)
            if thought or details:
                self._think(thought, details, written)
            text = text_of(delta.get("content"))
            if text:
                self._message(written).say(text, logprobs_of(choice), written)
            for note in annotations_of(delta):
                self._message(written).annotate(note, written)
            refusal = text_of(delta.get("refusal"))
            if refusal:
                self._message(written).refuse(refusal, written)
            for call in calls_of(delta):
                self._call(call, written)
        self._finish = choice.get("finish_reason") or self._finish

    def _think(self, thought: str, details: list[dict[str, Any]], written: list[bytes]) -> None:
        item = self._item
        if not isinstance(item, ReasoningItem):
            if not thought and self._output and self._output[-1]["type"] == "reasoning":
                return  # a signature that comes late: its item has been closed
            self._close_all(written)
            item = ReasoningItem(self._item_id("rs"), len(self._output), self.progress)
            self._open(item, written)
        item.think(thought, details, written)

    def _message(self, written: list[bytes]) -> MessageItem:
        item = self._item
        if not isinstance(item, MessageItem):
            self._close_all(written)
            item = MessageItem(self._item_id("msg"), len(self._output), self.progress)
            self._open(item, written)
        return item

    def _call(self, delta: dict[str, Any], written: list[bytes]) -> None:
        call = self._calls.take(delta)
        item = self._item if isinstance(self._item, CallItem) else None
        if item is not None and call is item.call:
            item.flush(written)
        elif call.name and (item is None or item.call.is_complete()):
            self._next_call(written)

    def _next_call(self, written: list[bytes]) -> None:
        """Close what is open and open the call that waits longest, and the next if it is complete."""
        while self._calls.waiting:
            call = self._calls.waiting.pop(0)
            self._close(written, "completed")
            if call.extra is not None:
                self._sign(call.id, call.extra, written)
            if self._called is None:
                self._called = called_as(self._request)
            called = self._called.get(call.name) or Called(call.name)
            item_id = self._item_id(call_prefix(called))
            item = CallItem(item_id, len(self._output), self.progress, call, called)
            self._open(item, written)
            item.flush(written)
            if not call.is_complete():
                return

    def _sign(self, call_id: str, extra: dict[str, Any], written: list[bytes]) -> None:
        """What a call carries beside its function comes back in an item of its own, before it."""
        item = ReasoningItem(self._item_id("rs"), len(self._output), self.progress)
        self._open(item, written)
        item.think("", [signed_call(call_id, extra)], written)
        self._close(written, "completed")

    def _item_id(self, prefix: str) -> str:
        assert self._ids is not None  # noqa: S101 - items come after the start
        # The item that is open is in no list yet, and closes before the next one opens.
        return self._ids.item(prefix, len(self._output))

    def _open(self, item: OpenItem, written: list[bytes]) -> None:
        self._item = item
        item.begin(written)

    def _close(self, written: list[bytes], status: str) -> None:
        if self._item is not None:
            self._output.append(self._item.end(status, written))
            self._item = None

    def _close_all(self, written: list[bytes], status: str = "completed") -> None:
        """Nothing may stay open or waiting: calls that waited are written now."""
        while self._calls.waiting:
            self._next_call(written)
        self._close(written, status)

    def _end(self) -> bytes:
        written: list[bytes] = []
        if self._ids is None:
            self._start({}, written)
        self._close_all(written, last_status(self._finish))
        answer = self.progress.response
        answer["output"] = self._output
        settle(answer, self._finish, self._usage)
        written.append(self._about(_TERMINAL[answer["status"]], answer_text(answer)))
        return b"".join(written)
