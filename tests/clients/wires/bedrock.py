"""Bedrock's Converse, as Amazon checks and answers it for one of Anthropic's models."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote
from zlib import crc32

from tests.clients.mind import Asked, RefusedError, Said, Tool
from tests.clients.wires.base import Reply, Vendor, closed, compact, decoded, need, only

FIELDS = frozenset(
    {
        *("messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields"),
        *("outputConfig", "serviceTier", "requestMetadata", "guardrailConfig"),
    }
)
TYPES = {"image": "image", "audio": "audio", "video": "video", "document": "application"}
ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
DOCUMENT = re.compile(r"[A-Za-z0-9()\[\]-]+( [A-Za-z0-9()\[\]-]+)*")
STOPS = {"end": "end_turn", "stop": "stop_sequence", "length": "max_tokens", "calls": "tool_use"}
SIGNATURE = "c2lnbmVkLWJ5LXRoZS1zY3JpcHQ="
# A signature of the gateway's own never goes to a provider.
FORGED = "gateway"


class Bedrock:
    """See ``base.Wire``."""

    def read(self, path: str, headers: Mapping[str, str], body: bytes, vendor: Vendor) -> Asked:
        address = f"/model/{quote(vendor.model, safe='')}/converse"
        need(path in {address, f"{address}-stream"}, f"the model of {path} does not exist")
        data = json.loads(body)
        only(data, FIELDS, "request")
        config = data.get("inferenceConfig", {})
        only(config, {"maxTokens", "temperature", "topP", "stopSequences"}, "inferenceConfig")
        extra = data.get("additionalModelRequestFields", {})
        thinks = extra.get("thinking", {}).get("type", "disabled") != "disabled"
        need(not (thinks and "temperature" in config), "thinking: temperature must not be set")
        asked = Asked(
            model=vendor.model,
            stream=path.endswith("-stream"),
            max_tokens=config.get("maxTokens"),
            stop=config.get("stopSequences", []),
            thinks=thinks,
        )
        for block in data.get("system", []):
            only(block, {"text", "cachePoint"}, "system")
            need(block.get("text", "x").strip(), "system: the text field is blank")
            asked.system += block.get("text", "")
        asked.json_only = "json" in asked.system.lower()
        _read_tools(data.get("toolConfig"), asked)
        need(not (thinks and asked.choice not in {"auto", "none"}), "thinking: a tool must not be forced")
        form = data.get("outputConfig", {}).get("textFormat")
        if form:
            asked.schema = json.loads(form["structure"]["jsonSchema"]["schema"])
            closed(asked.schema, all_required=False)
        _Messages(asked).read(data["messages"])
        return asked

    def write(self, said: Said, asked: Asked) -> Reply:
        if not asked.stream:
            return Reply(compact(_whole(said)))
        kind = {"content-type": "application/vnd.amazon.eventstream"}
        return Reply(pieces=[_framed(*event) for event in _events(said)], headers=kind)

    def refusal(self, error: RefusedError) -> Reply:
        kind = {"x-amzn-errortype": "ValidationException"}
        return Reply(compact({"message": str(error)}), status=400, headers=kind)


def _read_tools(config: dict[str, Any] | None, asked: Asked) -> None:
    if config is None:
        return
    only(config, {"tools", "toolChoice"}, "toolConfig")
    need(config["tools"], "toolConfig.tools: at least one is required")
    for tool in config["tools"]:
        if "cachePoint" in tool:
            continue
        only(tool, {"toolSpec"}, "tools")
        spec = tool["toolSpec"]
        only(spec, {"name", "description", "inputSchema", "strict"}, "toolSpec")
        need(NAME.fullmatch(spec["name"]), "toolSpec.name")
        need(spec.get("description", "x"), "toolSpec.description: at least 1 character")
        need(spec["inputSchema"]["json"].get("type") == "object", "toolSpec.inputSchema.json.type")
        asked.tools.append(Tool(spec["name"], spec["inputSchema"]["json"]))
    ((mode, chosen),) = config.get("toolChoice", {"auto": {}}).items()
    need(mode in {"auto", "any", "tool"}, "toolChoice")
    asked.choice = chosen["name"] if mode == "tool" else mode


class _Messages:
    """Reads the turns, which alternate, and minds that every use of a tool has its result in the next."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._open: dict[str, str] = {}
        self._fresh = True

    def read(self, messages: list[dict[str, Any]]) -> None:
        roles = [message["role"] for message in messages]
        need(
            roles == [("user", "assistant")[n % 2] for n in range(len(roles))],
            f"roles must alternate: {roles}",
        )
        need(len(roles) % 2, "a conversation must end with a user message")
        for message in messages:
            blocks = message["content"]
            need(blocks, "the content field is empty")
            kinds = {next(iter(block)) for block in blocks}
            need(not kinds & {"toolUse", "toolResult"} or self._asked.tools, "toolConfig must be defined")
            if message["role"] == "user":
                need("document" not in kinds or "text" in kinds, "a document needs a text beside it")
                self._user(blocks)
            else:
                self._assistant(blocks)

    def _user(self, blocks: list[dict[str, Any]]) -> None:
        results = [block["toolResult"] for block in blocks if "toolResult" in block]
        need([*self._open] == [one["toolUseId"] for one in results], "toolUse ids and toolResult ids differ")
        for result in results:
            only(result, {"toolUseId", "content", "status"}, "toolResult")
            text = " ".join(self._block(block) for block in result["content"])
            self._asked.results.append((self._open.pop(result["toolUseId"]), text))
        rest = [block for block in blocks if not block.keys() & {"toolResult", "cachePoint"}]
        texts = [self._block(block) for block in rest]
        if not texts:
            return
        self._asked.prompt = "\n".join(text for text in texts if text)
        self._asked.results = [] if self._fresh else self._asked.results
        self._fresh = False

    def _assistant(self, blocks: list[dict[str, Any]]) -> None:
        for block in blocks:
            ((kind, held),) = block.items()
            if kind == "toolUse":
                only(held, {"toolUseId", "name", "input"}, "toolUse")
                need(ID.fullmatch(held["toolUseId"]) and isinstance(held["input"], dict), "toolUse")
                self._open[held["toolUseId"]] = held["name"]
            elif kind == "reasoningContent":
                signature = held["reasoningText"]["signature"]
                need(signature and FORGED not in signature, "thinking: invalid signature")
            elif kind != "cachePoint":
                self._block(block)
        need(
            not (self._asked.thinks and self._open) or "reasoningContent" in blocks[0],
            "expected `thinking`, but found `tool_use`, in a turn of thinking",
        )
        self._fresh = not self._open

    def _block(self, block: dict[str, Any]) -> str:
        ((kind, held),) = block.items()
        if kind == "text":
            need(held.strip(), "the text field in the ContentBlock object is blank")
            return str(held)
        if kind == "json":
            return json.dumps(held)
        need(kind in TYPES, f"a block of type {kind!r}")
        need(kind != "document" or DOCUMENT.fullmatch(held["name"]), "document.name")
        self._asked.shown.append((f"{TYPES[kind]}/{held['format']}", decoded(held["source"]["bytes"])))
        return ""


