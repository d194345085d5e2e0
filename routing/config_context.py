"""What reading a configuration file needs around the file, and where it notes what it finds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from routing.config_schema import Section, check
from routing.document import Document
from routing.kinds import KINDS, Kind
from routing.yaml_nodes import Path, Problem, Tree

AnySection = TypeVar("AnySection", bound=Section)


def _no_problem(_: str) -> str:
    return ""


def _label(_: str) -> str:
    return "set …"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a file is read against, given by the caller so that nothing here reads it.

    Attributes:
        variable: The value of an environment variable (or of the file named by its ``_FILE``).
        forbidden: Why a variable may not be copied into the configuration, or an empty string.
        credential_problem: Why a ``${NAME}`` cannot be used as a credential here, or an empty string.
        literal_key_problem: Why a key cannot be stored, or an empty string.
        credential_label: How a stored key stands in a document.
        current: The configuration in force; without ``prune`` a file may refer to what it has.
        prune: Whether what the file lacks is removed.
        kinds: The provider types.
    """

    variable: Callable[[str], str | None]
    forbidden: Callable[[str], str] = _no_problem
    credential_problem: Callable[[str], str] = _no_problem
    literal_key_problem: str = ""
    credential_label: Callable[[str], str] = _label
    current: Document = field(default_factory=dict)
    prune: bool = False
    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)


@dataclass(frozen=True)
class Names:
    """The names that a file gives, by the key as written; and those that stay beside them."""

    providers: Mapping[str, str]
    pools: Mapping[str, str]
    aliases: Mapping[str, str]
    kept_providers: frozenset[str] = frozenset()
    kept_pools: frozenset[str] = frozenset()
    kept_aliases: frozenset[str] = frozenset()

    @cached_property
    def all_providers(self) -> frozenset[str]:
        """Every provider that will be there."""
        return self.kept_providers.union(self.providers.values())

    @cached_property
    def all_pools(self) -> frozenset[str]:
        """Every canonical model that will be there."""
        return self.kept_pools.union(self.pools.values())


@dataclass(slots=True)
class Notes:
    """Problems and warnings with the lines of one file."""

    tree: Tree
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def fault(self, path: Path, message: str) -> None:
        """Note a problem: nothing of the file will be used."""
        self.problems.append(self.tree.problem(path, message))

    def warn(self, path: Path, message: str) -> None:
        """Note something that the operator should know."""
        self.warnings.append(self.tree.problem(path, message))

    def section(self, kind: type[AnySection], value: Any, path: Path) -> AnySection | None:
        """The value as a section; its faults are noted."""
        section, faults = check(kind, {} if value is None else value)
        self.faults(faults, path)
        return section

    def faults(self, found: Iterable[tuple[Path, str]], path: Path = ()) -> None:
        """Note problems whose paths begin at ``path``."""
        for inner, message in found:
            self.fault((*path, *inner), message)
