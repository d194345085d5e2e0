"""The demo's fake vendors: what they have, what they answer, and how each can be broken. Pure.

One process (``proxying.demo_server``) plays all of them, each under its own path prefix, for example
``/demo-primary/v1``. ``configuration()`` is the gateway's configuration for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

VENDORS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "demo-primary": ("nova-large", "nova-small", "nova-embed"),
        "demo-backup": ("nova-large-2026-05", "nova-small"),
        "demo-economy": ("nova-small",),
    }
)
MODES: Final = ("ok", "fail", "slow", "cut")
EMBEDDING_DIMENSIONS: Final = 8
CREATED: Final = 1_767_225_600
SLOW_S: Final = 3.0
"""How long a slow vendor waits before its answer, unless told otherwise."""
PACE_S: Final = 0.03
"""Between two pieces of a stream."""


@dataclass(frozen=True, slots=True)
class Mood:
    """How a vendor behaves. ``status`` is what ``fail`` answers, ``delay_s`` how long ``slow`` waits."""

    mode: str = "ok"
    status: int = 503
    delay_s: float = SLOW_S


@dataclass(slots=True)
class Vendors:
    """The moods of all vendors; changed by ``POST /__demo`` only."""

    moods: dict[str, Mood] = field(default_factory=lambda: dict.fromkeys(VENDORS, Mood()))

    def change(self, order: Any) -> str:
        """Carry out ``{"provider", "mode", "status"?, "delay_s"?}``; answer what is wrong with it, or ""."""
        if not isinstance(order, dict):
            return "Send a JSON object."
        provider, mode = order.get("provider"), order.get("mode", "ok")
        status, delay_s = order.get("status", 503), order.get("delay_s", SLOW_S)
        if not isinstance(provider, str) or provider not in VENDORS:
            return f"provider must be one of {', '.join(VENDORS)}."
        if mode not in MODES:
            return f"mode must be one of {', '.join(MODES)}."
        if type(status) is not int or not 400 <= status <= 599:
            return "status must be between 400 and 599."
        if isinstance(delay_s, bool) or not isinstance(delay_s, int | float) or not 0 <= delay_s <= 600:
            return "delay_s must be between 0 and 600."
        self.moods[provider] = Mood(mode, status, float(delay_s))
        return ""

    def as_json(self) -> dict[str, Any]:
        """All moods, as ``GET /__demo`` shows them."""
        return {
            name: {"mode": mood.mode, "status": mood.status, "delay_s": mood.delay_s}
            for name, mood in self.moods.items()
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """What a vendor answers: ``pieces`` of the body; ``cut`` says that the connection breaks after them.

    A reply with ``streamed`` is sent piece by piece at ``PACE_S``.
    """

    status: int = 200
    pieces: tuple[bytes, ...] = ()
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    streamed: bool = False
    cut: bool = False


def reply(vendors: Vendors, method: str, path: str, body: bytes) -> Reply:
    """Answer one request to any vendor, or to the switchboard at ``/__demo``."""
    data: Any = {}
    if method == "POST":
        try:
            data = json.loads(body)
        except ValueError:
            return _error(400, "The body is not JSON.")
    if path == "/__demo":
        problem = vendors.change(data) if method == "POST" else ""
        return _error(400, problem) if problem else _whole(vendors.as_json())
    name, _, operation = path.removeprefix("/").partition("/v1/")
    if name not in VENDORS:
        return _error(404, f"There is no vendor {name}.")
    mood = vendors.moods[name]
    if mood.mode == "fail":
        return _failure(name, mood.status)
    answer = _operation(name, method, operation, data if isinstance(data, dict) else {})
    return _in_mood(answer, mood)


def _operation(name: str, method: str, operation: str, data: dict[str, Any]) -> Reply:
    if (method, operation) == ("GET", "models"):
        return _whole({"object": "list", "data": [_model(name, model) for model in VENDORS[name]]})
    if method != "POST" or operation not in {"chat/completions", "completions", "embeddings"}:
        return _error(404, f"{name} has no {method} /v1/{operation}.")
    model = data.get("model")
    if model not in VENDORS[name]:
        return _error(404, f"The model {model} does not exist at {name}.", "model_not_found")
    if operation == "embeddings":
        return _whole(_embeddings(model, data))
    answer = _Completion(name, model, _prompt(data), chat=operation == "chat/completions")
    if data.get("stream") is True:
        options = data.get("stream_options")
        with_usage = isinstance(options, dict) and options.get("include_usage") is True
        return Reply(pieces=answer.events(with_usage), content_type="text/event-stream", streamed=True)
    return _whole(answer.whole())


def _in_mood(answer: Reply, mood: Mood) -> Reply:
    if mood.mode == "slow":
        return _changed(answer, answer.pieces, delay_s=mood.delay_s)
    if mood.mode == "cut":
        if answer.streamed:
            return _changed(answer, answer.pieces[: len(answer.pieces) // 2], cut=True)
        text = b"".join(answer.pieces)
        return _changed(answer, (text[: len(text) // 2],), cut=True)
    return answer


def _changed(answer: Reply, pieces: tuple[bytes, ...], *, delay_s: float = 0.0, cut: bool = False) -> Reply:
    return Reply(
        answer.status, pieces, answer.content_type, answer.headers, delay_s, streamed=answer.streamed, cut=cut
    )


def _whole(value: Any) -> Reply:
    return Reply(pieces=(json.dumps(value).encode(),))


def _error(status: int, message: str, code: str | None = None) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return Reply(status, (json.dumps({"error": error}).encode(),))


def _failure(name: str, status: int) -> Reply:
    kinds = {
        401: ("authentication_error", "invalid_api_key"),
        429: ("rate_limit_error", "rate_limit_exceeded"),
    }
    error_type, code = kinds.get(status, ("server_error", "demo_failure"))
    error = {"message": f"{name} was told to fail.", "type": error_type, "param": None, "code": code}
    headers = (("retry-after", "5"),) if status == 429 else ()
    return Reply(status, (json.dumps({"error": error}).encode(),), headers=headers)


def _model(name: str, model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": CREATED, "owned_by": name}


def _prompt(data: dict[str, Any]) -> str:
    """The last words of the user, wherever the request has them."""
    messages = data.get("messages")
    content = messages[-1].get("content") if isinstance(messages, list) and messages else data.get("prompt")
    if isinstance(content, list):
        content = " ".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _embeddings(model: str, data: dict[str, Any]) -> dict[str, Any]:
    given = data.get("input")
    texts = given if isinstance(given, list) else [given]
    tokens = sum(len(str(text).split()) for text in texts)
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(str(text))}
            for index, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _vector(text: str) -> list[float]:
    """A vector of length about 1 that depends on the text only."""
    sums = [sum(text.encode()[start::EMBEDDING_DIMENSIONS]) % 97 + 1 for start in range(EMBEDDING_DIMENSIONS)]
    length = sum(value * value for value in sums) ** 0.5
    return [round(value / length, 6) for value in sums]


class _Completion:
    """One answer, chat or plain, whole or as events."""

    def __init__(self, name: str, model: str, prompt: str, *, chat: bool) -> None:
        self.text = f"This is {name}, answering as {model}. You said: {prompt[:200] or 'nothing'}"
        self.chat = chat
        prompt_tokens, completion_tokens = len(prompt.split()), len(self.text.split())
        self.usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }
        kind = "chat.completion" if chat else "text_completion"
        self.head = {"id": f"demo-{name}", "object": kind, "created": CREATED, "model": model}

    def whole(self) -> dict[str, Any]:
        """The answer as one object."""
        words: dict[str, Any] = {"text": self.text}
        if self.chat:
            words = {"message": {"role": "assistant", "content": self.text}}
        return {
            **self.head,
            "choices": [{"index": 0, **words, "finish_reason": "stop"}],
            "usage": self.usage,
        }

    def events(self, with_usage: bool) -> tuple[bytes, ...]:
        """The answer as server-sent events, a word each."""
        words = [word + " " for word in self.text.split(" ")]
        words[-1] = words[-1].rstrip(" ")
        choices = [self._choice(word, first=place == 0) for place, word in enumerate(words)]
        choices.append(self._choice(None, first=False))
        events: list[Any] = [{"choices": [choice]} for choice in choices]
        if with_usage:
            events = [{**event, "usage": None} for event in events]
            events.append({"choices": [], "usage": self.usage})
        head = self.head | ({"object": "chat.completion.chunk"} if self.chat else {})
        return (
            *(b"data: " + json.dumps(head | event).encode() + b"\n\n" for event in events),
            b"data: [DONE]\n\n",
        )

    def _choice(self, word: str | None, *, first: bool) -> dict[str, Any]:
        finish = None if word is not None else "stop"
        if not self.chat:
            return {"index": 0, "text": word or "", "finish_reason": finish}
        delta: dict[str, Any] = {"role": "assistant"} if first else {}
        if word is not None:
            delta["content"] = word
        return {"index": 0, "delta": delta, "finish_reason": finish}


def configuration(port: int) -> str:
    """The gateway's configuration for these vendors: a priority pool, a weighted pool, an alias."""
    providers = "".join(
        f"  {name}:\n    type: openai_compatible\n    base_url: http://127.0.0.1:{port}/{name}/v1\n"
        f"    models: [{', '.join(models)}]\n"
        for name, models in VENDORS.items()
    )
    return f"# The demo's configuration, written by `make run`.\nproviders:\n{providers}{_POOLS}"


_POOLS: Final = """\
aliases:
  assistant: demo-chat
routing:
  model_pools:
    demo-chat: # the first that works
      strategy: priority_failover
      candidates:
        - {provider: demo-primary, model: nova-large, priority: 1}
        - {provider: demo-backup, model: nova-large-2026-05, priority: 2}
    demo-balanced: # three, two, one of every six requests
      strategy: weighted_round_robin
      candidates:
        - {provider: demo-primary, model: nova-small, weight: 3}
        - {provider: demo-backup, model: nova-small, weight: 2}
        - {provider: demo-economy, model: nova-small, weight: 1}
"""
