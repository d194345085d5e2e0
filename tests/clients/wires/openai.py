"""OpenAI's chat completions, as OpenAI and the vendors that follow it check and answer them."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from tests.clients.mind import VECTOR, Asked, RefusedError, Said, Tool
from tests.clients.wires.base import Reply, Vendor, closed, compact, decoded, media, need, only

FIELDS = frozenset(
    {
        *(
            "model",
            "messages",
            "stream",
            "stream_options",
            "temperature",
            "top_p",
            "n",
            "stop",
            "seed",
            "user",
        ),
        *("max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty", "logit_bias"),
        *("logprobs", "top_logprobs", "safety_identifier", "tools", "tool_choice", "parallel_tool_calls"),
        *("response_format", "reasoning_effort", "verbosity", "service_tier", "store", "metadata"),
        *("prediction", "audio", "modalities", "prompt_cache_key", "web_search_options"),
    }
)
PARTS = {"user": {"text", "image_url", "input_audio", "file"}, "assistant": {"text", "refusal"}}
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
FINISHES = {"end": "stop", "stop": "stop", "length": "length", "calls": "tool_calls"}


class OpenAI:
    """See ``base.Wire``."""

    def read(self, path: str, headers: Mapping[str, str], body: bytes, vendor: Vendor) -> Asked:
        data = json.loads(body)
        need(data.get("model") == vendor.model, f"the model {data.get('model')!r} does not exist")
        if path.endswith("/embeddings"):
            return Asked(
                vendor.model,
                prompt=json.dumps(data["input"]),
                json_only=data.get("encoding_format") == "base64",
            )
        need(path.endswith("/chat/completions"), f"no such address: {path}")
        only(data, (FIELDS | vendor.takes) - vendor.refuses, "request")
        asked = Asked(
            model=data["model"],
            stream=data.get("stream") is True,
            tools=[_tool(one) for one in data.get("tools", [])],
            choice=_choice(data),
            parallel=data.get("parallel_tool_calls") is not False,
            stop=[data["stop"]] if isinstance(data.get("stop"), str) else data.get("stop") or [],
            max_tokens=data.get("max_completion_tokens") or data.get("max_tokens"),
            thinks=data.get("reasoning_effort") not in {None, "none"},
        )
        need("stream_options" not in data or asked.stream, "'stream_options' is only allowed with 'stream'")
        asked.usage_wanted = bool((data.get("stream_options") or {}).get("include_usage"))
        # Who takes no options of streams sends usage unasked.
        asked.usage_unasked = "stream_options" in vendor.refuses
        need("parallel_tool_calls" not in data or asked.tools, "'parallel_tool_calls' needs 'tools'")
        _read_format(data.get("response_format") or {"type": "text"}, asked)
        _Messages(asked).read(data["messages"])
        return asked

    def write(self, said: Said, asked: Asked) -> Reply:
        if not asked.stream:
            return Reply(compact(_whole(said, asked)))
        chunks = [b"data: " + compact(chunk) + b"\n\n" for chunk in _chunks(said, asked)]
        return Reply(pieces=[*chunks, b"data: [DONE]\n\n"])

    def embed(self, asked: Asked) -> Reply:
        """One vector for each text."""
        texts = json.loads(asked.prompt)
        vector: Any = VECTOR
        if asked.json_only:
            vector = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
        rows = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, _ in enumerate([texts] if isinstance(texts, str) else texts)
        ]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return Reply(compact({"object": "list", "model": asked.model, "data": rows, "usage": usage}))

    def refusal(self, error: RefusedError) -> Reply:
        told = {"message": str(error), "type": "invalid_request_error", "param": None, "code": None}
        return Reply(compact({"error": told}), status=400)


def _tool(data: Any) -> Tool:
    only(data, {"type", "function"}, "tools")
    need(data["type"] == "function", "tools: the type must be 'function'")
    function = data["function"]
    only(function, {"name", "description", "parameters", "strict"}, "tools.function")
    need(NAME.fullmatch(function["name"]), "tools: not a name")
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    need(schema.get("type") == "object", "tools: the schema must be of type 'object'")
    if function.get("strict"):
        closed(schema, all_required=True)
    return Tool(function["name"], schema)


def _choice(data: dict[str, Any]) -> str:
    choice = data.get("tool_choice")
    need(choice is None or data.get("tools"), "'tool_choice' is only allowed when 'tools' are specified")
    if isinstance(choice, dict):
        only(choice, {"type", "function"}, "tool_choice")
        name = choice["function"]["name"]
        need(name in [one["function"]["name"] for one in data["tools"]], "tool_choice: no such tool")
        return str(name)
    words = {None: "auto", "auto": "auto", "none": "none", "required": "any"}
    need(choice in words, f"tool_choice: {choice!r}")
    return words[choice]


def _read_format(wanted: dict[str, Any], asked: Asked) -> None:
    need(wanted["type"] in {"text", "json_object", "json_schema"}, "response_format.type")
    asked.json_only = wanted["type"] == "json_object"
    if wanted["type"] == "json_schema":
        named = wanted["json_schema"]
        need(NAME.fullmatch(named.get("name", "")), "response_format.json_schema.name")
        if named.get("strict"):
            closed(named["schema"], all_required=True)
        asked.schema = named["schema"]


class _Messages:
    """Reads the conversation, and minds that every tool call is answered at once."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._open: dict[str, str] = {}
        self._fresh = True

    def read(self, messages: list[dict[str, Any]]) -> None:
        need(messages, "'messages' is empty")
        for message in messages:
            role = message["role"]
            need(role in {"system", "developer", "user", "assistant", "tool"}, f"role {role!r}")
            if role == "tool":
                self._result(message)
                continue
            need(not self._open, "an assistant message with 'tool_calls' must be followed by tool messages")
            text = self._content(message.get("content"), role)
            if role == "user":
                self._said(text)
            elif role == "assistant":
                self._answered(message, text)
            else:
                self._asked.system += text
        need(not self._open, "an assistant message with 'tool_calls' must be followed by tool messages")

    def _said(self, text: str) -> None:
        self._asked.prompt = text if self._fresh else f"{self._asked.prompt}\n{text}"
        self._asked.results = [] if self._fresh else self._asked.results
        self._fresh = False

    def _answered(self, message: dict[str, Any], text: str) -> None:
        calls = message.get("tool_calls")
        need(
            text or calls or message.get("refusal") or "content" in message,
            "an assistant message says nothing",
        )
        need(calls is None or calls, "'tool_calls' is empty")
        for call in calls or []:
            need(call["type"] == "function" and isinstance(call["id"], str) and call["id"], "tool_calls")
            need(isinstance(json.loads(call["function"]["arguments"]), dict), "tool_calls: arguments")
            self._open[call["id"]] = call["function"]["name"]
        self._fresh = not calls

    def _result(self, message: dict[str, Any]) -> None:
        name = self._open.pop(message["tool_call_id"], None)
        need(name, "messages with role 'tool' must be a response to a preceding message with 'tool_calls'")
        self._asked.results.append((str(name), self._content(message["content"], "tool")))

    def _content(self, content: Any, role: str) -> str:
        if content is None or isinstance(content, str):
            need(content is not None or role == "assistant", f"content of a {role} message is null")
            return content or ""
        allowed = PARTS.get(role, {"text"})
        texts = []
        for part in content:
            need(part["type"] in allowed, f"a {role} message cannot have a part of type {part['type']!r}")
            if part["type"] == "text":
                texts.append(part["text"])
            elif part["type"] == "image_url":
                self._asked.shown.append(media(part["image_url"]["url"]))
            elif part["type"] == "input_audio":
                sound = part["input_audio"]
                self._asked.shown.append((f"audio/{sound['format']}", decoded(sound["data"])))
            elif part["type"] == "file":
                self._asked.shown.append(media(part["file"]["file_data"]))
        return "\n".join(texts)


