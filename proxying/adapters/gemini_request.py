"""A chat completions request, written as Gemini's ``generateContent``. Pure.

What Gemini has no place for is refused by name, unless leaving it out takes nothing from the answer; both
lists stand in docs/dialects.md.
"""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters.dialects import refuse
from proxying.adapters.gemini_contents import contents_of
from proxying.adapters.gemini_thinking import thinking_config
from proxying.adapters.gemini_tools import is_openapi, tools_of

_SAME: Final = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
}
# Gemini's own fields, in both of its spellings, go along as they came.
_NATIVE: Final = {
    "safetySettings": "safetySettings",
    "safety_settings": "safetySettings",
    "cachedContent": "cachedContent",
    "cached_content": "cachedContent",
    "labels": "labels",
}
# Hints, notes for OpenAI's own books, and what the gateway itself answers for.
_HARMLESS: Final = frozenset(
    {
        "model",
        "provider",
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "store",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "service_tier",
        "prediction",
        "verbosity",
        "parallel_tool_calls",  # the answer is cut to one call
    }
)
_READ: Final = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "response_format",
        "reasoning_effort",
        "logprobs",
        "top_logprobs",
        "modalities",
        "generationConfig",
        "generation_config",
        "extra_body",
    }
)
_KNOWN: Final = frozenset({*_SAME, *_NATIVE, *_HARMLESS, *_READ})
_MODALITIES: Final = {"text": "TEXT", "image": "IMAGE"}


def generate_content(chat: dict[str, Any], model: str) -> dict[str, Any]:
    """The body for ``:generateContent`` and ``:streamGenerateContent``.

    Raises:
        InvalidRequestError: it says something that Gemini cannot be told; ``param`` names it.
    """
    _refuse_unknown(chat)
    body = contents_of(chat.get("messages"), model)
    body.update(tools_of(chat))
    config = _config(chat, model)
    body.update((_NATIVE[name], chat[name]) for name in _NATIVE if chat.get(name) is not None)
    _add_google_extras(chat, body, config)
    if config:
        body["generationConfig"] = config
    return body


def _refuse_unknown(chat: dict[str, Any]) -> None:
    for name, value in chat.items():
        # An empty value asks for nothing.
        if name not in _KNOWN and value not in (None, False, {}, [], ""):
            raise refuse(name, "it cannot be expressed in Gemini's format.")


def _config(chat: dict[str, Any], model: str) -> dict[str, Any]:
    config = {wire: chat[name] for name, wire in _SAME.items() if chat.get(name) is not None}
    if config.get("candidateCount") == 1:
        del config["candidateCount"]
    limit = chat.get("max_completion_tokens")
    limit = chat.get("max_tokens") if limit is None else limit
    if limit is not None:
        config["maxOutputTokens"] = limit
    stop = chat.get("stop")
    if stop:
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    if chat.get("reasoning_effort") is not None:
        thinking = thinking_config(chat["reasoning_effort"], model)
        config.update({"thinkingConfig": thinking} if thinking else {})
    if chat.get("logprobs"):
        config["responseLogprobs"] = True
        if chat.get("top_logprobs"):
            config["logprobs"] = chat["top_logprobs"]
    config.update(_format(chat.get("response_format")))
    config.update(_modalities(chat.get("modalities")))
    for name in ("generationConfig", "generation_config"):
        own = chat.get(name)
        if isinstance(own, dict):
            config.update(own)
    return config


def _format(wanted: object) -> dict[str, Any]:
    if wanted is None:
        return {}
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "text":
        return {}
    if kind not in ("json_object", "json_schema") or not isinstance(wanted, dict):
        raise refuse("response_format", "its type must be text, json_object or json_schema.")
    config: dict[str, Any] = {"responseMimeType": "application/json"}
    held = wanted.get("json_schema")
    schema = held.get("schema") if isinstance(held, dict) else None
    if kind == "json_schema" and schema is not None:
        config["responseSchema" if is_openapi(schema) else "responseJsonSchema"] = schema
    return config


def _modalities(wanted: object) -> dict[str, Any]:
    if not wanted or wanted == ["text"]:
        return {}
    if not isinstance(wanted, list) or any(word not in tuple(_MODALITIES) for word in wanted):
        raise refuse("modalities", "this provider answers with text and image only.")
    return {"responseModalities": [_MODALITIES[word] for word in wanted]}


def _add_google_extras(chat: dict[str, Any], body: dict[str, Any], config: dict[str, Any]) -> None:
    """``extra_body.google``, as Google documents it for OpenAI's clients; it has the last word."""
    extra = chat.get("extra_body")
    if not extra:
        return
    google = extra.get("google") if isinstance(extra, dict) and extra.keys() == {"google"} else None
    if not isinstance(google, dict):
        raise refuse("extra_body", "only 'google' can stand in it.")
    for name, value in google.items():
        if name in {"thinking_config", "thinkingConfig"}:
            config["thinkingConfig"] = value
        elif name in _NATIVE:
            body[_NATIVE[name]] = value
        else:
            raise refuse(f"extra_body.google.{name}", "it cannot be expressed in Gemini's format.")
