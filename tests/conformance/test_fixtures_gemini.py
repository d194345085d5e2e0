"""Replays every recording of Gemini's own format for clients of chat completions and OpenAI's embeddings."""

from __future__ import annotations

import base64
import json
import struct

import pytest

from proxying.adapters import ADAPTERS
from proxying.adapters.base import ClientBody, Target, Usage
from proxying.schemas import parse_body
from routing.types import Endpoint, Provider
from tests.conformance.recordings import Recording, recordings

pytestmark = pytest.mark.recordings

ADAPTER = ADAPTERS["gemini"]
ALL = recordings("gemini")
BASE = "https://up.example/v1beta"
# Recorders wrote some names as Gemini's Python SDK spells them.
SPELLINGS = {
    "inline_data": "inlineData",
    "mime_type": "mimeType",
    "parameters_json_schema": "parametersJsonSchema",
    "thinking_budget": "thinkingBudget",
}
FINISHES = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}


def cases(wanted):
    chosen = [pytest.param(recording, id=recording.name) for recording in ALL if wanted(recording)]
    return chosen or [pytest.param(None, id="not here")]


def is_embeddings(recording: Recording) -> bool:
    return recording.path.endswith(":batchEmbedContents")


def is_answer(recording: Recording) -> bool:
    return recording.status == 200 and not is_embeddings(recording)


REQUESTS = cases(lambda recording: not is_embeddings(recording))
WHOLE = cases(lambda recording: is_answer(recording) and not recording.is_stream)
STREAMS = cases(lambda recording: is_answer(recording) and recording.is_stream)
ERRORS = cases(lambda recording: recording.status >= 400)
EMBEDDINGS = cases(lambda recording: recording.status == 200 and is_embeddings(recording))


def model_of(recording: Recording) -> str:
    return recording.path.rsplit("/", 1)[1].split(":")[0]


def target_of(recording: Recording) -> Target:
    return Target(Provider("g", "gemini_native", BASE, api_key="k"), model_of(recording))


# The recorded request as a client of chat completions would have said it.


def respelled(value):
    if isinstance(value, dict):
        return {SPELLINGS.get(key, key): respelled(item) for key, item in value.items()}
    return [respelled(item) for item in value] if isinstance(value, list) else value


def content_of(parts):
    pieces = []
    for part in parts:
        if "inlineData" in part:
            url = f"data:{part['inlineData']['mimeType']};base64,{part['inlineData']['data']}"
            pieces.append({"type": "image_url", "image_url": {"url": url}})
        else:
            pieces.append({"type": "text", "text": part["text"]})
    return pieces


def signed(part):
    signature = part.get("thoughtSignature")
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def call_of(part, call_id):
    function = {
        "name": part["functionCall"]["name"],
        "arguments": json.dumps(part["functionCall"]["args"]),
    }
    return {"id": call_id, "type": "function", "function": function, **signed(part)}


def messages_of(recorded):
    system = recorded.get("systemInstruction", {}).get("parts", [])
    messages = [{"role": "system", "content": part["text"]} for part in system]
    for turn in recorded["contents"]:
        parts = turn["parts"]
        if "functionResponse" in parts[0]:
            messages += [
                {
                    "role": "tool",
                    "tool_call_id": f"call-{index}",
                    "content": json.dumps(part["functionResponse"]["response"]),
                }
                for index, part in enumerate(parts)
            ]
        elif turn["role"] == "user":
            messages.append({"role": "user", "content": content_of(parts)})
        elif "functionCall" in parts[0]:
            calls = [call_of(part, f"call-{index}") for index, part in enumerate(parts)]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        else:
            # Gemini reads nothing from thoughts of its own that come back: they are not sent.
            said = [part for part in parts if not part.get("thought")]
            signature = next((signed(part) for part in parts if "thoughtSignature" in part), {})
            messages.append({"role": "assistant", "content": content_of(said), **signature})
    return messages


