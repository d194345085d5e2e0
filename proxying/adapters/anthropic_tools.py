"""OpenAI's tools and the choice among them as Anthropic's."""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters.dialects import refuse

_CHOICES: Final = {"auto": "auto", "required": "any", "none": "none", "any": "any"}
_NO_PARAMETERS: Final = {"type": "object", "properties": {}}


def tool_fields(data: dict[str, Any]) -> dict[str, Any]:
    """The fields ``tools`` and ``tool_choice`` of a Messages request; both may be absent.

    The deprecated ``functions`` and ``function_call`` count as tools.

    Raises:
        InvalidRequestError: a tool or choice has no place in the Messages format.
    """
    tools = _tools(data)
    choice, tools = _choice(data, tools)
    if not tools:
        if choice is not None and choice["type"] in {"any", "tool"}:
            raise refuse("tool_choice", "A tool is demanded, but 'tools' has none.")
        return {}
    if data.get("parallel_tool_calls") is False:
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    return {"tools": tools} if choice is None else {"tools": tools, "tool_choice": choice}


def _tools(data: dict[str, Any]) -> list[dict[str, Any]]:
    given = data.get("tools")
    if given is None and isinstance(data.get("functions"), list):
        return [_function(one, f"functions[{n}]") for n, one in enumerate(data["functions"])]
    if given is not None and not isinstance(given, list):
        raise refuse("tools", "A list is expected.")
    return [_tool(one, f"tools[{n}]") for n, one in enumerate(given or ())]


def _tool(tool: Any, where: str) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind == "function":
        function = _function(tool.get("function"), f"{where}.function")
        if tool.get("cache_control") is not None:
            function["cache_control"] = tool["cache_control"]
        return function
    if isinstance(kind, str) and isinstance(tool.get("name"), str):
        return dict(tool)  # a tool of Anthropic's own, as "web_search_20250305"
    raise refuse(f"{where}.type", f"A tool of type {kind!r} cannot be sent to an Anthropic provider.")


def _function(function: Any, where: str) -> dict[str, Any]:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise refuse(where, "A function with a name is expected.")
    schema = function.get("parameters")
    tool: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        tool["description"] = function["description"]
    tool["input_schema"] = {"type": "object", **schema} if isinstance(schema, dict) else _NO_PARAMETERS
    for extra in ("strict", "cache_control"):
        if function.get(extra) is not None:
            tool[extra] = function[extra]
    return tool


def _choice(
    data: dict[str, Any], tools: list[dict[str, Any]]
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    choice = data.get("tool_choice", data.get("function_call"))
    if choice is None:
        return None, tools
    if isinstance(choice, str) and choice in _CHOICES:
        return {"type": _CHOICES[choice]}, tools
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return _allowed(choice, tools)
    if isinstance(choice, dict):
        function = choice.get("function") if choice.get("type") == "function" else choice
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            return {"type": "tool", "name": function["name"]}, tools
    raise refuse("tool_choice", "This choice cannot be sent to an Anthropic provider.")


def _allowed(
    choice: dict[str, Any], tools: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """OpenAI's subset of the tools: Anthropic has none, so only those are sent."""
    inner = choice.get("allowed_tools")
    given = inner if isinstance(inner, dict) else choice
    listed = given.get("tools")
    names = [_name_of(one) for one in (listed if isinstance(listed, list) else ())]
    mode = "any" if given.get("mode") == "required" else "auto"
    return {"type": mode}, [tool for tool in tools if tool["name"] in names]


def _name_of(reference: Any) -> Any:
    if not isinstance(reference, dict):
        return None
    function = reference.get("function")
    return (function if isinstance(function, dict) else reference).get("name")
