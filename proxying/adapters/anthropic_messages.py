"""OpenAI's chat messages as Anthropic's: instructions apart, tool results gathered, thinking put back."""

from __future__ import annotations

import re
from typing import Any, Final

from proxying.adapters.anthropic_content import content_blocks
from proxying.adapters.call_arguments import arguments_of
from proxying.adapters.dialects import refuse
from proxying.adapters.reasoning_details import thinking_blocks

_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
_INSTRUCTIONS: Final = ("system", "developer")
_RESULTS: Final = ("tool", "function")


class Conversation:
    """The messages of one request, rewritten one by one.

    ``system`` are the instructions wherever they stood; ``messages`` the turns. Results of tools go into one
    user turn, with the words that follow behind them.
    """

    def __init__(self) -> None:
        self.system: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self._results: list[dict[str, Any]] | None = None
        self._function_calls = 0

    def add(self, message: Any, where: str) -> None:
        """Take the next message.

        Raises:
            InvalidRequestError: it has no place in the Messages format.
        """
        role = message.get("role") if isinstance(message, dict) else None
        if role in _INSTRUCTIONS:
            self.system += content_blocks(message.get("content"), where)
        elif role == "user":
            self._add_user(content_blocks(message.get("content"), where))
        elif role == "assistant":
            self._add_assistant(message, where)
        elif role in _RESULTS:
            self._add_result(message, where)
        else:
            raise refuse(f"{where}.role", f"The role {role!r} cannot be sent to an Anthropic provider.")

    def close(self) -> None:
        """No more messages: an answer begun by the client must not end in white space."""
        last = self.messages[-1] if self.messages else None
        if last is None or last["role"] != "assistant":
            return
        block = last["content"][-1]
        if block["type"] == "text":
            block["text"] = block["text"].rstrip()

    def lacks_thinking(self) -> bool:
        """Whether tools are being used in the present turn and the thinking that led to it was not sent back.

        Anthropic refuses to think on in such a turn.
        """
        for message in reversed(self.messages):
            kinds = [block["type"] for block in message["content"]]
            if message["role"] == "user" and "tool_result" not in kinds:
                return False
            if message["role"] == "assistant" and "tool_use" in kinds:
                return not kinds[0].endswith("thinking")
        return False

    def _add_user(self, blocks: list[dict[str, Any]]) -> None:
        if not blocks:
            return
        if self._results is not None:
            self._results += blocks
            self._results = None
            return
        self.messages.append({"role": "user", "content": blocks})

    def _add_assistant(self, message: dict[str, Any], where: str) -> None:
        self._results = None
        blocks = thinking_blocks(message.get("reasoning_details"))
        blocks += content_blocks(message.get("content"), where)
        blocks += content_blocks(message.get("refusal"), where)
        calls = message.get("tool_calls")
        if calls is not None and not isinstance(calls, list):
            raise refuse(f"{where}.tool_calls", "A list is expected.")
        blocks += [_tool_use(call, f"{where}.tool_calls[{n}]") for n, call in enumerate(calls or ())]
        if isinstance(message.get("function_call"), dict):
            self._function_calls += 1
            call = {"id": self._function_id(), "type": "function", "function": message["function_call"]}
            blocks.append(_tool_use(call, f"{where}.function_call"))
        if blocks:
            self.messages.append({"role": "assistant", "content": blocks})

    def _add_result(self, message: dict[str, Any], where: str) -> None:
        wanted = message.get("tool_call_id")
        if message["role"] == "function":
            wanted = self._function_id()
        if not isinstance(wanted, str) or not wanted:
            raise refuse(f"{where}.tool_call_id", "The id of a tool call is expected.")
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": plain_id(wanted)}
        content = content_blocks(message.get("content"), where)
        if isinstance(message.get("content"), str):
            result["content"] = message["content"]
        elif content:
            result["content"] = content
        for extra in ("is_error", "cache_control"):
            if message.get(extra) is not None:
                result[extra] = message[extra]
        if self._results is None:
            self._results = []
            self.messages.append({"role": "user", "content": self._results})
        self._results.append(result)

    def _function_id(self) -> str:
        """The old form has no ids: its calls are counted, and a result belongs to the last one."""
        return f"call_function_{self._function_calls}"


def plain_id(text: str) -> str:
    """A tool call's id in the letters that Anthropic takes; other vendors' ids have dots and colons."""
    return _ID.sub("_", text)


def _tool_use(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type", "function") != "function":
        raise refuse(f"{where}.type", "Only calls of functions can be sent to an Anthropic provider.")
    if not isinstance(call.get("id"), str) or not call["id"]:
        raise refuse(f"{where}.id", "An id is expected.")
    use = {
        "type": "tool_use",
        "id": plain_id(call["id"]),
        "name": function.get("name"),
        "input": arguments_of(function.get("arguments"), f"{where}.function.arguments"),
    }
    if call.get("cache_control") is not None:
        use["cache_control"] = call["cache_control"]
    return use