def _usage(said: Said) -> dict[str, Any]:
    return {
        "inputTokens": said.prompt_tokens - said.cache_read - said.cache_written,
        "outputTokens": said.completion_tokens,
        "totalTokens": said.prompt_tokens + said.completion_tokens,
        "cacheReadInputTokens": said.cache_read,
        "cacheWriteInputTokens": said.cache_written,
    }


def _blocks(said: Said) -> Iterator[dict[str, Any]]:
    if said.thought:
        text = {"text": said.thought, "signature": SIGNATURE}
        yield {"reasoningContent": {"reasoningText": text}}
    if said.text:
        yield {"text": said.text}
    for call in said.calls:
        yield {"toolUse": {"toolUseId": f"tooluse_{call.id}", "name": call.name, "input": call.arguments}}


def _whole(said: Said) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": list(_blocks(said))}},
        "stopReason": STOPS[said.finish],
        "usage": _usage(said),
        "metrics": {"latencyMs": 1},
    }


def _events(said: Said) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "messageStart", {"role": "assistant"}
    for index, block in enumerate(_blocks(said)):
        place = {"contentBlockIndex": index}
        if "toolUse" in block:
            use = block["toolUse"]
            start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
            yield "contentBlockStart", {"start": start, **place}
        for delta in _deltas(block, said):
            yield "contentBlockDelta", {"delta": delta, **place}
        yield "contentBlockStop", place
    yield "messageStop", {"stopReason": STOPS[said.finish]}
    yield "metadata", {"usage": _usage(said), "metrics": {"latencyMs": 1}}


def _deltas(block: dict[str, Any], said: Said) -> Iterator[dict[str, Any]]:
    if "text" in block:
        yield from ({"text": piece} for piece in said.pieces)
    elif "reasoningContent" in block:
        yield {"reasoningContent": {"text": said.thought}}
        yield {"reasoningContent": {"signature": SIGNATURE}}
    else:
        arguments = block["toolUse"]["input"]
        text = json.dumps(arguments, ensure_ascii=False) if arguments else ""
        yield from ({"toolUse": {"input": text[at : at + 7]}} for at in range(0, len(text), 7))


def _framed(name: str, data: dict[str, Any]) -> bytes:
    """One message of an event stream: lengths, headers, payload, and the checksums of both."""
    texts = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in texts.items()
    )
    payload = compact(data)
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return message + struct.pack(">I", crc32(message))
