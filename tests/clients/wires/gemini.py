"""Gemini's own format, as Google checks and answers it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.clients.mind import VECTOR, Asked, RefusedError, Said, Tool
from tests.clients.wires.base import Reply, Vendor, compact, decoded, need, only

FIELDS = frozenset(
    {"contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "labels"}
)
CONFIG = frozenset(
    {
        *("temperature", "topP", "topK", "seed", "presencePenalty", "frequencyPenalty", "candidateCount"),
        *("maxOutputTokens", "stopSequences", "responseMimeType", "responseSchema", "responseJsonSchema"),
        *("thinkingConfig", "responseLogprobs", "logprobs", "responseModalities"),
    }
)
PARTS = {
    *("text", "inlineData", "fileData", "functionCall", "functionResponse", "thought", "thoughtSignature"),
}
MODES = {"AUTO": "auto", "ANY": "any", "NONE": "none"}
SIGNATURE = "c2lnbmVkLWJ5LXRoZS1zY3JpcHQ="
# What Google documents for calls that another model made.
STAND_IN = "skip_thought_signature_validator"
_METHOD = re.compile(
    r".*/models/([^/:]+):(generateContent|streamGenerateContent|batchEmbedContents)(\?alt=sse)?"
)


class Gemini:
    """See ``base.Wire``."""

    def read(self, path: str, headers: Mapping[str, str], body: bytes, vendor: Vendor) -> Asked:
        method = _METHOD.fullmatch(path)
        need(method, f"no such address: {path}")
        assert method is not None
        need(method[1] == vendor.model, f"models/{method[1]} is not found")
        data = json.loads(body)
        if method[2] == "batchEmbedContents":
            only(data, {"requests"}, "request")
            return Asked(vendor.model, prompt=json.dumps([one["content"] for one in data["requests"]]))
        only(data, FIELDS, "request")
        config = data.get("generationConfig", {})
        only(config, CONFIG, "generation_config")
        asked = Asked(
            model=method[1],
            stream=method[2] == "streamGenerateContent",
            stop=config.get("stopSequences", []),
            max_tokens=config.get("maxOutputTokens"),
            thinks=config.get("thinkingConfig", {}).get("includeThoughts") is True,
            schema=config.get("responseJsonSchema") or config.get("responseSchema"),
        )
        need(not asked.stream or method[3], "a stream of events is asked for with alt=sse")
        is_json = config.get("responseMimeType") == "application/json"
        need(is_json or asked.schema is None, "a response schema needs response_mime_type application/json")
        asked.json_only = is_json and asked.schema is None
        for part in data.get("systemInstruction", {}).get("parts", []):
            only(part, {"text"}, "system_instruction")
            asked.system += part["text"]
        _read_tools(data, asked)
        need(
            not (is_json and asked.tools),
            "function calling with a response mime type: 'application/json' is unsupported",
        )
        _Contents(asked).read(data["contents"])
        return asked

    def write(self, said: Said, asked: Asked) -> Reply:
        if not asked.stream:
            return Reply(compact(_answer(_parts(said), said, asked, finish=True)))
        events = [b"data: " + compact(one) + b"\r\n\r\n" for one in _stream(said, asked)]
        return Reply(pieces=events)

    def embed(self, asked: Asked) -> Reply:
        """One vector for each text."""
        rows = [{"values": VECTOR} for _ in json.loads(asked.prompt)]
        return Reply(compact({"embeddings": rows}))

    def refusal(self, error: RefusedError) -> Reply:
        told = {"code": 400, "message": str(error), "status": "INVALID_ARGUMENT"}
        return Reply(compact({"error": told}), status=400)


def _read_tools(data: dict[str, Any], asked: Asked) -> None:
    for tool in data.get("tools", []):
        only(tool, {"functionDeclarations"}, "tools")
        for one in tool["functionDeclarations"]:
            only(one, {"name", "description", "parameters", "parametersJsonSchema"}, "function_declarations")
            need(re.fullmatch(r"[a-zA-Z_][\w.-]{0,63}", one["name"]), "function_declarations.name")
            schema = one.get("parametersJsonSchema") or one.get("parameters") or {"type": "object"}
            asked.tools.append(Tool(one["name"], schema))
    config = data.get("toolConfig", {}).get("functionCallingConfig", {})
    only(config, {"mode", "allowedFunctionNames"}, "function_calling_config")
    allowed = config.get("allowedFunctionNames", [])
    need(not allowed or config["mode"] == "ANY", "allowed function names need the mode ANY")
    need({tool.name for tool in asked.tools} >= set(allowed), "allowed function names: no such function")
    asked.choice = allowed[0] if len(allowed) == 1 else MODES[config.get("mode", "AUTO")]


class _Contents:
    """Reads the turns, and minds that each turn of calls is followed by as many responses."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._open: list[str] = []
        self._fresh = True

    def read(self, contents: list[dict[str, Any]]) -> None:
        need(contents, "contents is not specified")
        for turn in contents:
            only(turn, {"role", "parts"}, "contents")
            need(turn["parts"], "contents.parts must not be empty")
            for part in turn["parts"]:
                only(part, PARTS, "contents.parts")
            if turn["role"] == "user":
                self._user(turn["parts"])
            else:
                need(turn["role"] == "model", "please use a valid role: user, model")
                self._model(turn["parts"])
        need(contents[-1]["role"] == "user", "the last turn must be the user's")

    def _user(self, parts: list[dict[str, Any]]) -> None:
        responses = [part["functionResponse"] for part in parts if "functionResponse" in part]
        need(
            sorted(one["name"] for one in responses) == sorted(self._open),
            "the number of function response parts must equal that of the function call turn",
        )
        self._open = []
        for one in responses:
            need(isinstance(one["response"], dict), "function_response.response")
            self._asked.results.append((one["name"], json.dumps(one["response"], ensure_ascii=False)))
        texts = [self._part(part) for part in parts if "functionResponse" not in part]
        if not any(texts):
            return
        said = "\n".join(text for text in texts if text)
        self._asked.prompt = said if self._fresh else f"{self._asked.prompt}\n{said}"
        self._asked.results = [] if self._fresh else self._asked.results
        self._fresh = False

    def _model(self, parts: list[dict[str, Any]]) -> None:
        need(not self._open, "a function call turn must be followed by its responses")
        calls = [part for part in parts if "functionCall" in part]
        for part in calls:
            need(isinstance(part["functionCall"].get("args", {}), dict), "function_call.args")
            self._open.append(part["functionCall"]["name"])
        if calls:
            signed = calls[0].get("thoughtSignature")
            need(signed in {SIGNATURE, STAND_IN}, "function call is missing a thought_signature")
        for part in parts:
            if "functionCall" not in part:
                self._part(part)
        self._fresh = not calls

    def _part(self, part: dict[str, Any]) -> str:
        if "inlineData" in part:
            only(part["inlineData"], {"mimeType", "data"}, "inline_data")
            self._asked.shown.append((part["inlineData"]["mimeType"], decoded(part["inlineData"]["data"])))
            return ""
        if "fileData" in part:
            only(part["fileData"], {"mimeType", "fileUri"}, "file_data")
            self._asked.shown.append((part["fileData"]["mimeType"], part["fileData"]["fileUri"].encode()))
            return ""
        need(part.get("text"), "contents.parts.data: required one field")
        return str(part["text"])


