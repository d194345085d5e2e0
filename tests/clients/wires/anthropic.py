"""Anthropic's Messages, as Anthropic checks and answers them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.clients.mind import Asked, RefusedError, Said, Tool
from tests.clients.wires.base import Reply, Vendor, closed, compact, decoded, need, only

FIELDS = frozenset(
    {
        *("model", "messages", "max_tokens", "system", "stream", "tools", "tool_choice", "stop_sequences"),
        *("temperature", "top_p", "top_k", "metadata", "thinking", "output_config", "service_tier"),
        *("cache_control", "context_management"),
    }
)
SAMPLING = ("temperature", "top_p", "top_k")
VERSIONS = {"2023-06-01", "2026-10-21"}
NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
STOPS = {"end": "end_turn", "stop": "stop_sequence", "length": "max_tokens", "calls": "tool_use"}
SIGNATURE = "c2lnbmVkLWJ5LXRoZS1zY3JpcHQ="
# A signature of the gateway's own never goes to a provider.
FORGED = "gateway"


class Anthropic:
    """See ``base.Wire``."""

    def read(self, path: str, headers: Mapping[str, str], body: bytes, vendor: Vendor) -> Asked:
        data = json.loads(body)
        need(path.endswith(("/messages", "/messages/count_tokens")), f"no such address: {path}")
        version = headers.get("anthropic-version")
        need(version in VERSIONS, f"anthropic-version: {version!r}")
        need(data.get("model") == vendor.model, f"model: {data.get('model')!r}")
        only(data, FIELDS, "request")
        need(
            path.endswith("count_tokens") or isinstance(data.get("max_tokens"), int),
            "max_tokens: Field required",
        )
        sampled = [name for name in SAMPLING if name in data]
        need(not (sampled and version != "2023-06-01"), f"{sampled}: not supported in this version")
        need(0 <= data.get("temperature", 1) <= 1, "temperature: range 0..1")
        thinks = data.get("thinking", {}).get("type", "disabled") != "disabled"
        need(not (thinks and sampled), "thinking: sampling parameters must not be set")
        asked = Asked(
            model=data["model"],
            stream=data.get("stream") is True,
            tools=[_tool(one) for one in data.get("tools", [])],
            stop=data.get("stop_sequences", []),
            max_tokens=data.get("max_tokens"),
            thinks=thinks,
            system=_system(data.get("system", "")),
        )
        _read_choice(data, asked)
        need(
            not (thinks and asked.choice not in {"auto", "none"}),
            "thinking may not be enabled when a tool is forced",
        )
        asked.json_only = "json" in asked.system.lower()
        form = data.get("output_config", {}).get("format")
        if form:
            need(form["type"] == "json_schema", "output_config.format.type")
            closed(form["schema"], all_required=False)
            asked.schema = form["schema"]
        _Messages(asked).read(data["messages"])
        return asked

    def write(self, said: Said, asked: Asked) -> Reply:
        if not asked.stream:
            return Reply(compact(_whole(said, asked)))
        events = [
            f"event: {one['type']}\ndata: ".encode() + compact(one) + b"\n\n" for one in _events(said, asked)
        ]
        return Reply(pieces=events)

    def count(self, said: Said) -> Reply:
        """The answer of the counter."""
        return Reply(compact({"input_tokens": said.prompt_tokens}))

    def refusal(self, error: RefusedError) -> Reply:
        told = {"type": "invalid_request_error", "message": str(error)}
        return Reply(compact({"type": "error", "error": told, "request_id": "req_1"}), status=400)


def _system(system: Any) -> str:
    if isinstance(system, str):
        return system
    for block in system:
        only(block, {"type", "text", "cache_control"}, "system")
        need(block["type"] == "text" and block["text"], "system: text content blocks must be non-empty")
    return "\n".join(block["text"] for block in system)


def _tool(data: Any) -> Tool:
    only(
        data,
        {"type", "name", "description", "input_schema", "cache_control", "strict", "eager_input_streaming"},
        "tools",
    )
    need(data.get("type", "custom") == "custom", "tools: type")
    need(NAME.fullmatch(data["name"]), "tools: name")
    need(data["input_schema"].get("type") == "object", "tools: input_schema.type")
    return Tool(data["name"], data["input_schema"])


def _read_choice(data: dict[str, Any], asked: Asked) -> None:
    choice = data.get("tool_choice")
    if choice is None:
        return
    only(choice, {"type", "name", "disable_parallel_tool_use"}, "tool_choice")
    need(asked.tools, "tool_choice: only allowed with tools")
    need(choice["type"] in {"auto", "any", "none", "tool"}, "tool_choice.type")
    asked.choice = choice["name"] if choice["type"] == "tool" else choice["type"]
    if choice["type"] == "tool":
        need(choice["name"] in {tool.name for tool in asked.tools}, "tool_choice: no such tool")
    asked.parallel = choice.get("disable_parallel_tool_use") is not True


class _Messages:
    """Reads the conversation, and minds that every tool use has its result in the next message."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._open: dict[str, str] = {}
        self._fresh = True

    def read(self, messages: list[dict[str, Any]]) -> None:
        need(messages, "messages: at least one message is required")
        for number, message in enumerate(messages):
            only(message, {"role", "content"}, f"messages.{number}")
            content = message["content"]
            need(content, f"messages.{number}: all messages must have non-empty content")
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            need(message["role"] in {"user", "assistant"}, f"messages.{number}.role")
            if message["role"] == "user":
                self._user(blocks)
            else:
                self._assistant(blocks)
        if self._asked.thinks and self._asked.results:
            using = next(one for one in reversed(messages) if one["role"] == "assistant")["content"]
            need(
                using[0]["type"] == "thinking",
                "expected `thinking`, but found `tool_use`, in a turn of thinking",
            )
        need(messages[-1]["role"] == "user", "prefilling assistant messages is not supported for this model")

    def _user(self, blocks: list[dict[str, Any]]) -> None:
        results = [block for block in blocks if block["type"] == "tool_result"]
        need(blocks[: len(results)] == results, "tool_result blocks must come first")
        need(
            {block["tool_use_id"] for block in results} == set(self._open)
            and len(results) == len(self._open),
            "tool_use ids were found without tool_result blocks immediately after, or the reverse",
        )
        for block in results:
            only(block, {"type", "tool_use_id", "content", "is_error", "cache_control"}, "tool_result")
            content = block.get("content", "")
            inner = content if isinstance(content, list) else [{"type": "text", "text": content or " "}]
            text = " ".join(self._block(one) for one in inner)
            self._asked.results.append((self._open.pop(block["tool_use_id"]), text))
        texts = [self._block(block) for block in blocks[len(results) :]]
        if not texts:
            return
        said = "\n".join(text for text in texts if text)
        self._asked.prompt = said if self._fresh else f"{self._asked.prompt}\n{said}"
        self._asked.results = [] if self._fresh else self._asked.results
        self._fresh = False

    def _assistant(self, blocks: list[dict[str, Any]]) -> None:
        need(not self._open, "tool_use ids were found without tool_result blocks immediately after")
        for block in blocks:
            if block["type"] == "tool_use":
                only(block, {"type", "id", "name", "input", "cache_control"}, "tool_use")
                need(NAME.fullmatch(block["id"]), "tool_use.id")
                need(isinstance(block["input"], dict), "tool_use.input: must be an object")
                self._open[block["id"]] = block["name"]
            elif block["type"] == "thinking":
                need(block["signature"] and FORGED not in block["signature"], "thinking: invalid signature")
            else:
                self._block(block)
        self._fresh = not self._open

    def _block(self, block: dict[str, Any]) -> str:
        if block["type"] == "text":
            only(block, {"type", "text", "cache_control", "citations"}, "text")
            need(block["text"], "text content blocks must be non-empty")
            return str(block["text"])
        need(block["type"] in {"image", "document"}, f"block of type {block['type']!r}")
        only(block, {"type", "source", "cache_control", "title", "context", "citations"}, block["type"])
        source = block["source"]
        need(source["type"] in {"base64", "url"}, "source.type")
        if source["type"] == "url":
            self._asked.shown.append(("image/by-address", source["url"].encode()))
        else:
            self._asked.shown.append((source["media_type"], decoded(source["data"])))
        return ""


