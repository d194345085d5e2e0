"""The input of a Responses request as chat messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from proxying.adapters.dialects import refuse
from proxying.adapters.gateway_reasoning import signature_of, unpacked
from proxying.adapters.json_text import request_text
from proxying.adapters.responses_content import content_parts, joined_text, simplest
from proxying.adapters.responses_names import custom_arguments, flat_name

_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")
_ROLES: Final = ("user", "system", "developer", "assistant")


class ChatTurns:
    """The items of one request, rewritten one by one.

    What the assistant said, thought and called in a row is one message, as chat completions want it. Pictures
    in the results of tools follow in a user's message, where alone they may stand.

    Args:
        instructions_role: What ``developer`` and ``system`` become.
        with_details: Send ``reasoning_details`` along, for wires that put signatures back.
        with_signatures: Send the ``extra_content`` of calls along, for those that want it back.
        with_reasoning: Send the reasoning of earlier turns along as ``reasoning_content``.
    """

    def __init__(
        self, instructions_role: str, *, with_details: bool, with_signatures: bool, with_reasoning: bool
    ) -> None:
        self.messages: list[dict[str, Any]] = []
        self._instructions_role = instructions_role
        self._with_details = with_details
        self._with_signatures = with_signatures
        self._with_reasoning = with_reasoning
        self._signatures: dict[str, dict[str, Any]] = {}
        self._assistant: dict[str, Any] | None = None
        self._pictures: list[dict[str, Any]] = []

    def instruct(self, text: str) -> None:
        """Instructions that stand before everything else."""
        self.messages.append({"role": self._instructions_role, "content": text})

    def add(self, item: Any, where: str) -> None:
        """Take the next item.

        Raises:
            InvalidRequestError: it has no place in chat completions.
        """
        kind = item.get("type") if isinstance(item, dict) else None
        if kind is None and isinstance(item, dict) and "role" in item:
            kind = "message"
        handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is None:
            raise refuse(f"{where}.type", f"An item of type {kind!r} cannot be sent to this provider.")
        if kind not in _OUTPUTS:
            self._show_pictures()
        handler(self, item, where)

    def close(self) -> None:
        """No more items."""
        self._show_pictures()
        self._end_turn()

    def _message(self, item: dict[str, Any], where: str) -> None:
        role = item.get("role")
        if role not in _ROLES:
            raise refuse(f"{where}.role", f"The role {role!r} is not known.")
        parts = content_parts(item.get("content"), f"{where}.content")
        if role == "assistant":
            turn = self._turn()
            text = joined_text(parts)
            turn["content"] = f"{turn['content']}\n{text}" if turn["content"] else text
            return
        self._end_turn()
        if parts:
            role = "user" if role == "user" else self._instructions_role
            self.messages.append({"role": role, "content": simplest(parts)})

    def _call(self, item: dict[str, Any], where: str) -> None:
        for name in ("call_id", "name"):
            if not isinstance(item.get(name), str) or not item[name]:
                raise refuse(f"{where}.{name}", "A text is expected.")
        arguments = item.get("arguments")
        if item["type"] == "custom_tool_call":
            arguments = custom_arguments(item.get("input"))
        name = flat_name(item["name"], item.get("namespace"))
        if isinstance(arguments, dict):  # some clients send back what they parsed
            arguments = request_text(arguments).decode()
        if arguments is not None and not isinstance(arguments, str):
            raise refuse(f"{where}.arguments", "The JSON text of an object is expected.")
        function = {"name": name, "arguments": arguments or "{}"}
        call = {"id": item["call_id"], "type": "function", "function": function}
        if item["call_id"] in self._signatures:
            call["extra_content"] = self._signatures[item["call_id"]]
        self._turn().setdefault("tool_calls", []).append(call)

    def _output(self, item: dict[str, Any], where: str) -> None:
        if not isinstance(item.get("call_id"), str) or not item["call_id"]:
            raise refuse(f"{where}.call_id", "The id of a function call is expected.")
        self._end_turn()
        parts = content_parts(item.get("output"), f"{where}.output")
        self._pictures += [part for part in parts if part["type"] != "text"]
        self.messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": joined_text(parts)})

    def _reasoning(self, item: dict[str, Any], where: str) -> None:
        """What came encrypted of another provider nobody here can read: it stays behind."""
        turn = self._turn()
        details = []
        for entry in unpacked(item):
            signed = signature_of(entry)
            if signed is None:
                details.append(entry)
            elif self._with_signatures:
                self._signatures[signed[0]] = signed[1]
        if self._with_details:
            known = turn.setdefault("reasoning_details", [])
            # Indexes begin anew in every item, and entries of one index are one.
            first = 1 + max((entry["index"] for entry in known), default=-1)
            known += [{**entry, "index": first + n} for n, entry in enumerate(details)]
        if self._with_reasoning:
            shown = content_parts(item.get("summary") or [], f"{where}.summary")
            turn["reasoning_content"] = turn.get("reasoning_content", "") + joined_text(shown)

    def _turn(self) -> dict[str, Any]:
        if self._assistant is None:
            self._assistant = {"role": "assistant", "content": None}
        return self._assistant

    def _end_turn(self) -> None:
        turn, self._assistant = self._assistant, None
        if turn is None or not (turn["content"] or turn.get("tool_calls")):
            return  # thoughts alone are no message
        self.messages.append({name: value for name, value in turn.items() if value or name == "content"})

    def _show_pictures(self) -> None:
        if self._pictures:
            self.messages.append({"role": "user", "content": self._pictures})
            self._pictures = []


_HANDLERS: Final[Mapping[str, Callable[[ChatTurns, dict[str, Any], str], None]]] = {
    "message": ChatTurns._message,
    "function_call": ChatTurns._call,
    "function_call_output": ChatTurns._output,
    "custom_tool_call": ChatTurns._call,
    "custom_tool_call_output": ChatTurns._output,
    "reasoning": ChatTurns._reasoning,
}
