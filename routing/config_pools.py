"""The pools, candidates and aliases of a configuration file, and what must hold between them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from routing.config_context import Names, Notes
from routing.config_schema import AliasSection, CandidateSection, PolicySection, PoolSection, check
from routing.document import Document, Fields, object_key
from routing.types import Strategy
from routing.yaml_nodes import Path

RANKED_BY: Final[Mapping[str, str]] = {
    Strategy.PRIORITY_FAILOVER: "priority",
    Strategy.WEIGHTED_ROUND_ROBIN: "weight",
}
"""The value of a candidate that each strategy cannot do without."""


def policy_columns(section: PolicySection) -> Fields:
    """The policy columns; what the section leaves out is null or empty: as in the defaults."""
    return {
        "strategy": section.strategy.value if section.strategy else "",
        "session_affinity": section.session_affinity,
        "session_affinity_ttl_s": section.session_affinity_ttl,
        "failover_enabled": section.failover.enabled,
        "failover_max_attempts": section.failover.max_attempts,
        "failover_on_statuses": section.failover.retry_on_statuses,
        "failover_on_model_errors": section.failover.retry_on_model_errors,
        "when_all_blocked": section.when_all_blocked.value if section.when_all_blocked else "",
    }


@dataclass(frozen=True, slots=True)
class Pools:
    """Reads one pool after the other. ``default_strategy`` counts where a pool names none."""

    notes: Notes
    names: Names
    default_strategy: str

    def read(self, name: str, value: Any, path: Path) -> Document:
        """The pool and its candidates as objects."""
        if name in self.names.kept_aliases and name not in self.names.aliases.values():
            self.notes.fault(path, "an alias of this name exists; remove one of the two")
        section = self.notes.section(PoolSection, value, path)
        if section is None:
            return {}
        objects = {object_key("pool", name): {"description": section.description, **policy_columns(section)}}
        if not section.candidates:
            self.notes.fault((*path, "candidates"), "a pool needs at least one candidate")
        strategy = section.strategy.value if section.strategy else self.default_strategy
        for index, item in enumerate(section.candidates):
            where = (*path, "candidates", index)
            candidate = self.notes.section(CandidateSection, item, where)
            if candidate is not None:
                self._candidate(name, candidate, strategy, where, objects)
        return objects

    def _candidate(
        self, pool: str, candidate: CandidateSection, strategy: str, path: Path, objects: Document
    ) -> None:
        if candidate.provider not in self.names.all_providers:
            close = get_close_matches(candidate.provider, self.names.all_providers, n=1)
            hint = f"; did you mean {close[0]}?" if close else "; add it under providers"
            self.notes.fault((*path, "provider"), f'unknown provider "{candidate.provider}"{hint}')
        key = object_key("candidate", pool, candidate.provider, candidate.model)
        if key in objects:
            pair = f"{candidate.provider}/{candidate.model}"
            self.notes.fault(path, f'the candidate "{pair}" stands twice in this pool')
        objects[key] = {
            "priority": self._rank("priority", candidate.priority, strategy, path),
            "weight": self._rank("weight", candidate.weight, strategy, path),
        }

    def _rank(self, name: str, value: int, strategy: str, path: Path) -> int:
        if value == 0 and RANKED_BY.get(strategy) == name:
            self.notes.fault((*path, name), f"must be above 0 for {strategy}")
        elif value == 0:
            self.notes.warn((*path, name), f"0 is kept as 1; {strategy} does not need it")
        return max(value, 1)


@dataclass(frozen=True, slots=True)
class Aliases:
    """Reads one alias after the other: each leads to a canonical model or an exact name, in one step."""

    notes: Notes
    names: Names
    values: Mapping[str, Any]

    def read(self, name: str, raw: str) -> Document:
        """The alias as an object."""
        path = ("aliases", raw)
        section, faults = check(AliasSection, {"target": self.values[raw]})
        if section is None:
            self.notes.faults((path, message) for _, message in faults)
            return {}
        if name in self.names.all_pools:
            self.notes.fault(path, "a pool has this name; an alias and a pool cannot share one")
        elif problem := self._problem(name, section.target):
            self.notes.fault(path, problem)
        return {object_key("alias", name): {"target": section.target}}

    def _problem(self, name: str, target: str) -> str:
        if target in self.names.all_pools:
            return ""
        by_name = {alias: self.values[raw] for raw, alias in self.names.aliases.items()}
        if target in by_name or target in self.names.kept_aliases:
            if _loops(name, by_name):
                return f'"{target}" leads back to this alias'
            return f'"{target}" is an alias itself; an alias must lead to a canonical model or provider/model'
        provider, slash, model = target.partition("/")
        if slash and model and provider in self.names.all_providers:
            return ""
        close = get_close_matches(target, self.names.all_pools, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f'unknown target "{target}": neither a pool nor provider/model of a known provider{hint}'


def _loops(name: str, targets: Mapping[str, Any]) -> bool:
    """Whether following the aliases from ``name`` leads back to it."""
    seen = {name}
    while isinstance(following := targets.get(name), str):
        name = following.strip()
        if name in seen:
            return True
        seen.add(name)
    return False