def _usage(said: Said) -> dict[str, Any]:
    return {
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": said.completion_tokens,
        "total_tokens": said.prompt_tokens + said.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": said.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": said.thought_tokens, "audio_tokens": 0},
    }


def _whole(said: Said, asked: Asked) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": None}
    if said.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for call in said.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": FINISHES[said.finish]}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1760000000,
        "model": asked.model,
        "choices": [choice],
        "usage": _usage(said),
        "system_fingerprint": "fp_1",
    }


def _chunks(said: Said, asked: Asked) -> Iterator[dict[str, Any]]:
    base = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": asked.model,
    }
    usage = {"usage": None} if asked.usage_wanted else {}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **usage}

    yield chunk({"role": "assistant", "content": None if said.calls else "", "refusal": None})
    for piece in said.pieces:
        yield chunk({"content": piece})
    for index, call in enumerate(said.calls):
        opening = {"name": call.name, "arguments": ""}
        yield chunk(
            {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": opening}]}
        )
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        for at in range(0, len(arguments), 7):
            piece = {"arguments": arguments[at : at + 7]}
            yield chunk({"tool_calls": [{"index": index, "function": piece}]})
    last = chunk({}, FINISHES[said.finish])
    yield {**last, "usage": _usage(said)} if asked.usage_unasked else last
    if asked.usage_wanted:
        yield {**base, "choices": [], "usage": _usage(said)}
