"""A chat completion request as a Messages request.

Three lists say what becomes of the fields that are not simply rewritten; ``docs/dialects.md`` shows them.
A field in none of them goes on as it is: the Messages format may have a place for it.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from proxying.adapters.anthropic_limits import (
    EFFORTS,
    SAMPLING,
    default_max_tokens,
    refused_sampling,
    thinking_for,
)
from proxying.adapters.anthropic_messages import Conversation
from proxying.adapters.anthropic_tools import tool_fields
from proxying.adapters.base import Target
from proxying.adapters.dialects import refuse

# Rewritten below.
_HANDLED: Final = frozenset(
    {
        *("model", "messages", "stream", "stop", "temperature", "user", "safety_identifier", "service_tier"),
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"),
        *("max_tokens", "max_completion_tokens", "response_format", "reasoning_effort"),
    }
)
# Left out: without them the answer may be a little different, and never a wrong one. Anthropic's own
# compatibility layer does the same: https://platform.claude.com/docs/en/api/openai-sdk
DROPPED: Final = frozenset(
    {
        *("stream_options", "seed", "frequency_penalty", "presence_penalty", "store", "metadata"),
        *("prediction", "prompt_cache_key", "prompt_cache_retention", "verbosity", "provider"),
    }
)
# Field to the values that ask for nothing; any other value is refused.
REFUSED: Final[dict[str, tuple[Any, ...]]] = {
    "n": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "audio": (None,),
    "modalities": (None, [], ["text"]),
    "web_search_options": (None,),
}
JSON_ONLY: Final = "Answer with one JSON object and nothing else: no prose and no code fence."
_DEEPEST_SCHEMA: Final = 100


def messages_request(data: dict[str, Any], target: Target) -> dict[str, Any]:
    """Rewrite the fields of a chat completion request.

    Raises:
        InvalidRequestError: a field says what the Messages format cannot.
    """
    for name, harmless in REFUSED.items():
        if data.get(name) not in harmless:
            raise refuse(name, "This cannot be sent to an Anthropic provider.")
    talk = _conversation(data.get("messages"))
    written: dict[str, Any] = {"model": target.model, "max_tokens": _max_tokens(data, target)}
    kept = _HANDLED | DROPPED | REFUSED.keys()
    written.update((name, value) for name, value in data.items() if name not in kept and value is not None)
    if data.get("response_format") is not None:
        _add_format(written, talk, data["response_format"])
    if talk.system:
        written["system"] = talk.system
    written["messages"] = talk.messages
    written.update(tool_fields(data))
    if isinstance(data.get("temperature"), int | float):
        written["temperature"] = min(data["temperature"], 1)
    _add_stops(written, data.get("stop"))
    _add_thinking(written, talk, data.get("reasoning_effort"), target.model)
    for name in refused_sampling(target.model, written):
        written.pop(name, None)
    _add_account(written, data)
    if data.get("stream") is True:
        written["stream"] = True
    return written


def _conversation(messages: Any) -> Conversation:
    if not isinstance(messages, list):
        raise refuse("messages", "A list of messages is expected.")
    talk = Conversation()
    for number, message in enumerate(messages):
        talk.add(message, f"messages[{number}]")
    talk.close()
    if not talk.messages:
        raise refuse(
            "messages", "An Anthropic provider needs at least one message of a user with words in it."
        )
    return talk


def _max_tokens(data: dict[str, Any], target: Target) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        value = data.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise refuse(name, "A number of at least 1 is expected.")
        return value
    return default_max_tokens(target.provider, target.model)


def _add_stops(written: dict[str, Any], stop: Any) -> None:
    if stop is None:
        return
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise refuse("stop", "A text or a list of texts is expected.")
    if not all(one.strip() for one in stops):
        raise refuse("stop", "An Anthropic provider does not take a stop sequence of white space alone.")
    if stops:
        written["stop_sequences"] = stops


def _add_format(written: dict[str, Any], talk: Conversation, wanted: Any) -> None:
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        talk.system.append({"type": "text", "text": JSON_ONLY})
    elif kind == "json_schema":
        named = wanted.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if not isinstance(schema, dict):
            raise refuse("response_format.json_schema.schema", "A schema is expected.")
        form = {"type": "json_schema", "schema": closed_schema(schema)}
        written["output_config"] = {**_config(written), "format": form}
    elif kind != "text":
        raise refuse("response_format.type", f"The format {kind!r} cannot be sent to an Anthropic provider.")


def _config(written: dict[str, Any]) -> dict[str, Any]:
    """What the client itself put into Anthropic's ``output_config``."""
    config = written.get("output_config")
    return config if isinstance(config, dict) else {}


def closed_schema(schema: Any, depth: int = 0) -> Any:
    """The schema with ``additionalProperties: false`` where an object leaves it open: it is required."""
    if depth > _DEEPEST_SCHEMA:
        raise refuse("response_format.json_schema.schema", "The schema is nested too deeply.")
    if isinstance(schema, list):
        return [closed_schema(item, depth + 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: closed_schema(value, depth + 1) for name, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _add_thinking(written: dict[str, Any], talk: Conversation, effort: Any, model: str) -> None:
    """Let the model think as the client asked, where it may: tools that are forced rule it out."""
    if effort is not None and (not isinstance(effort, str) or effort not in EFFORTS):
        raise refuse("reasoning_effort", f"One of {', '.join(sorted(EFFORTS))} is expected.")
    if effort is not None and "thinking" not in written:
        fields = thinking_for(effort, model, written["max_tokens"])
        config = fields.pop("output_config", None)
        if config is not None:
            written["output_config"] = {**config, **_config(written)}
        forced = written.get("tool_choice", {}).get("type") in {"any", "tool"}
        if not forced and not talk.lacks_thinking():
            written.update(fields)
    if isinstance(written.get("thinking"), dict) and written["thinking"].get("type") != "disabled":
        # https://platform.claude.com/docs/en/build-with-claude/extended-thinking#feature-compatibility
        for name in SAMPLING:
            written.pop(name, None)


def _add_account(written: dict[str, Any], data: dict[str, Any]) -> None:
    # Anthropic wants an opaque id: OpenAI's safety_identifier is one already, user may be a person's name.
    if isinstance(data.get("safety_identifier"), str):
        written["metadata"] = {"user_id": data["safety_identifier"]}
    elif isinstance(data.get("user"), str) and data["user"]:
        written["metadata"] = {"user_id": hashlib.sha256(data["user"].encode()).hexdigest()}
    tier = data.get("service_tier")
    if tier in ("auto", "default"):
        written["service_tier"] = "auto" if tier == "auto" else "standard_only"
