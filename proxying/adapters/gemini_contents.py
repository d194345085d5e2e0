"""A chat's messages, written as Gemini's turns and its system instruction. Pure."""

from __future__ import annotations

from typing import Any, Final

import orjson

from proxying.adapters.call_arguments import arguments_of
from proxying.adapters.dialects import refuse
from proxying.adapters.gemini_parts import Part, parts_of, text_of
from proxying.adapters.gemini_thinking import STAND_IN, demands_signatures

# Tuples, not sets: a client may have put something there that cannot be hashed.
_RESULTS: Final = ("tool", "function")
_INSTRUCTIONS: Final = ("system", "developer")


def contents_of(messages: object, model: str) -> dict[str, Any]:
    """``contents`` and, where there is one, ``systemInstruction``.

    Raises:
        InvalidRequestError: a message is malformed or not expressible; ``param`` names it.
    """
    if not isinstance(messages, list) or not messages:
        raise refuse("messages", "it must be a list with at least one message.")
    turns = _Turns(model)
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if not isinstance(message, dict):
            raise refuse(path, "a message must be an object.")
        turns.add(message, path)
    turns.close_results()
    if turns.contents:
        system = {"systemInstruction": {"parts": turns.system}} if turns.system else {}
        return {"contents": turns.contents, **system}
    if not turns.system:
        raise refuse("messages", "no message has any content.")
    # A chat of nothing but instructions: Gemini wants at least one turn.
    return {"contents": [{"role": "user", "parts": turns.system}]}


class _Turns:
    """Grows turn by turn; neighbouring tool results are one turn."""

    def __init__(self, model: str) -> None:
        self.contents: list[dict[str, Any]] = []
        self.system: list[Part] = []
        self._names: dict[str, str] = {}
        self._results: list[Part] = []
        self._shown: list[Part] = []
        self._signs = demands_signatures(model)

    def add(self, message: dict[str, Any], path: str) -> None:
        role = message.get("role")
        if role in _RESULTS:
            self._add_result(message, path)
            return
        self.close_results()
        if role in _INSTRUCTIONS:
            text = text_of(message.get("content"), f"{path}.content")
            self.system += [{"text": text}] if text else []
        elif role == "user":
            self._add_turn("user", parts_of(message.get("content"), f"{path}.content"))
        elif role == "assistant":
            self._add_turn("model", self._spoken(message, path) + self._calls(message, path))
        else:
            raise refuse(f"{path}.role", f"a message of the role {role!r} cannot be sent to this provider.")

    def close_results(self) -> None:
        """The results of one turn's calls are complete; images among them follow in a turn of their own."""
        self._add_turn("user", self._results)
        self._add_turn("user", self._shown)
        self._results, self._shown = [], []

    def _add_turn(self, role: str, parts: list[Part]) -> None:
        if parts:
            self.contents.append({"role": role, "parts": parts})

    def _spoken(self, message: dict[str, Any], path: str) -> list[Part]:
        """What the assistant said; the signature of the whole message stands on its last part."""
        parts = parts_of(message.get("content"), f"{path}.content")
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal:
            parts.append({"text": refusal})
        signature = signature_in(message)
        if parts and signature:
            parts[-1] = {**parts[-1], "thoughtSignature": signature}
        return parts

    def _calls(self, message: dict[str, Any], path: str) -> list[Part]:
        calls = message.get("tool_calls") or []
        if message.get("function_call") and not calls:
            calls = [{"function": message["function_call"]}]  # the old form, which has no ids
        if not isinstance(calls, list):
            raise refuse(f"{path}.tool_calls", "it must be a list.")
        parts = [self._call(call, f"{path}.tool_calls[{index}]") for index, call in enumerate(calls)]
        # Gemini itself signs the first of parallel calls only.
        if parts and self._signs and "thoughtSignature" not in parts[0]:
            parts[0]["thoughtSignature"] = STAND_IN
        return parts

    def _call(self, call: object, path: str) -> Part:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            raise refuse(path, "only calls of functions can be sent to this provider.")
        name = function.get("name")
        if not isinstance(name, str) or not name:
            raise refuse(f"{path}.function.name", "it must be a string.")
        held: dict[str, Any] = {
            "name": name,
            "args": arguments_of(function.get("arguments"), f"{path}.function.arguments"),
        }
        call_id = call.get("id")
        if isinstance(call_id, str) and call_id:
            held["id"] = call_id
            self._names[call_id] = name
        signature = signature_in(call)
        return {"functionCall": held, **({"thoughtSignature": signature} if signature else {})}

    def _add_result(self, message: dict[str, Any], path: str) -> None:
        call_id = message.get("tool_call_id")
        name = self._names.get(call_id) if isinstance(call_id, str) else None
        name = name or message.get("name")
        if not isinstance(name, str) or not name:
            raise refuse(f"{path}.tool_call_id", "no tool call before it has this id.")
        parts = parts_of(message.get("content"), f"{path}.content")
        text = "".join(part["text"] for part in parts if "text" in part)
        result: dict[str, Any] = {"name": name, "response": _response(text)}
        if isinstance(call_id, str) and call_id:
            result["id"] = call_id
        self._results.append({"functionResponse": result})
        self._shown += [part for part in parts if "text" not in part]


def signature_in(holder: dict[str, Any]) -> str | None:
    """``extra_content.google.thought_signature`` of a message or a tool call."""
    extra = holder.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def _response(text: str) -> dict[str, Any]:
    """A tool's result as an object: itself when it is one, else ``{"result": text}``."""
    if text.lstrip().startswith("{"):
        try:
            held = orjson.loads(text)
        except orjson.JSONDecodeError:
            held = None
        if isinstance(held, dict):
            return held
    return {"result": text}
