"""The tools of a Responses request as those of a chat completion."""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters.dialects import refuse

_MODES: Final = ("auto", "none", "required")


def tool_fields(data: dict[str, Any], *, drop_hosted: bool = False) -> dict[str, Any]:
    """``tools``, ``tool_choice`` and ``parallel_tool_calls``; nothing without tools.

    Args:
        data: The request.
        drop_hosted: Leave tools out that the provider would have to run itself, instead of refusing them.

    Raises:
        InvalidRequestError: a tool is none of chat completions', or the choice is none of the tools.
    """
    tools = _functions(data.get("tools"), drop_hosted=drop_hosted)
    choice = _choice(data.get("tool_choice"))
    if not tools:
        if choice not in (None, "auto", "none"):
            raise refuse("tool_choice", "There are no functions to choose from.")
        return {}
    if isinstance(choice, _Allowed):
        tools = [tool for tool in tools if tool["function"]["name"] in choice.names]
        if not tools:
            raise refuse("tool_choice.tools", "None of these is among the tools.")
        choice = choice.mode
    fields: dict[str, Any] = {"tools": tools}
    if choice is not None:
        fields["tool_choice"] = choice
    if isinstance(data.get("parallel_tool_calls"), bool):
        fields["parallel_tool_calls"] = data["parallel_tool_calls"]
    return fields


def _functions(given: Any, *, drop_hosted: bool) -> list[dict[str, Any]]:
    if given is not None and not isinstance(given, list):
        raise refuse("tools", "A list is expected.")
    tools = []
    for number, tool in enumerate(given or ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind == "function":
            tools.append(_function(tool, f"tools[{number}]"))
        elif not drop_hosted:
            raise refuse(
                f"tools[{number}].type",
                f"A tool of type {kind!r} cannot be given to this provider, only functions.",
            )
    return tools


class _Allowed:
    """A choice among some of the tools: the others are not sent, which every vendor understands."""

    def __init__(self, mode: str, names: set[str]) -> None:
        self.mode = mode
        self.names = names


def _function(tool: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(tool.get("name"), str) or not tool["name"]:
        raise refuse(f"{where}.name", "A name is expected.")
    function: dict[str, Any] = {"name": tool["name"]}
    for name in ("description", "parameters", "strict"):
        if tool.get(name) is not None:
            function[name] = tool[name]
    return {"type": "function", "function": function}


def _choice(choice: Any) -> Any:
    if choice is None or (isinstance(choice, str) and choice in _MODES):
        return choice
    kind = choice.get("type") if isinstance(choice, dict) else choice
    if kind == "function" and isinstance(choice.get("name"), str):
        return {"type": "function", "function": {"name": choice["name"]}}
    if kind == "allowed_tools" and isinstance(choice.get("tools"), list):
        names = {tool["name"] for tool in choice["tools"] if _is_function(tool)}
        return _Allowed("required" if choice.get("mode") == "required" else "auto", names)
    raise refuse("tool_choice", f"The choice {kind!r} cannot be given to this provider.")


def _is_function(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "function" and isinstance(tool.get("name"), str)
