# ruff: noqa: E501 - examples read better whole
"""The first corpus of each target of ``tests.long.fuzz``: good examples, which the fuzzer then breaks."""

from __future__ import annotations

import json
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs/examples/gateway.yaml"
CHAT = {
    "model": "pool",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": "auto",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    "stream_options": None,
    "provider": "a",
    "reasoning_effort": "low",
    "max_tokens": 5,
    "stop": ["x"],
}  # fmt: skip
MESSAGES = {
    "model": "pool",
    "max_tokens": 5,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "s"}, {"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "1"}]},
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "metadata": {"user_id": "u"},
}  # fmt: skip
RESPONSES = {
    "model": "pool",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
    ],
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    "text": {"format": {"type": "text"}},
}
SMALL = {
    "openai": {"model": "pool", "messages": [{"role": "user", "content": "Hi"}]},
    "anthropic": {"model": "pool", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"model": "pool", "input": "Hi"},
}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
COMPLETION = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
}  # fmt: skip
MESSAGE = {
    "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
    "content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip
GENERATED = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
}  # fmt: skip
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
}
FAULTS = (
    {"error": {"message": "Slow down, try again in 20s", "type": "x", "param": None, "code": "rate_limit"}},
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    [
        {
            "error": {
                "code": 400,
                "message": "bad",
                "status": "INVALID_ARGUMENT",
                "details": [{"retryDelay": "3s"}],
            }
        }
    ],
    {"detail": "no"},
    {"code": "x", "error": "text"},
)


def small_request(dialect: str, *, stream: bool) -> bytes:
    """A request of one turn."""
    return _bytes({**SMALL[dialect], "stream": stream})


def _bytes(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chunk(delta: object, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + _bytes({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


def _event(name: str, **fields: object) -> bytes:
    return b"event: %b\ndata: " % name.encode() + _bytes({"type": name, **fields}) + b"\n\n"


OPENAI_STREAM = (
    _chunk({"role": "assistant", "content": "H"})
    + _chunk({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]})
    + _chunk({}, "tool_calls")
    + b"data: " + _bytes({"choices": [], "usage": USAGE}) + b"\n\ndata: [DONE]\n\n"
)  # fmt: skip
ANTHROPIC_STREAM = (
    _event("message_start", message={**MESSAGE, "content": []})
    + _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    + _event("content_block_delta", index=0, delta={"type": "text_delta", "text": "H"})
    + _event("content_block_stop", index=0)
    + _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
    + _event("message_stop")
)
GEMINI_STREAM = b"data: " + _bytes(GENERATED) + b"\r\n\r\n"
STREAMS = (OPENAI_STREAM, ANTHROPIC_STREAM, GEMINI_STREAM)
BODY = _bytes(COMPLETION)
CHOICES = range(6)

SEEDS: dict[str, tuple[bytes, ...]] = {
    "events": tuple(b"\0\5" + stream for stream in (*STREAMS, b": ping\r\n\r\nid: 1\nretry: 2\n\n")),
    "streams": tuple(
        bytes([wire, dialect]) + b"\0\xff" + stream
        for wire in CHOICES
        for dialect in range(3)
        for stream in STREAMS
    ),
    "answers": tuple(
        bytes([wire, dialect, 3]) + _bytes(answer)
        for wire in CHOICES
        for dialect in range(3)
        for answer in (COMPLETION, MESSAGE, GENERATED, CONVERSED, *FAULTS)
    ),
    "requests": tuple(
        bytes([dialect]) + _bytes(request) for dialect, request in enumerate((CHAT, MESSAGES, RESPONSES))
    ),
    "headers": (
        b"Authorization:Bearer sk-x\nX-Session-ID:s\nX-User-Path:/a/b\nx-request-id:1\nx-api-key:k",
    ),
    "http": (
        b"\0\x20HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY,
        b"\0\7HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nHi\r\n0\r\n\r\n",
        b"\0\7HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 X\r\nretry-after: 3\r\nconnection: close\r\n\r\nno",
    ),
    "forms": (
        b'\0\7--b0\r\nContent-Disposition: form-data; name="model"\r\n\r\npool\r\n'
        b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
        b"RIFF\x00\r\n--b\r\n--b0--\r\n",
    ),
    "waits": (b"3\n20", b"Wed, 21 Oct 2026 07:28:00 GMT\n", b"1m26.4s\ntry again in 1m2.5s", b"1h2m\nwait 3 seconds"),
    "configurations": (EXAMPLE.read_bytes(),),
}  # fmt: skip
