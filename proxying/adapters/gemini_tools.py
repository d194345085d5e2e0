"""A chat's tools and its choice among them, written as Gemini's function declarations. Pure."""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters.dialects import refuse

_MODES: Final = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def tools_of(chat: dict[str, Any]) -> dict[str, Any]:
    """``tools`` and ``toolConfig``; nothing where the chat has no tools.

    A tool without ``type`` and ``function`` is Gemini's own (``{"googleSearch": {}}``) and goes as it came.

    Raises:
        InvalidRequestError: a tool or the choice is not expressible; ``param`` names it.
    """
    tools, choice = _given(chat)
    mode, names = _choice(choice)
    if not tools:
        if mode == "ANY":
            raise refuse("tool_choice", "it is allowed only when 'tools' are given.")
        return {}
    declared: list[dict[str, Any]] = []
    own: list[dict[str, Any]] = []
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise refuse(path, "a tool must be an object.")
        if "type" in tool or "function" in tool:
            declared.append(_declaration(tool, path))
        else:
            own.append(tool)
    if mode == "AUTO" and names:
        # Gemini takes names of allowed functions only where one must be called.
        declared = [one for one in declared if one["name"] in names]
    written: dict[str, Any] = {"tools": ([{"functionDeclarations": declared}] if declared else []) + own}
    if choice is not None and declared:
        allowed = {"allowedFunctionNames": names} if names and mode == "ANY" else {}
        written["toolConfig"] = {"functionCallingConfig": {"mode": mode, **allowed}}
    return written


def _given(chat: dict[str, Any]) -> tuple[list[Any], object]:
    """The tools and the choice; the deprecated ``functions`` and ``function_call`` count as such."""
    tools, choice = chat.get("tools") or [], chat.get("tool_choice")
    if not isinstance(tools, list):
        raise refuse("tools", "it must be a list.")
    functions = chat.get("functions")
    if tools or not functions:
        return tools, choice
    if not isinstance(functions, list):
        raise refuse("functions", "it must be a list.")
    named = chat.get("function_call")
    choice = {"function": named} if isinstance(named, dict) else named
    return [{"type": "function", "function": function} for function in functions], choice


def _declaration(tool: dict[str, Any], path: str) -> dict[str, Any]:
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, dict):
        raise refuse(f"{path}.type", "only functions can be declared to this provider.")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise refuse(f"{path}.function.name", "it must be a string.")
    declaration: dict[str, Any] = {"name": name}
    if function.get("description"):
        declaration["description"] = function["description"]
    schema = function.get("parameters")
    if schema:
        declaration["parameters" if is_openapi(schema) else "parametersJsonSchema"] = schema
    return declaration


def is_openapi(schema: object) -> bool:
    """Whether a schema is of the OpenAPI kind, as Gemini's own users write it: types in capitals."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    return isinstance(kind, str) and kind.isupper()


def _choice(choice: object) -> tuple[str, list[str]]:
    """The mode, and the functions that it is about (all where there is none)."""
    if choice is None:
        return "AUTO", []
    if isinstance(choice, str) and choice in _MODES:
        return _MODES[choice], []
    if isinstance(choice, dict):
        name = _name_in(choice)
        if name:
            return "ANY", [name]
        allowed = choice.get("allowed_tools")
        if choice.get("type") == "allowed_tools" and isinstance(allowed, dict):
            return _allowed(allowed)
    raise refuse("tool_choice", "it must be auto, required, none, or name a function.")


def _allowed(allowed: dict[str, Any]) -> tuple[str, list[str]]:
    tools = allowed.get("tools")
    names = [_name_in(tool) for tool in tools] if isinstance(tools, list) else []
    if not names or not all(names) or allowed.get("mode") not in ("auto", "required"):
        raise refuse("tool_choice.allowed_tools", "it needs a mode (auto, required) and named functions.")
    return _MODES[allowed["mode"]], [name for name in names if name]


def _name_in(holder: object) -> str | None:
    function = holder.get("function") if isinstance(holder, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) and name else None
