"""A chat completion as a Responses answer: what whole and streamed ones have in common, and the whole one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from proxying.adapters.base import Usage, token_count
from proxying.adapters.chat_message import NewId, calls_of, reasoning_of, text_of, tool_id
from proxying.adapters.gateway_reasoning import packed, signed_call
from proxying.adapters.json_text import answer_text
from proxying.adapters.openai_usage import read_usage
from proxying.adapters.responses_names import Called, called_as, custom_input

_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
# Ids of items are at most 64 characters long where they are sent back, prefix and number included.
_LONGEST_ID: Final = 48
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
# What of a request its answer repeats, and what stands there where the client said nothing.
_ECHOED: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "user": None,
}
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class AnswerIds:
    """The ids of one answer and its items, made of the provider's, so that every copy has the same."""

    base: str

    @property
    def response(self) -> str:
        """The answer's own."""
        return f"resp_{self.base}"

    def item(self, prefix: str, index: int) -> str:
        """That of the item at ``index`` of the output."""
        return f"{prefix}_{self.base}_{index}"


def answer_ids(given: Any, new_id: NewId) -> AnswerIds:
    """Ids in the letters that OpenAI takes; a long one of the provider's becomes its digest."""
    text = _ID.sub("_", given) if isinstance(given, str) else ""
    text = text.removeprefix("chatcmpl-").removeprefix("resp_") or new_id()
    return AnswerIds(text if len(text) <= _LONGEST_ID else sha256(text.encode()).hexdigest()[:32])


def echo_of(request: dict[str, Any]) -> dict[str, Any]:
    """What of a request its answer repeats."""
    return {
        name: default if request.get(name) is None else request[name] for name, default in _ECHOED.items()
    }


def announced(request: dict[str, Any], chat: dict[str, Any], ids: AnswerIds, clock: Clock) -> dict[str, Any]:
    """An answer without its output. ``chat`` is a completion or a chunk of one."""
    created = chat.get("created")
    tier = chat.get("service_tier")
    answer: dict[str, Any] = {
        "id": ids.response,
        "object": "response",
        "created_at": created if isinstance(created, int) and created > 0 else int(clock()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": chat.get("model") or "",
        "output": [],
        "previous_response_id": None,
        "service_tier": tier if isinstance(tier, str) else "default",
        "store": False,
        "truncation": "disabled",
        "usage": None,
    }
    return answer | echo_of(request)


def settle(answer: dict[str, Any], finish_reason: Any, usage: Any) -> None:
    """Say how an answer ended, and the counts; the last item of one that was cut is incomplete."""
    reason = _INCOMPLETE.get(finish_reason) if isinstance(finish_reason, str) else None
    answer["status"] = "incomplete" if reason else "completed"
    if reason:
        answer["incomplete_details"] = {"reason": reason}
    answer["usage"] = responses_usage(usage)


def last_status(finish_reason: Any) -> str:
    """The status of the last item."""
    is_cut = isinstance(finish_reason, str) and finish_reason in _INCOMPLETE
    return "incomplete" if is_cut else "completed"


def responses_usage(raw: Any) -> dict[str, Any] | None:
    """The counts under their names in Responses; None where the provider counted nothing."""
    if not isinstance(raw, dict):
        return None
    usage = Usage()
    read_usage(raw, usage)
    details = raw.get("prompt_tokens_details")
    stored = token_count(details.get("cache_write_tokens")) if isinstance(details, dict) else None
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": stored or 0,
        },
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": prompt + completion,
    }


def reasoning_item(item_id: str, text: str, details: list[dict[str, Any]]) -> dict[str, Any]:
    """What the model thought. It carries what its provider wants back, and the gateway's mark if nothing."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"id": item_id, "type": "reasoning", "summary": summary, "encrypted_content": packed(details)}


def message_item(item_id: str, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """What the model said."""
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def text_part(text: str, logprobs: list[Any], annotations: list[Any]) -> dict[str, Any]:
    """A piece of what the model said."""
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs}


def refusal_part(text: str) -> dict[str, Any]:
    """Why the model would not answer."""
    return {"type": "refusal", "refusal": text}


def call_item(item_id: str, call_id: str, called: Called, arguments: str, status: str) -> dict[str, Any]:
    """A call of one of the client's tools; no arguments of a function are an empty object."""
    kind = "custom_tool_call" if called.is_custom else "function_call"
    item = {"id": item_id, "type": kind, "status": status, "call_id": call_id, "name": called.name}
    if called.is_custom:
        item["input"] = custom_input(arguments)
    else:
        item["arguments"] = arguments or "{}"
    if called.namespace is not None:
        item["namespace"] = called.namespace
    return item


def call_prefix(called: Called) -> str:
    """How the id of such an item begins."""
    return "ctc" if called.is_custom else "fc"


def details_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of ``reasoning_details`` in a message or delta."""
    details = message.get("reasoning_details")
    return [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []


def annotations_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Citations in a message or delta, flat as Responses has them."""
    found = message.get("annotations")
    cited = (
        [one.get("url_citation") for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    )
    return [{"type": "url_citation", **one} for one in cited if isinstance(one, dict)]


def logprobs_of(choice: dict[str, Any]) -> list[Any]:
    """The probabilities of the tokens of a choice's text."""
    held = choice.get("logprobs")
    entries = held.get("content") if isinstance(held, dict) else None
    return entries if isinstance(entries, list) else []


def responses_answer(
    chat: dict[str, Any], request: dict[str, Any], new_id: NewId, clock: Clock
) -> dict[str, Any]:
    """A whole chat completion as a Responses answer; of several choices the first."""
    choice = chat["choices"][0]
    given = choice.get("message")
    message = given if isinstance(given, dict) else {}  # Azure's filtered answers have none
    ids = answer_ids(chat.get("id"), new_id)
    answer = announced(request, chat, ids, clock)
    output: list[dict[str, Any]] = answer["output"]
    thought, details = reasoning_of(message), details_of(message)
    if thought or details:
        output.append(reasoning_item(ids.item("rs", 0), thought, details))
    content = _content(choice, message)
    if content:
        output.append(message_item(ids.item("msg", len(output)), content, "completed"))
    calls = calls_of(message)
    known = called_as(request) if calls else {}
    for call in calls:
        call_id = tool_id(call.get("id"), new_id, "call")
        if isinstance(call.get("extra_content"), dict):
            signed = [signed_call(call_id, call["extra_content"])]
            output.append(reasoning_item(ids.item("rs", len(output)), "", signed))
        output.append(_call(call, call_id, known, ids, len(output)))
    if output and "status" in output[-1]:
        output[-1]["status"] = last_status(choice.get("finish_reason"))
    settle(answer, choice.get("finish_reason"), chat.get("usage"))
    return answer


def _content(choice: dict[str, Any], message: dict[str, Any]) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    text, refusal = text_of(message.get("content")), text_of(message.get("refusal"))
    if text:
        content.append(text_part(text, logprobs_of(choice), annotations_of(message)))
    if refusal:
        content.append(refusal_part(refusal))
    return content


def _call(
    call: dict[str, Any], call_id: str, known: dict[str, Called], ids: AnswerIds, index: int
) -> dict[str, Any]:
    function = call.get("function")
    given = function if isinstance(function, dict) else {}
    arguments = given.get("arguments")
    if isinstance(arguments, dict):
        arguments = answer_text(arguments).decode()
    name = str(given.get("name") or "")
    called = known.get(name) or Called(name)
    return call_item(
        ids.item(call_prefix(called), index),
        call_id,
        called,
        arguments if isinstance(arguments, str) else "",
        "completed",
    )
