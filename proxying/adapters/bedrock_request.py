"""A chat completion request as Converse's. Pure.

What becomes of the fields that are not simply rewritten stands in lists; ``docs/dialects.md`` shows them. A
field in none of them goes to the model, in ``additionalModelRequestFields``: it knows whether it takes it.
"""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters.anthropic_request import DROPPED, JSON_ONLY, REFUSED, closed_schema
from proxying.adapters.bedrock_messages import Conversation
from proxying.adapters.bedrock_models import add_effort, add_top_k, is_claude, settle_sampling
from proxying.adapters.bedrock_tools import tool_config
from proxying.adapters.dialects import refuse
from proxying.adapters.json_text import request_text

# Rewritten below.
_HANDLED: Final = frozenset(
    {
        *("model", "messages", "stream", "stop", "temperature", "top_p", "top_k", "service_tier"),
        *("tools", "tool_choice", "functions", "function_call"),
        *("max_tokens", "max_completion_tokens", "response_format", "reasoning_effort"),
    }
)
# Without these the answer is no other; of several calls in an answer the client gets the first.
_LEFT_OUT: Final = DROPPED | {"user", "safety_identifier", "parallel_tool_calls"}
# Converse's own fields, which go along as they came; objects are laid over what the gateway wrote.
_NATIVE: Final = frozenset(
    {
        *("inferenceConfig", "additionalModelRequestFields", "additionalModelResponseFieldPaths"),
        *("guardrailConfig", "performanceConfig", "requestMetadata", "promptVariables", "serviceTier"),
        "outputConfig",
    }
)
_KNOWN: Final = _HANDLED | _LEFT_OUT | _NATIVE | REFUSED.keys()
_TIERS: Final = ("default", "flex", "priority")


def converse_request(chat: dict[str, Any], model: str) -> dict[str, Any]:
    """The body for ``/converse`` and ``/converse-stream``.

    Raises:
        InvalidRequestError: it says something that Converse cannot be told; ``param`` names it.
    """
    for name, harmless in REFUSED.items():
        if chat.get(name) not in harmless:
            raise refuse(name, "it cannot be expressed in Converse's format.")
    tools = tool_config(chat)
    talk = _conversation(chat.get("messages"), model, with_tools=tools is not None)
    config = _inference_config(chat)
    extra = {name: value for name, value in chat.items() if name not in _KNOWN and value is not None}
    if chat.get("top_k") is not None:
        add_top_k(extra, chat["top_k"], model)
    if chat.get("reasoning_effort") is not None and "thinking" not in extra:
        is_forced = tools is not None and not tools.get("toolChoice", {"auto": {}}).keys() <= {"auto"}
        may_think = not is_forced and not talk.lacks_thinking()
        add_effort(chat["reasoning_effort"], model, config, extra, may_think=may_think)
    settle_sampling(config, extra, model)
    body: dict[str, Any] = {"messages": talk.messages}
    body.update(_format(chat.get("response_format"), talk, model))
    if talk.system:
        body["system"] = talk.system
    if tools is not None:
        body["toolConfig"] = tools
    if chat.get("service_tier") in _TIERS:
        body["serviceTier"] = {"type": chat["service_tier"]}
    _lay(body, "inferenceConfig", config)
    _lay(body, "additionalModelRequestFields", extra)
    for name in _NATIVE:
        if chat.get(name) is not None:
            _lay(body, name, chat[name])
    return body


def _lay(body: dict[str, Any], name: str, value: Any) -> None:
    """Put a field in, or lay an object over the one that is there."""
    if isinstance(value, dict) and isinstance(body.get(name), dict):
        body[name] = {**body[name], **value}
    elif value:
        body[name] = value


def _conversation(messages: Any, model: str, *, with_tools: bool) -> Conversation:
    if not isinstance(messages, list) or not messages:
        raise refuse("messages", "a list with at least one message is expected.")
    talk = Conversation(model, with_tools=with_tools)
    for number, message in enumerate(messages):
        talk.add(message, f"messages[{number}]")
    talk.close()
    return talk


def _inference_config(chat: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name in ("max_completion_tokens", "max_tokens"):
        limit = chat.get(name)
        if limit is None:
            continue
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise refuse(name, "a number of at least 1 is expected.")
        config["maxTokens"] = limit
        break
    temperature = chat.get("temperature")
    if temperature is not None:
        if isinstance(temperature, bool) or not isinstance(temperature, int | float):
            raise refuse("temperature", "a number is expected.")
        config["temperature"] = min(temperature, 1)
    if chat.get("top_p") is not None:
        config["topP"] = chat["top_p"]
    stop = chat.get("stop")
    stops = [stop] if isinstance(stop, str) else stop
    if stops:
        if not isinstance(stops, list) or not all(isinstance(one, str) and one for one in stops):
            raise refuse("stop", "a text or a list of texts is expected.")
        config["stopSequences"] = stops
    return config


def _format(wanted: Any, talk: Conversation, model: str) -> dict[str, Any]:
    """Structured output. Converse has no "any JSON": a sentence asks for that.

    https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
    """
    if wanted is None:
        return {}
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        talk.system.append({"text": JSON_ONLY})
    elif kind == "json_schema":
        named = wanted.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if not isinstance(schema, dict):
            raise refuse("response_format.json_schema.schema", "a schema is expected.")
        closed = closed_schema(schema) if is_claude(model) else schema
        held = {"schema": request_text(closed).decode()}
        held.update((key, named[key]) for key in ("name", "description") if isinstance(named.get(key), str))
        return {"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": held}}}}
    elif kind != "text":
        raise refuse("response_format.type", "it must be text, json_object or json_schema.")
    return {}