def chat_of(recorded):
    chat = {"model": "pool", "messages": messages_of(recorded)}
    for tool in recorded.get("tools", []):
        chat["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": one["name"],
                    "description": one["description"],
                    "parameters": one.get("parameters", one.get("parametersJsonSchema")),
                },
            }
            for one in tool["functionDeclarations"]
        ]
    calling = recorded.get("toolConfig", {}).get("functionCallingConfig")
    if calling:
        names = calling.get("allowedFunctionNames")
        chat["tool_choice"] = (
            {"type": "function", "function": {"name": names[0]}} if names else calling["mode"].lower()
        )
    config = recorded.get("generationConfig", {})
    if "responseSchema" in config:
        schema = {"name": "answer", "schema": config["responseSchema"]}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    if "thinkingLevel" in config.get("thinkingConfig", {}):
        chat["reasoning_effort"] = config["thinkingConfig"]["thinkingLevel"]
    elif "thinkingConfig" in config:
        chat["reasoning_effort"] = "none"
    if "responseModalities" in config:
        chat["modalities"] = ["text"]
    names = {"maxOutputTokens": "max_tokens", "temperature": "temperature"}
    chat.update((name, config[key]) for key, name in names.items() if key in config)
    if "safetySettings" in recorded:
        chat["safety_settings"] = recorded["safetySettings"]
    return chat


def expected_of(recorded):
    """The recorded request, without what says nothing and with what the gateway says on its own account."""
    expected = {key: value for key, value in recorded.items() if key != "modelArmorConfig"}
    config = {k: v for k, v in recorded.get("generationConfig", {}).items() if k != "responseModalities"}
    expected.pop("generationConfig", None)
    if config:
        expected["generationConfig"] = config
    if "systemInstruction" in expected:
        expected["systemInstruction"] = {"parts": expected["systemInstruction"]["parts"]}
    calling = expected.get("toolConfig", {}).get("functionCallingConfig")
    if calling:
        calling["mode"] = calling["mode"].upper()
    for one in [one for tool in expected.get("tools", []) for one in tool["functionDeclarations"]]:
        if not one["description"]:
            del one["description"]
    expected["contents"] = [expected_turn(turn) for turn in expected["contents"]]
    return expected


def expected_turn(turn):
    """Thoughts stay here, their signature goes to what was said; calls and results have ids."""
    signature = next((part["thoughtSignature"] for part in turn["parts"] if part.get("thought")), None)
    parts = [part for part in turn["parts"] if not part.get("thought")]
    if signature:
        parts[-1]["thoughtSignature"] = signature
    for index, part in enumerate(parts):
        for kind in part.keys() & {"functionCall", "functionResponse"}:
            part[kind]["id"] = f"call-{index}"
    return {**turn, "parts": parts}


@pytest.mark.parametrize("recording", REQUESTS)
def test_request_says_what_the_recorded_one_says(recording):
    recorded = respelled(json.loads(recording.request))
    stream = {"stream": True} if recording.is_stream else {}
    body = parse_body(json.dumps({**chat_of(recorded), **stream}).encode(), Endpoint.CHAT)
    sent = ADAPTER.build_request(body, target_of(recording), {})
    query = "?alt=sse" if recording.is_stream else ""
    assert sent.url == BASE + recording.path.removeprefix("/v1beta") + query
    assert json.loads(sent.body) == expected_of(recorded)


# The recorded answers


def candidates_of(recording: Recording):
    """All that the recording says, event by event: text, thoughts, calls, the finish, the last usage."""
    events = (
        [json.loads(line[5:]) for line in recording.response.splitlines() if line.startswith(b"data:")]
        if recording.is_stream
        else [json.loads(recording.response)]
    )
    parts, finish, usage = [], None, {}
    for event in events:
        for candidate in event.get("candidates", []):
            parts += candidate.get("content", {}).get("parts", [])
            finish = candidate.get("finishReason", finish)
        usage = {**usage, **event.get("usageMetadata", {})}
    return events[0], parts, finish, usage


def told(parts):
    """What a client must learn from these parts."""
    return {
        "content": "".join(p["text"] for p in parts if "text" in p and not p.get("thought")) or None,
        "reasoning": "".join(p["text"] for p in parts if p.get("thought")) or None,
        "calls": [
            (p["functionCall"]["name"], p["functionCall"]["args"]) for p in parts if "functionCall" in p
        ],
        "signatures": [p["thoughtSignature"] for p in parts if "thoughtSignature" in p],
    }


def learned(message):
    calls = message.get("tool_calls", [])
    holders = [*calls, message]
    return {
        "content": message["content"],
        "reasoning": message.get("reasoning_content"),
        "calls": [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls],
        "signatures": [
            holder["extra_content"]["google"]["thought_signature"]
            for holder in holders
            if "extra_content" in holder
        ],
    }