def _parts(said: Said) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if said.thought:
        parts.append({"text": said.thought, "thought": True})
    parts += [{"text": piece} for piece in said.pieces]
    for number, call in enumerate(said.calls):
        part: dict[str, Any] = {"functionCall": {"name": call.name, "args": call.arguments}}
        # Of parallel calls the first is signed.
        parts.append(part if number else {**part, "thoughtSignature": SIGNATURE})
    return parts


def _answer(parts: list[dict[str, Any]], said: Said, asked: Asked, *, finish: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = "MAX_TOKENS" if said.finish == "length" else "STOP"
    counts = {
        "promptTokenCount": said.prompt_tokens,
        "candidatesTokenCount": said.completion_tokens - said.thought_tokens,
        "totalTokenCount": said.prompt_tokens + said.completion_tokens,
    }
    if said.thought:
        counts["thoughtsTokenCount"] = said.thought_tokens
    if said.cache_read:
        counts["cachedContentTokenCount"] = said.cache_read
    return {
        "candidates": [candidate],
        "usageMetadata": counts,
        "modelVersion": asked.model,
        "responseId": "resp-1",
    }


def _stream(said: Said, asked: Asked) -> Iterator[dict[str, Any]]:
    parts = _parts(said)
    for number, part in enumerate(parts, start=1):
        yield _answer([part], said, asked, finish=number == len(parts))
