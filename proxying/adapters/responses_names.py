"""The names under which chat completions know the tools of a Responses request.

Chat has functions only. Those of a namespace are called with its name before theirs, and a custom tool, whose
input is free text, is a function with that text as its one argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

_LONGEST_NAME: Final = 64
_INPUT: Final = "input"
CUSTOM_PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {_INPUT: {"type": "string"}},
    "required": [_INPUT],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Called:
    """A tool by the client's name for it."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


def flat_name(name: str, namespace: Any = None) -> str:
    """Chat's name of a tool; one that would be too long ends in its digest."""
    if not isinstance(namespace, str) or not namespace:
        return name
    flat = f"{namespace}__{name}"
    if len(flat) <= _LONGEST_NAME:
        return flat
    return f"{flat[: _LONGEST_NAME - 9]}_{sha256(flat.encode()).hexdigest()[:8]}"


def tools_in(tools: Any, where: str = "tools") -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Every tool with its place and its namespace; what is no object is left out."""
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        place = f"{where}[{number}]"
        if isinstance(tool, dict) and tool.get("type") == "namespace":
            yield from (
                (inner_place, inner, str(tool.get("name") or ""))
                for inner_place, inner, _ in tools_in(tool.get("tools"), f"{place}.tools")
            )
        elif isinstance(tool, dict):
            yield place, tool, None


def called_as(request: dict[str, Any]) -> dict[str, Called]:
    """The tools of a request whose calls are not plain calls of functions, by chat's names for them."""
    found = {}
    for _, tool, namespace in tools_in(request.get("tools")):
        is_custom = tool.get("type") == "custom"
        name = tool.get("name")
        if isinstance(name, str) and (is_custom or namespace):
            found[flat_name(name, namespace)] = Called(name, namespace or None, is_custom)
    return found


def custom_arguments(text: Any) -> str:
    """The input of a custom tool as chat's arguments."""
    return orjson.dumps({_INPUT: text if isinstance(text, str) else ""}).decode()


def custom_input(arguments: str) -> str:
    """The input that a model wrote for a custom tool; all of it when it kept to no form."""
    try:
        held = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = held.get(_INPUT) if isinstance(held, dict) else None
    return text if isinstance(text, str) else arguments
