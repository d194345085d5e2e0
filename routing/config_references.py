"""``${VAR}`` in the values of the configuration file, expanded after parsing: a value stays a value. Pure.

``$${`` is a literal ``${``. Keys and ``api_key`` are left alone: a credential stays a reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from routing.yaml_nodes import Path, Scalar

_TOKEN: Final = re.compile(r"\$\$\{|\$\{(?P<body>[^{}]*)\}|\$\{")
_BODY: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)
CREDENTIAL: Final = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


@dataclass(slots=True)
class Expansion:
    """Expands references in a tree.

    Attributes:
        variable: The value of an environment variable, ``None`` when it is not set.
        forbidden: Why a variable may not be copied into the configuration, or an empty string.
        faults: What went wrong, with its path.
    """

    variable: Callable[[str], str | None]
    forbidden: Callable[[str], str]
    faults: list[tuple[Path, str]] = field(default_factory=list)

    def tree(self, value: Any, path: Path = ()) -> Any:
        """A copy of the value with its references expanded."""
        if isinstance(value, dict):
            return {key: self.tree(part, (*path, key)) for key, part in value.items()}
        if isinstance(value, list):
            return [self.tree(part, (*path, index)) for index, part in enumerate(value)]
        if not isinstance(value, Scalar) or "${" not in value or _is_credential(path):
            return value
        found = len(self.faults)
        text = _TOKEN.sub(lambda match: self._token(match, path), value)
        if len(self.faults) > found:
            return value
        # A quoted reference is still not a quoted number: max_attempts: "${ATTEMPTS:-3}" is 3.
        return Scalar(text, plain=True)

    def _token(self, match: re.Match[str], path: Path) -> str:
        if match[0] == "$${":
            return "${"
        body = _BODY.fullmatch(match["body"] or "")
        if body is None:
            self.faults.append((path, "is not a reference of the form ${NAME} or ${NAME:-default}"))
            return ""
        if reason := self.forbidden(body["name"]):
            self.faults.append((path, reason))
            return ""
        value = self.variable(body["name"]) or body["default"]
        if value is None:
            self.faults.append(
                (path, f"${{{body['name']}}} is not set and has no default (${{NAME:-default}})")
            )
            return ""
        return value


def escape(text: str) -> str:
    """The text as a value of the file that stands for itself."""
    return text.replace("${", "$${")


def _is_credential(path: Path) -> bool:
    return len(path) == 3 and path[0] == "providers" and path[2] == "api_key"