def _usage(said: Said, output: int) -> dict[str, Any]:
    return {
        "input_tokens": said.prompt_tokens - said.cache_read - said.cache_written,
        "cache_read_input_tokens": said.cache_read,
        "cache_creation_input_tokens": said.cache_written,
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": said.thought_tokens},
    }


def _message(asked: Asked) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _blocks(said: Said) -> Iterator[dict[str, Any]]:
    if said.thought:
        yield {"type": "thinking", "thinking": said.thought, "signature": SIGNATURE}
    if said.text:
        yield {"type": "text", "text": said.text}
    for call in said.calls:
        yield {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": call.arguments}


def _whole(said: Said, asked: Asked) -> dict[str, Any]:
    return {
        **_message(asked),
        "content": list(_blocks(said)),
        "stop_reason": STOPS[said.finish],
        "stop_sequence": said.stopped_by,
        "usage": _usage(said, said.completion_tokens),
    }


def _events(said: Said, asked: Asked) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": {**_message(asked), "usage": _usage(said, 1)}}
    yield {"type": "ping"}
    for index, block in enumerate(_blocks(said)):
        empty = {"text": "", "thinking": "", "signature": "", "input": {}}
        opening = {name: empty.get(name, value) for name, value in block.items()}
        yield {"type": "content_block_start", "index": index, "content_block": opening}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": STOPS[said.finish], "stop_sequence": said.stopped_by}
    yield {"type": "message_delta", "delta": delta, "usage": _usage(said, said.completion_tokens)}
    yield {"type": "message_stop"}


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if block["type"] == "text":
        for piece in re.findall(r"\S+\s*|\s+", block["text"]):
            yield {"type": "text_delta", "text": piece}
    elif block["type"] == "thinking":
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        # A call without arguments has no other piece than the empty one.
        yield {"type": "input_json_delta", "partial_json": ""}
        text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        for at in range(0, len(text), 7):
            yield {"type": "input_json_delta", "partial_json": text[at : at + 7]}
