"""The model behind every scripted provider: it reads what was asked and does it, always in the same way.

It knows no wire format. A wire reads a request into ``Asked``, and writes ``Said`` as its vendor would.
What makes a client's test worth something is here: a tool is called with the arguments that the words ask
for, a schema is filled in, a picture that did not arrive is missed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

THOUGHT = "Let me think about that."
VECTOR = [0.5, -0.25, 2.0]
# Words of a prompt, and what must have come along for them to make sense.
MEANT = {
    "image": "image/",
    "picture": "image/",
    "diagram": "image/",
    "document": "application/pdf",
    "pdf": "application/pdf",
    "audio": "audio/",
}
_DIRECTIVE = re.compile(r"[Cc]all (\w+)\((\{.*?\})\)")
_QUOTED = re.compile(r"'([^']+)'")
_NUMBER = re.compile(r"-?\d+")


class RefusedError(Exception):
    """A vendor would answer 400 to this."""


@dataclass
class Tool:
    name: str
    schema: dict[str, Any]


@dataclass
class Asked:
    """One request, whatever its wire.

    ``prompt`` is what the user said last; ``results`` are ``(tool, text)`` since then. ``choice`` is
    ``auto``, ``none``, ``any`` or a tool's name. ``shown`` are media types and bytes of all that is not text.
    ``usage_wanted`` and ``usage_unasked`` are about streams of OpenAI's; ``form`` Responses repeat.
    """

    model: str
    prompt: str = ""
    system: str = ""
    stream: bool = False
    tools: list[Tool] = field(default_factory=list)
    choice: str = "auto"
    parallel: bool = True
    results: list[tuple[str, str]] = field(default_factory=list)
    schema: dict[str, Any] | None = None
    json_only: bool = False
    shown: list[tuple[str, bytes]] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    max_tokens: int | None = None
    thinks: bool = False
    usage_wanted: bool = True
    usage_unasked: bool = False
    form: dict[str, Any] = field(default_factory=lambda: {"type": "text"})


@dataclass
class Call:
    name: str
    arguments: dict[str, Any]
    id: str


@dataclass
class Said:
    """One answer; prompt tokens count cached ones. ``finish``: ``end``, ``stop``, ``length``, ``calls``."""

    text: str = ""
    thought: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str = "end"
    stopped_by: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    thought_tokens: int = 0
    cache_read: int = 0
    cache_written: int = 0

    @property
    def pieces(self) -> list[str]:
        """The text in pieces of a word each, for streams."""
        return re.findall(r"\S+\s*|\s+", self.text)


def answer(asked: Asked) -> Said:
    """What the model says.

    Raises:
        RefusedError: the words speak of a picture, a document or a recording that has not come along.
    """
    said = Said(thought=THOUGHT if asked.thinks else "", calls=_calls(asked))
    if said.calls:
        said.finish = "calls"
    else:
        _miss_nothing(asked)
        said.text = _text(asked)
        _cut(said, asked)
    said.prompt_tokens = 10 + len(asked.prompt.split())
    said.thought_tokens = len(said.thought.split())
    said.completion_tokens = len(said.text.split()) + 5 * len(said.calls) + said.thought_tokens
    if "from the cache" in asked.prompt:
        said.cache_read = said.prompt_tokens - 4
    if "into the cache" in asked.prompt:
        said.cache_written = said.prompt_tokens - 4
    return said


def _calls(asked: Asked) -> list[Call]:
    used = {name for name, _ in asked.results}
    left = [tool for tool in asked.tools if tool.name not in used]
    if not left or asked.choice == "none":
        return []
    known = {tool.name for tool in left}
    found = [
        Call(name, json.loads(arguments), f"call_{number}")
        for number, (name, arguments) in enumerate(_DIRECTIVE.findall(asked.prompt))
        if name in known and asked.choice in {"auto", "any", name}
    ]
    if found:
        return found if asked.parallel else found[:1]
    tool = _tool(left, asked)
    return [Call(tool.name, Hints(asked.prompt).fill(tool.schema), "call_0")] if tool else []


def _tool(left: list[Tool], asked: Asked) -> Tool | None:
    """The tool that the words ask for; with a forced choice the best there is."""
    if asked.choice not in {"auto", "any"}:
        return next((tool for tool in left if tool.name == asked.choice), None)
    words = set(re.findall(r"\w+", asked.prompt.lower()))

    def fitness(tool: Tool) -> int:
        return 10 * (tool.name in words) + len(words & set(tool.name.lower().split("_")))

    best = max(left, key=fitness)
    return best if fitness(best) or asked.choice == "any" else None


def _miss_nothing(asked: Asked) -> None:
    for word in re.findall(r"\w+", asked.prompt.lower()):
        wanted = MEANT.get(word)
        if wanted and not any(kind.startswith(wanted) for kind, _ in asked.shown):
            raise RefusedError(f"The prompt speaks of a thing ({word}) that has not come along.")


def _text(asked: Asked) -> str:
    if asked.schema is not None:
        return json.dumps(Hints(asked.prompt).fill(asked.schema), ensure_ascii=False)
    if asked.json_only:
        return json.dumps({key: f"the {key}" for key in _QUOTED.findall(asked.prompt)})
    if asked.results:
        return "The tools said: " + "; ".join(text for _, text in asked.results)
    shown = "".join(f" I was shown {kind} of {len(data)} bytes." for kind, data in asked.shown)
    return f"You said: {asked.prompt}{shown}"


def _cut(said: Said, asked: Asked) -> None:
    for stop in asked.stop:
        if stop in said.text:
            said.text, said.finish, said.stopped_by = said.text.split(stop)[0], "stop", stop
    words = said.pieces
    if asked.max_tokens is not None and len(words) > asked.max_tokens:
        said.text, said.finish = "".join(words[: asked.max_tokens]), "length"


class Hints:
    """Fills schemas in with what the words say: numbers and quoted names in their order."""

    def __init__(self, prompt: str) -> None:
        self._numbers = iter([int(one) for one in _NUMBER.findall(prompt)])
        self._names: Iterator[str] = iter(_QUOTED.findall(prompt))
        self._prompt = prompt

    def fill(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A value of a schema whose top is an object."""
        filled = self._value(schema, schema, "")
        assert isinstance(filled, dict)
        return filled

    def _value(self, schema: dict[str, Any], root: dict[str, Any], name: str) -> Any:
        schema = _resolved(schema, root)
        if "const" in schema or "enum" in schema:
            return schema.get("const", (schema.get("enum") or [None])[0])
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = next(one for one in kind if one != "null") if isinstance(kind, list) else kind
        kind = kind.lower()
        if kind == "object":
            fields = schema.get("properties", {})
            return {key: self._value(inner, root, key) for key, inner in fields.items()}
        if kind == "array":
            return [self._value(schema.get("items", {}), root, name)]
        if kind in {"integer", "number"}:
            return next(self._numbers, 1)
        plain = {"boolean": True, "null": None}
        return plain[kind] if kind in plain else next(self._names, f"the {name}")


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The schema itself: references followed, of several the first that is not null."""
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            real = [one for one in schema[choice] if str(one.get("type")).lower() != "null"]
            return _resolved(real[0], root)
    if "$ref" in schema:
        found: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return _resolved(found, root)
    return schema
