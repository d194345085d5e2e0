"""OpenAI's tools and the choice among them as Converse's. Pure.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolConfiguration.html
"""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters.bedrock_content import cache_points
from proxying.adapters.dialects import refuse

_CHOICES: Final = {"auto": "auto", "required": "any", "any": "any", "none": "none"}
# Members of a tool of Converse's own; such a tool has no "type" and goes as it came.
_OWN_TOOLS: Final = frozenset({"toolSpec", "systemTool", "cachePoint"})


def tool_config(chat: dict[str, Any]) -> dict[str, Any] | None:
    """``toolConfig``; None where no tool may be called: none is declared, or the choice is ``none``.

    Raises:
        InvalidRequestError: a tool or the choice is not expressible; ``param`` names it.
    """
    tools, choice = _given(chat)
    mode, name, allowed = _choice(choice)
    if not tools:
        if mode in ("any", "tool"):
            raise refuse("tool_choice", "it demands a tool, but 'tools' has none.")
        return None
    written: list[dict[str, Any]] = []
    for index, tool in enumerate(tools):
        spec = _tool(tool, f"tools[{index}]")
        if allowed is None or _name(spec) in allowed:
            written.append(spec)
            written += cache_points(tool)
    if mode == "none" or not written:
        return None
    config: dict[str, Any] = {"tools": written}
    if choice is not None:
        config["toolChoice"] = {mode: {"name": name} if mode == "tool" else {}}
    return config


def _given(chat: dict[str, Any]) -> tuple[list[Any], Any]:
    """The tools and the choice; the deprecated ``functions`` and ``function_call`` count as such."""
    tools, choice = chat.get("tools") or [], chat.get("tool_choice")
    if not isinstance(tools, list):
        raise refuse("tools", "a list is expected.")
    functions = chat.get("functions")
    if tools or not functions:
        return tools, choice
    if not isinstance(functions, list):
        raise refuse("functions", "a list is expected.")
    return [{"type": "function", "function": one} for one in functions], chat.get("function_call")


def _tool(tool: Any, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise refuse(where, "an object is expected.")
    if "type" not in tool and tool and tool.keys() <= _OWN_TOOLS:
        return dict(tool)
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, dict):
        raise refuse(f"{where}.type", f"a tool of type {tool.get('type')!r} cannot be sent to this provider.")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise refuse(f"{where}.function.name", "a text is expected.")
    schema = function.get("parameters")
    spec: dict[str, Any] = {"name": name}
    if isinstance(function.get("description"), str) and function["description"].strip():
        spec["description"] = function["description"]
    filled = (
        {"type": "object", **schema} if isinstance(schema, dict) else {"type": "object", "properties": {}}
    )
    spec["inputSchema"] = {"json": filled}
    if isinstance(function.get("strict"), bool):
        spec["strict"] = function["strict"]
    return {"toolSpec": spec}


def _name(tool: dict[str, Any]) -> Any:
    spec = tool.get("toolSpec") or tool.get("systemTool")
    return spec.get("name") if isinstance(spec, dict) else None


def _choice(choice: Any) -> tuple[str, str, list[str] | None]:
    """Mode, the one tool of the mode ``tool``, and the names that are allowed (None: all)."""
    if choice is None:
        return "auto", "", None
    if isinstance(choice, str) and choice in _CHOICES:
        return _CHOICES[choice], "", None
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return _allowed(choice)
    name = _name_in(choice)
    if name:
        return "tool", name, None
    raise refuse("tool_choice", "it must be auto, required, none, or name a function.")


def _allowed(choice: dict[str, Any]) -> tuple[str, str, list[str]]:
    """OpenAI's subset of the tools: Converse has none, so only those are sent."""
    inner = choice.get("allowed_tools")
    given = inner if isinstance(inner, dict) else choice
    listed = given.get("tools")
    names = [name for name in map(_name_in, listed if isinstance(listed, list) else ()) if name]
    mode = given.get("mode", "auto")
    if not names or mode not in ("auto", "required"):
        raise refuse("tool_choice.allowed_tools", "it needs a mode (auto, required) and named functions.")
    return _CHOICES[mode], "", names


def _name_in(holder: Any) -> str | None:
    if not isinstance(holder, dict):
        return None
    function = holder.get("function")
    name = (function if isinstance(function, dict) else holder).get("name")
    return name if isinstance(name, str) and name else None
