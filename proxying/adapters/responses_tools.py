"""The tools of a Responses request as those of a chat completion."""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters.dialects import refuse
from proxying.adapters.responses_names import CUSTOM_PARAMETERS, flat_name, tools_in

_MODES: Final = ("auto", "none", "required")
_CALLABLE: Final = ("function", "custom")


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
    if data.get("parallel_tool_calls") is False:  # true is what happens anyway
        fields["parallel_tool_calls"] = False
    return fields


def _functions(given: Any, *, drop_hosted: bool) -> list[dict[str, Any]]:
    if given is not None and (not isinstance(given, list) or not all(isinstance(one, dict) for one in given)):
        raise refuse("tools", "A list of tools is expected.")
    tools = []
    for where, tool, namespace in tools_in(given):
        kind = tool.get("type")
        if kind in _CALLABLE:
            tools.append(_function(tool, namespace, where))
        elif not (drop_hosted or _is_harmless(tool)):
            raise refuse(
                f"{where}.type",
                f"A tool of type {kind!r} is run by OpenAI; this provider takes functions only. Leave it "
                "out, or let the gateway do so with the provider's option 'hosted_tools: drop'.",
            )
    return tools


def _is_harmless(tool: dict[str, Any]) -> bool:
    """A search that may not reach the web anyway, as Codex offers it to every model."""
    return tool.get("type") == "web_search" and tool.get("external_web_access") is False


class _Allowed:
    """A choice among some of the tools: the others are not sent, which every vendor understands."""

    def __init__(self, mode: str, names: set[str]) -> None:
        self.mode = mode
        self.names = names


def _function(tool: dict[str, Any], namespace: str | None, where: str) -> dict[str, Any]:
    if not isinstance(tool.get("name"), str) or not tool["name"]:
        raise refuse(f"{where}.name", "A name is expected.")
    function: dict[str, Any] = {"name": flat_name(tool["name"], namespace)}
    if tool["type"] == "custom":
        function["description"] = _with_grammar(tool)
        function["parameters"] = CUSTOM_PARAMETERS
        return {"type": "function", "function": function}
    for name in ("description", "parameters"):
        if tool.get(name) is not None:
            function[name] = tool[name]
    if tool.get("strict") is True:  # false is chat's default, and some vendors do not know the word
        function["strict"] = True
    return {"type": "function", "function": function}


def _with_grammar(tool: dict[str, Any]) -> str:
    """What a custom tool is for, and the grammar that its input is to keep to: nobody else can enforce it."""
    text = str(tool.get("description") or "")
    form = tool.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar":
        text += f"\n\nThe input must follow this {form.get('syntax')} grammar:\n{form.get('definition')}"
    return text


def _choice(choice: Any) -> Any:
    if choice is None or (isinstance(choice, str) and choice in _MODES):
        return choice
    kind = choice.get("type") if isinstance(choice, dict) else choice
    if kind in _CALLABLE and isinstance(choice.get("name"), str):
        name = flat_name(choice["name"], choice.get("namespace"))
        return {"type": "function", "function": {"name": name}}
    if kind == "allowed_tools" and isinstance(choice.get("tools"), list):
        names = {
            flat_name(tool["name"], namespace)
            for _, tool, namespace in tools_in(choice["tools"])
            if tool.get("type") in _CALLABLE and isinstance(tool.get("name"), str)
        }
        return _Allowed("required" if choice.get("mode") == "required" else "auto", names)
    raise refuse("tool_choice", f"The choice {kind!r} cannot be given to this provider.")
