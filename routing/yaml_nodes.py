"""YAML text to plain values with a line for every path, and every fault of the text at once. Pure.

Scalars stay texts as they were written: what ``010``, ``off`` or ``30:00`` mean is for the schema to say,
which knows the type that belongs there. Tags, several documents and endless nesting are faults.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import yaml

Path = tuple[str | int, ...]

MAX_BYTES: Final = 8_000_000
MAX_DEPTH: Final = 40
MAX_NODES: Final = 400_000
"""Values after aliases are followed: a few lines of nested aliases can stand for billions."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"
_PLAIN_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "bool", "float", "null", "seq", "map")
)
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is built in


class Scalar(str):
    """A scalar as written; ``plain`` says that it stood without quotes."""

    __slots__ = ("plain",)
    plain: bool

    def __new__(cls, text: str, *, plain: bool) -> Scalar:
        """Make one."""
        self = super().__new__(cls, text)
        self.plain = plain
        return self


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A fault and where it stands. ``line`` counts from 1; 0 when the fault has no line."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f" (line {self.line})" if self.line else ""
        return f"{self.path}: {self.message}{where}" if self.path else f"{self.message}{where}"


@dataclass(slots=True)
class Tree:
    """What a text holds: dicts, lists, ``Scalar`` and ``None``; and the line of each path."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, path: Path) -> int:
        """The line of the path, or of the nearest thing around it that stands in the text."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at the path."""
        return Problem(self.line_of(path), show(path), message)


def show(path: Path) -> str:
    """A path for people: ``routing.model_pools["gpt-4.1"].candidates[0].weight``."""
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        elif step and all(letter.isalnum() or letter in "_-" for letter in step):
            shown += f".{step}" if shown else step
        else:
            quoted = step if step.isprintable() else ascii(step)[1:-1]
            shown += f'["{quoted}"]'
    return shown


def read(source: str | bytes) -> Tree:
    """Read one YAML document.

    ``value`` is ``None`` when the text cannot be read as one; ``problems`` then says why.
    """
    tree = Tree()
    text = ""
    try:
        text = _decode(source)
        _check_events(text)
        node = yaml.compose(text, Loader=_LOADER)
    except _UnreadableError as error:
        tree.problems.append(error.problem)
    except yaml.MarkedYAMLError as error:
        tree.problems.append(_syntax_problem(error, text))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        tree.problems.append(Problem(line, "", f"cannot be read as YAML: {error.reason}"))
    else:
        _Walk(tree).start(node)
    return tree


class _UnreadableError(Exception):
    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.problem = Problem(line, "", message)


def _decode(source: str | bytes) -> str:
    if isinstance(source, bytes):
        try:
            source = source.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = bytes(error.object[: error.start])
            raise _UnreadableError("the file is not UTF-8 text", before.count(b"\n") + 1) from error
    source = source.removeprefix("\ufeff")
    if len(source) > MAX_BYTES:
        raise _UnreadableError(f"the file is larger than {MAX_BYTES // 1_000_000} MB")
    if surrogate := _SURROGATE.search(source):
        line = source.count("\n", 0, surrogate.start()) + 1
        raise _UnreadableError("half of a surrogate pair is no character", line)
    if not source.strip():
        raise _UnreadableError("the file is empty")
    return source


def _check_events(text: str) -> None:
    """Refuse what composing could not survive, and tags: nothing here is recursive."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _UnreadableError("the file holds several YAML documents; one is allowed", line)
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _UnreadableError(f"nested deeper than {MAX_DEPTH} levels", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        tag = getattr(event, "tag", None)
        if tag not in {None, "!"} and tag not in _PLAIN_TAGS:
            raise _UnreadableError(f"the tag {tag} is not supported", line)
    if not documents:
        raise _UnreadableError("the file is empty: it holds nothing but comments")


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = error.problem or error.context or "not YAML"
    if mark is None:
        return Problem(0, "", f"cannot be read as YAML: {message}")
    line = next(islice(text.splitlines(), mark.line, None), "")
    if line[mark.column : mark.column + 1] == "\t":
        message = "a tab cannot indent; use spaces"
    elif "start any token" in message:
        message = f"{line[mark.column : mark.column + 1]!r} cannot begin a value; put the text in quotes"
    return Problem(mark.line + 1, "", f"cannot be read as YAML: {message}")


class _Walk:
    """Turns nodes into values, remembering lines and counting what aliases multiply."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._left = MAX_NODES
        self._depth = 0

    def start(self, node: yaml.Node | None) -> None:
        try:
            self._tree.value = self._value(node, ())
        except _UnreadableError as error:
            self._tree.value = None
            self._tree.problems.append(error.problem)

    def _value(self, node: yaml.Node | None, path: Path) -> Any:
        if node is None:
            return None
        line = node.start_mark.line + 1
        self._left -= 1
        if self._left < 0:
            raise _UnreadableError("aliases multiply this file beyond any use", line)
        self._tree.lines.setdefault(path, line)
        if not isinstance(node, yaml.ScalarNode):
            return self._collection(node, path, line)
        plain = not node.style
        if plain and node.tag == _NULL:
            return None
        return Scalar(node.value, plain=plain)

    def _collection(self, node: yaml.Node, path: Path, line: int) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _UnreadableError(f"nested deeper than {MAX_DEPTH} levels", line)
        value = (
            self._mapping(node, path)
            if isinstance(node, yaml.MappingNode)
            else [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        )
        self._depth -= 1
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        seen: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE and not key.style:
                merged.append(value)
            elif not isinstance(key, yaml.ScalarNode):
                self._fault(line, path, "a key must be a plain name")
            elif key.value in seen:
                self._fault(line, (*path, key.value), f"stands twice, first on line {seen[key.value]}")
            else:
                seen[key.value] = line
                self._tree.lines.setdefault((*path, key.value), line)
                result[key.value] = self._value(value, (*path, key.value))
        for mapping in self._sources(merged, path):
            for name, value in self._value(mapping, path).items():
                result.setdefault(name, value)
        return result

    def _sources(self, merged: list[yaml.Node], path: Path) -> Iterator[yaml.MappingNode]:
        """The mappings that ``<<`` names: explicit keys win over them, and earlier ones over later ones."""
        for node in merged:
            for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
                if isinstance(item, yaml.MappingNode):
                    yield item
                else:
                    self._fault(item.start_mark.line + 1, (*path, "<<"), "must name a mapping")

    def _fault(self, line: int, path: Path, message: str) -> None:
        self._tree.problems.append(Problem(line, show(path), message))
