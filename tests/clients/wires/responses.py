"""OpenAI's Responses, as the vendors that speak them check and answer them. Nothing is stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.clients.mind import Asked, Call, RefusedError, Said, Tool
from tests.clients.wires.base import Reply, Vendor, closed, compact, media, need, only

FIELDS = frozenset(
    {
        *("model", "input", "instructions", "stream", "tools", "tool_choice", "parallel_tool_calls"),
        *("max_output_tokens", "text", "reasoning", "temperature", "top_p", "metadata", "user", "include"),
        *("safety_identifier", "service_tier", "store", "prompt_cache_key", "top_logprobs", "truncation"),
    }
)
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
SEALED = "Z0FBQUFBLXNlYWxlZC1ieS10aGUtc2NyaXB0"


class Responses:
    """See ``base.Wire``."""

    def read(self, path: str, headers: Mapping[str, str], body: bytes, vendor: Vendor) -> Asked:
        data = json.loads(body)
        need(vendor.responses, "no such address: /responses")
        need(data.get("model") == vendor.model, f"the model {data.get('model')!r} does not exist")
        only(data, FIELDS, "request")
        reasoning = data.get("reasoning") or {}
        only(reasoning, {"effort", "summary"}, "reasoning")
        asked = Asked(
            model=data["model"],
            system=data.get("instructions") or "",
            stream=data.get("stream") is True,
            tools=[_tool(one) for one in data.get("tools") or []],
            parallel=data.get("parallel_tool_calls") is not False,
            max_tokens=data.get("max_output_tokens"),
            thinks=reasoning.get("effort") not in {None, "none"},
        )
        _read_choice(data.get("tool_choice", "auto"), asked)
        form = asked.form = (data.get("text") or {}).get("format") or asked.form
        asked.json_only = form["type"] == "json_object"
        if form["type"] == "json_schema":
            need(NAME.fullmatch(form.get("name", "")), "text.format.name")
            if form.get("strict"):
                closed(form["schema"], all_required=True)
            asked.schema = form["schema"]
        items = data["input"]
        _Items(asked).read([{"role": "user", "content": items}] if isinstance(items, str) else items)
        return asked

    def write(self, said: Said, asked: Asked) -> Reply:
        if not asked.stream:
            return Reply(compact(_response(said, asked, _output(said))))
        events = [
            f"event: {one['type']}\ndata: ".encode() + compact({**one, "sequence_number": number}) + b"\n\n"
            for number, one in enumerate(_events(said, asked))
        ]
        return Reply(pieces=events)

    def refusal(self, error: RefusedError) -> Reply:
        told = {"message": str(error), "type": "invalid_request_error", "param": None, "code": None}
        return Reply(compact({"error": told}), status=400)


def _tool(data: Any) -> Tool:
    only(data, {"type", "name", "description", "parameters", "strict"}, "tools")
    need(data["type"] == "function" and NAME.fullmatch(data["name"]), "tools: a named function is expected")
    schema = data.get("parameters") or {"type": "object", "properties": {}}
    # Here, other than in chat completions, not to speak of it means strict.
    if data.get("strict") is True:
        closed(schema, all_required=True)
    return Tool(data["name"], schema)


def _read_choice(choice: Any, asked: Asked) -> None:
    if isinstance(choice, dict):
        only(choice, {"type", "name"}, "tool_choice")
        need(choice["name"] in {tool.name for tool in asked.tools}, "tool_choice: no such tool")
        asked.choice = choice["name"]
        return
    need(choice in {"auto", "none", "required"}, f"tool_choice: {choice!r}")
    asked.choice = "any" if choice == "required" else choice


class _Items:
    """Reads the conversation, and minds that every call has its output."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._open: dict[str, str] = {}
        self._fresh = True

    def read(self, items: list[dict[str, Any]]) -> None:
        need(items, "'input' is empty")
        for item in items:
            kind = item.get("type", "message")
            if kind == "message":
                self._message(item)
            elif kind == "function_call":
                only(
                    item,
                    {"type", "id", "call_id", "name", "arguments", "status", "namespace"},
                    "function_call",
                )
                need(isinstance(json.loads(item["arguments"]), dict), "function_call.arguments")
                self._open[item["call_id"]] = item["name"]
                self._fresh = False
            elif kind == "function_call_output":
                only(item, {"type", "id", "call_id", "output", "status"}, "function_call_output")
                name = self._open.pop(item["call_id"], None)
                need(name, f"no tool call found for function call output {item['call_id']}")
                output = item["output"]
                text = output if isinstance(output, str) else self._content(output, {"input_text"})
                self._asked.results.append((str(name), text))
            else:
                need(kind == "reasoning", f"an item of type {kind!r}")
                need(item.get("encrypted_content", SEALED) in {SEALED, None}, "reasoning: not of this vendor")
        need(not self._open, f"no tool output found for function call {[*self._open]}")

    def _message(self, item: dict[str, Any]) -> None:
        role, content = item["role"], item["content"]
        need(role in {"user", "assistant", "system", "developer"}, f"role {role!r}")
        texts = {"output_text", "refusal"} if role == "assistant" else {"input_text"}
        text = content if isinstance(content, str) else self._content(content, texts)
        if role == "assistant":
            self._fresh = not self._open
        elif role == "user":
            need(not self._open, "no tool output found for function call")
            self._asked.prompt = text if self._fresh else f"{self._asked.prompt}\n{text}"
            self._asked.results = [] if self._fresh else self._asked.results
            self._fresh = False
        else:
            self._asked.system += text

    def _content(self, parts: list[dict[str, Any]], texts: set[str]) -> str:
        said = []
        for part in parts:
            if part["type"] in texts:
                said.append(part.get("text") or part.get("refusal"))
            elif part["type"] == "input_image":
                self._asked.shown.append(media(part["image_url"]))
            else:
                need(
                    part["type"] == "input_file" and part.get("filename"), f"a part of type {part['type']!r}"
                )
                self._asked.shown.append(media(part["file_data"]))
        return "\n".join(said)


