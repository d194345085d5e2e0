"""OpenAI's chat messages as Converse's: instructions apart, turns that alternate, thinking put back. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from proxying.adapters.anthropic_messages import plain_id
from proxying.adapters.bedrock_content import Block, Contents, cache_points
from proxying.adapters.bedrock_models import takes_thinking
from proxying.adapters.call_arguments import arguments_of
from proxying.adapters.dialects import refuse
from proxying.adapters.json_text import request_text
from proxying.adapters.reasoning_details import thinking_blocks

# Tuples, not sets: a client may have put something there that cannot be hashed.
_INSTRUCTIONS: Final = ("system", "developer")
_RESULTS: Final = ("tool", "function")
_LONGEST_ID: Final = 64
# Where Converse wants words and the client has none: a tool that said nothing, a document by itself.
_NOTHING_SAID: Final = "(no output)"
_DOCUMENT_ALONE: Final = "See the document."


class Conversation:
    """The messages of one request, rewritten one by one.

    ``system`` are the instructions wherever they stood; ``messages`` the turns: neighbours of one role are
    one turn, since Converse wants roles to alternate. Without tools declared (``with_tools``), calls and
    their results stand as text: Converse refuses their blocks then.
    """

    def __init__(self, model: str, *, with_tools: bool) -> None:
        self.system: list[Block] = []
        self.messages: list[dict[str, Any]] = []
        self._takes_thinking = takes_thinking(model)
        self._with_tools = with_tools
        self._contents = Contents()
        self._names: dict[str, str] = {}
        self._function_calls = 0

    def add(self, message: Any, where: str) -> None:
        """Take the next message.

        Raises:
            InvalidRequestError: it has no place in Converse's format; ``param`` names what.
        """
        role = message.get("role") if isinstance(message, dict) else None
        if role in _INSTRUCTIONS:
            self._add_instruction(message, where)
        elif role == "user":
            blocks = self._contents.blocks(message.get("content"), where)
            self._say("user", blocks, message)
        elif role == "assistant":
            self._say("assistant", self._spoken(message, where), message)
        elif role in _RESULTS:
            self._say("user", self._result(message, where), message)
        else:
            raise refuse(f"{where}.role", f"a message of the role {role!r} cannot be sent to this provider.")

    def close(self) -> None:
        """No more messages: instructions alone are a user's turn, an answer begun ends without white space.

        Raises:
            InvalidRequestError: nothing has any words.
        """
        if not self.messages:
            if not self.system:
                raise refuse("messages", "no message has any content.")
            self.messages, self.system = [{"role": "user", "content": self.system}], []
        last = self.messages[-1]
        if last["role"] == "assistant" and "text" in last["content"][-1]:
            last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()
        for message in self.messages:
            # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
            kinds = {kind for block in message["content"] for kind in block}
            if "document" in kinds and "text" not in kinds:
                message["content"].append({"text": _DOCUMENT_ALONE})

    def lacks_thinking(self) -> bool:
        """Whether tools are being used in the present turn and the thinking that led to it was not sent back.

        Claude refuses to think on in such a turn.
        """
        for message in reversed(self.messages):
            kinds = [next(iter(block)) for block in message["content"]]
            if message["role"] == "user" and "toolResult" not in kinds:
                return False
            if message["role"] == "assistant" and "toolUse" in kinds:
                return "reasoningContent" not in kinds[:1]
        return False

    def _say(self, role: str, blocks: list[Block], message: dict[str, Any]) -> None:
        if not blocks:
            return
        blocks += cache_points(message)
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        else:
            self.messages.append({"role": role, "content": blocks})

    def _add_instruction(self, message: dict[str, Any], where: str) -> None:
        blocks = self._contents.blocks(message.get("content"), where)
        if any(not block.keys() & {"text", "cachePoint", "guardContent"} for block in blocks):
            raise refuse(f"{where}.content", "only text can stand in an instruction.")
        self.system += blocks
        self.system += cache_points(message) if blocks else []

    def _spoken(self, message: dict[str, Any], where: str) -> list[Block]:
        details = message.get("reasoning_details") if self._takes_thinking else None
        blocks = [_reasoning(block) for block in thinking_blocks(details)]
        blocks += self._contents.blocks(message.get("content"), where)
        blocks += self._contents.blocks(message.get("refusal"), where)
        calls = message.get("tool_calls")
        if calls is not None and not isinstance(calls, list):
            raise refuse(f"{where}.tool_calls", "a list is expected.")
        for number, call in enumerate(calls or ()):
            blocks.append(self._call(call, f"{where}.tool_calls[{number}]"))
            blocks += cache_points(call)
        if isinstance(message.get("function_call"), dict) and not calls:
            self._function_calls += 1
            call = {"id": self._function_id(), "function": message["function_call"]}
            blocks.append(self._call(call, f"{where}.function_call"))
        return blocks

    def _call(self, call: Any, where: str) -> Block:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or call.get("type", "function") != "function":
            raise refuse(f"{where}.type", "only calls of functions can be sent to this provider.")
        name, call_id = function.get("name"), call.get("id")
        if not isinstance(name, str) or not name:
            raise refuse(f"{where}.function.name", "a text is expected.")
        if not isinstance(call_id, str) or not call_id:
            raise refuse(f"{where}.id", "an id is expected.")
        arguments = arguments_of(function.get("arguments"), f"{where}.function.arguments")
        self._names[call_id] = name
        if not self._with_tools:
            return {"text": f"[Called the tool {name} with {request_text(arguments).decode()}]"}
        return {"toolUse": {"toolUseId": tool_use_id(call_id), "name": name, "input": arguments}}

    def _result(self, message: dict[str, Any], where: str) -> list[Block]:
        call_id = message.get("tool_call_id")
        if message["role"] == "function":
            call_id = self._function_id()
        if not isinstance(call_id, str) or not call_id:
            raise refuse(f"{where}.tool_call_id", "the id of a tool call is expected.")
        content = message.get("content")
        blocks = self._contents.blocks(content, where)
        if not self._with_tools:
            name = self._names.get(call_id, "")
            return [{"text": f"[The tool {name} answered:]"}, *blocks]
        points = [block for block in blocks if "cachePoint" in block]
        said = [block for block in blocks if "cachePoint" not in block]  # they cannot stand inside
        said = said or [{"text": _NOTHING_SAID}]
        result: dict[str, Any] = {"toolUseId": tool_use_id(call_id), "content": said}
        if message.get("is_error") is True:
            result["status"] = "error"
        return [{"toolResult": result}, *points[:1]]

    def _function_id(self) -> str:
        """The old form has no ids: its calls are counted, and a result belongs to the last one."""
        return f"call_function_{self._function_calls}"


def tool_use_id(text: str) -> str:
    """A tool call's id in the letters and the length that Converse takes; always the same for one id."""
    plain = plain_id(text)
    return plain if len(plain) <= _LONGEST_ID else "call_" + sha256(text.encode()).hexdigest()[:40]


def _reasoning(block: dict[str, Any]) -> Block:
    """A thinking block as Converse's."""
    if block["type"] == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": block["data"]}}
    return {
        "reasoningContent": {"reasoningText": {"text": block["thinking"], "signature": block["signature"]}}
    }