def usage_of(raw):
    thoughts = raw.get("thoughtsTokenCount")
    if "promptTokenCount" not in raw:
        return Usage()
    return Usage(
        prompt_tokens=raw["promptTokenCount"],
        completion_tokens=raw.get("candidatesTokenCount", 0) + (thoughts or 0),
        cached_tokens=raw.get("cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def finish_of(finish, parts):
    if any("functionCall" in part for part in parts):
        return "tool_calls"
    return FINISHES[finish] if finish else "content_filter"


def request_of(**fields) -> ClientBody:
    return parse_body(json.dumps({"model": "pool", "messages": [], **fields}).encode(), Endpoint.CHAT)


@pytest.mark.parametrize("recording", WHOLE)
def test_whole_answer_says_what_the_recorded_one_says(recording):
    first, parts, finish, usage = candidates_of(recording)
    parsed = ADAPTER.parse_response(200, recording.headers, recording.response, request_of())
    answer = json.loads(parsed.body)
    (choice,) = answer["choices"]
    assert answer["id"] == f"chatcmpl-{first['responseId']}"
    assert answer["model"] == first["modelVersion"]
    assert learned(choice["message"]) == told(parts)
    assert choice["finish_reason"] == finish_of(finish, parts)
    assert parsed.usage == usage_of(usage)
    if usage_of(usage).prompt_tokens is not None:
        assert answer["usage"]["total_tokens"] == usage["totalTokenCount"]
    ids = [call["id"] for call in choice["message"].get("tool_calls", [])]
    assert all(ids)
    assert len(set(ids)) == len(ids)


def merged(raw: bytes):
    """The message, finish and usage that a client puts together from chunks."""
    *lines, done = [line[6:] for line in raw.splitlines() if line]
    assert done == b"[DONE]"
    message, finish, usage = {"content": None}, [], None
    for chunk in map(json.loads, lines):
        usage = chunk["usage"] or usage
        for choice in chunk["choices"]:
            delta = choice["delta"]
            for name in ("content", "reasoning_content"):
                if delta.get(name):
                    message[name] = (message.get(name) or "") + delta[name]
            message.setdefault("tool_calls", []).extend(delta.get("tool_calls", []))
            if "extra_content" in delta:
                message["extra_content"] = delta["extra_content"]
            finish += [choice["finish_reason"]] if choice["finish_reason"] else []
    return message, finish, usage


@pytest.mark.parametrize("recording", STREAMS)
@pytest.mark.parametrize("size", [1, 64, 100_000])
def test_stream_says_what_the_recorded_one_says(recording, size):
    _, parts, finish, usage = candidates_of(recording)
    request = request_of(stream=True, stream_options={"include_usage": True})
    translator = ADAPTER.stream(request, target_of(recording))
    raw = recording.response
    out = b"".join(translator.feed(raw[at : at + size]) for at in range(0, len(raw), size))
    assert translator.finished
    assert translator.end() == b""
    message, finishes, counts = merged(out)
    assert learned(message) == told(parts)
    assert finishes == [finish_of(finish, parts)]
    assert translator.usage == usage_of(usage)
    assert counts["total_tokens"] == usage["totalTokenCount"]


EXPECTED_ERRORS = {
    "gemini/error-400-invalid-key": (400, "API_KEY_INVALID", True),
    "gemini/error-404-model": (404, "model_not_found", False),
}


@pytest.mark.parametrize("recording", ERRORS)
def test_error_keeps_its_status_and_names_its_cause(recording):
    facts = ADAPTER.parse_error(recording.status, recording.headers, recording.response, 0)
    assert (facts.status, facts.code, facts.refused_credential) == EXPECTED_ERRORS[recording.name]
    assert facts.message == json.loads(recording.response)["error"]["message"]


@pytest.mark.parametrize("recording", EMBEDDINGS)
def test_embeddings_are_the_recorded_ones(recording):
    (wanted,) = json.loads(recording.request)["requests"]
    asked = {"model": "pool", "input": wanted["content"]["parts"][0]["text"], "dimensions": 768}
    body = parse_body(json.dumps({**asked, "encoding_format": "base64"}).encode(), Endpoint.EMBEDDINGS)
    sent = ADAPTER.build_request(body, target_of(recording), {})
    assert (json.loads(sent.body), sent.url) == (
        json.loads(recording.request),
        BASE + recording.path.removeprefix("/v1beta"),
    )
    (row,) = json.loads(ADAPTER.parse_response(200, {}, recording.response, body).body)["data"]
    (values,) = [one["values"] for one in json.loads(recording.response)["embeddings"]]
    assert struct.unpack(f"<{len(values)}f", base64.b64decode(row["embedding"])) == pytest.approx(values)


def test_every_recording_is_replayed():
    counted = {case.id for group in (WHOLE, STREAMS, ERRORS, EMBEDDINGS) for case in group}
    assert counted == {recording.name for recording in ALL}