def _response(said: Said, asked: Asked, output: list[dict[str, Any]], *, status: str = "") -> dict[str, Any]:
    is_cut = said.finish == "length"
    status = status or ("incomplete" if is_cut else "completed")
    usage = {
        "input_tokens": said.prompt_tokens,
        "input_tokens_details": {"cached_tokens": said.cache_read, "cache_write_tokens": 0},
        "output_tokens": said.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": said.thought_tokens},
        "total_tokens": said.prompt_tokens + said.completion_tokens,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1760000000,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": asked.system or None,
        "model": asked.model,
        "output": output,
        "parallel_tool_calls": asked.parallel,
        "tool_choice": "auto",
        "tools": [],
        "text": {"format": asked.form},
        "usage": None if status == "in_progress" else usage,
        "metadata": {},
    }


def _output(said: Said) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if said.thought:
        summary = [{"type": "summary_text", "text": said.thought}]
        items.append({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": SEALED})
    if said.text:
        part = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
        message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
        items.append({**message, "content": [part]})
    return [*items, *(_call(call) for call in said.calls)]


def _call(call: Call) -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": f"fc_{call.id}",
        "call_id": call.id,
        "name": call.name,
        "arguments": json.dumps(call.arguments, ensure_ascii=False),
        "status": "completed",
    }


def _events(said: Said, asked: Asked) -> Iterator[dict[str, Any]]:
    begun = _response(said, asked, [], status="in_progress")
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    output = _output(said)
    for index, item in enumerate(output):
        place = {"output_index": index, "item_id": item["id"]}
        empty = {"content": [], "summary": [], "arguments": "", "status": "in_progress"}
        opening = {name: empty.get(name, value) for name, value in item.items()}
        yield {"type": "response.output_item.added", "output_index": index, "item": opening}
        parts = {"message": _text_events, "reasoning": _thought_events, "function_call": _call_events}
        for event in parts[item["type"]](item, said):
            yield {**event, **place}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    whole = _response(said, asked, output)
    yield {"type": f"response.{whole['status']}", "response": whole}


def _text_events(item: dict[str, Any], said: Said) -> Iterator[dict[str, Any]]:
    (part,) = item["content"]
    place = {"content_index": 0}
    yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
    for piece in said.pieces:
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}


def _thought_events(item: dict[str, Any], said: Said) -> Iterator[dict[str, Any]]:
    place = {"summary_index": 0}
    (part,) = item["summary"]
    yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
    yield {"type": "response.reasoning_summary_text.delta", **place, "delta": part["text"]}
    yield {"type": "response.reasoning_summary_text.done", **place, "text": part["text"]}
    yield {"type": "response.reasoning_summary_part.done", **place, "part": part}


def _call_events(item: dict[str, Any], said: Said) -> Iterator[dict[str, Any]]:
    arguments = item["arguments"]
    for at in range(0, len(arguments), 7):
        yield {"type": "response.function_call_arguments.delta", "delta": arguments[at : at + 7]}
    done = {"arguments": arguments, "name": item["name"]}
    yield {"type": "response.function_call_arguments.done", **done}
