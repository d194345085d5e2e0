"""What Gemini answered, as deltas of a chat completion: whole and streamed answers are both read here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from proxying.adapters.base import Usage
from proxying.adapters.gemini_logprobs import chat_logprobs
from proxying.adapters.gemini_usage import read_usage
from proxying.adapters.json_text import answer_text
from proxying.errors import UpstreamProtocolError

_BLOCKED: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
# The model broke down: without any content there is nothing to hand over.
_FAILED: Final = frozenset(
    {
        "OTHER",
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
        "IMAGE_OTHER",
    }
)
Delta = dict[str, Any]


@dataclass(slots=True)
class Piece:
    """What one event says of one choice; ``finish`` is its finish reason once it is known."""

    index: int
    delta: Delta
    finish: str | None = None
    logprobs: dict[str, Any] | None = None


@dataclass(slots=True)
class _Choice:
    calls: int = 0
    finish: str | None = None
    has_content: bool = False


@dataclass(slots=True)
class AnswerReader:
    """Reads the parts of one answer in order: all of it at once, or event by event.

    ``one_call`` cuts an answer to its first tool call, for clients that said ``parallel_tool_calls: false``;
    ``by_function_call`` writes that call in the old form, for clients that sent ``functions``.
    """

    one_call: bool = False
    by_function_call: bool = False
    response_id: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    _choices: dict[int, _Choice] = field(default_factory=dict)
    _is_blocked: bool = False

    def read(self, data: dict[str, Any]) -> list[Piece]:
        """Take note of one ``GenerateContentResponse``.

        Raises:
            UpstreamProtocolError: it is not one, or the model broke down before it said anything.
        """
        if not self.response_id and isinstance(data.get("responseId"), str):
            self.response_id = data["responseId"]
        if isinstance(data.get("modelVersion"), str):
            self.model = data["modelVersion"]
        if isinstance(data.get("usageMetadata"), dict):
            read_usage(data["usageMetadata"], self.usage)
        candidates = data.get("candidates")
        if candidates:
            if not isinstance(candidates, list):
                raise UpstreamProtocolError("The provider sent candidates that are not a list.")
            return [self._candidate(candidate) for candidate in candidates]
        feedback = data.get("promptFeedback")
        reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
        return [self._blocked(feedback, reason)] if isinstance(feedback, dict) and reason else []

    def is_complete(self, expected: int = 1) -> bool:
        """Whether every choice that has begun is finished, and there are as many as expected."""
        choices = self._choices.values()
        return self._is_blocked or (
            len(choices) >= expected and all(choice.finish is not None for choice in choices)
        )

    def _candidate(self, candidate: object) -> Piece:
        if not isinstance(candidate, dict):
            raise UpstreamProtocolError("The provider sent a candidate that is not an object.")
        index = candidate.get("index")
        number = index if isinstance(index, int) else 0
        choice = self._choices.setdefault(number, _Choice())
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        delta = self._delta(parts, number, choice) if parts else {}
        choice.has_content = choice.has_content or bool(delta)
        piece = Piece(number, delta)
        if candidate.get("logprobsResult"):
            piece.logprobs = chat_logprobs(candidate["logprobsResult"])
        reason = candidate.get("finishReason")
        if reason and choice.finish is None:
            piece.finish = choice.finish = self._finish(str(reason), choice)
            said = candidate.get("finishMessage")
            if choice.finish == "content_filter" and isinstance(said, str) and not choice.has_content:
                delta["refusal"] = said
        return piece

    def _blocked(self, feedback: dict[str, Any], reason: object) -> Piece:
        """The prompt itself was refused: there are no candidates at all."""
        self._is_blocked = True
        said = feedback.get("blockReasonMessage")
        refusal = said if isinstance(said, str) and said else f"The provider blocked the prompt ({reason})."
        return Piece(0, {"refusal": refusal}, "content_filter")

    def _delta(self, parts: object, number: int, choice: _Choice) -> Delta:
        if not isinstance(parts, list):
            raise UpstreamProtocolError("The provider sent parts that are not a list.")
        texts: list[str] = []
        thoughts: list[str] = []
        delta: Delta = {}
        for part in parts:
            if not isinstance(part, dict):
                raise UpstreamProtocolError("The provider sent a part that is not an object.")
            text = part.get("text")
            if isinstance(part.get("functionCall"), dict):
                self._add_call(part, number, choice, delta)
                continue
            if isinstance(text, str):
                (thoughts if part.get("thought") is True else texts).append(text)
            elif isinstance(part.get("inlineData"), dict) and part.get("thought") is not True:
                delta.setdefault("images", []).append(_image(part["inlineData"]))
            if _has_signature(part):
                delta["extra_content"] = _signed(part)
        thought, said = "".join(thoughts), "".join(texts)
        return {
            **({"reasoning_content": thought} if thought else {}),
            **({"content": said} if said else {}),
            **delta,
        }

    def _add_call(self, part: dict[str, Any], number: int, choice: _Choice, delta: Delta) -> None:
        if choice.calls and (self.one_call or self.by_function_call):
            return
        held = part["functionCall"]
        name, args = held.get("name"), held.get("args")
        if not isinstance(name, str) or not name:
            raise UpstreamProtocolError("The provider sent a function call without a name.")
        function = {"name": name, "arguments": answer_text(args if isinstance(args, dict) else {}).decode()}
        position, choice.calls = choice.calls, choice.calls + 1
        if self.by_function_call:
            delta["function_call"] = function
            return
        call_id = held.get("id")
        if not isinstance(call_id, str) or not call_id:
            call_id = self._invent(f"{number}|{position}|{name}|{function['arguments']}")
        call: dict[str, Any] = {"index": position, "id": call_id, "type": "function", "function": function}
        if _has_signature(part):
            call["extra_content"] = _signed(part)
        delta.setdefault("tool_calls", []).append(call)

    def _invent(self, call: str) -> str:
        """An id for a call that has none: always the same for one call, another for every other."""
        return "call_" + sha256(f"{self.response_id}|{call}".encode()).hexdigest()[:24]

    def _finish(self, reason: str, choice: _Choice) -> str:
        if reason == "MAX_TOKENS":
            return "length"
        if reason in _BLOCKED:
            return "content_filter"
        if reason in _FAILED and not choice.has_content:
            raise UpstreamProtocolError(f"The provider's model broke off without an answer ({reason}).")
        # Gemini says STOP for tool calls as well.
        if choice.calls:
            return "function_call" if self.by_function_call else "tool_calls"
        return "stop"


def messages_of(pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """The choices of a whole answer, from all that was said of each."""
    choices: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        message: dict[str, Any] = {"role": "assistant", "content": None, **piece.delta}
        message.setdefault("refusal", None)
        if "tool_calls" in message:
            message["tool_calls"] = [_without_index(call) for call in message["tool_calls"]]
        choices[piece.index] = {
            "index": piece.index,
            "message": message,
            "logprobs": piece.logprobs,
            "finish_reason": piece.finish or ("tool_calls" if piece.delta.get("tool_calls") else "stop"),
        }
    return [choices[index] for index in sorted(choices)]


def _without_index(call: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in call.items() if key != "index"}


def _has_signature(part: dict[str, Any]) -> bool:
    return isinstance(part.get("thoughtSignature"), str) and bool(part["thoughtSignature"])


def _signed(part: dict[str, Any]) -> dict[str, Any]:
    return {"google": {"thought_signature": part["thoughtSignature"]}}


def _image(data: dict[str, Any]) -> dict[str, Any]:
    url = f"data:{data.get('mimeType', 'image/png')};base64,{data.get('data', '')}"
    return {"type": "image_url", "image_url": {"url": url}}
