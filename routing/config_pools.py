"""The pools, candidates and aliases of a configuration file, and what must hold between them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from routing import refusals
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
            self.notes.fault(path, refusals.ALIAS_HAS_NAME)
        section = self.notes.section(PoolSection, value, path)
        if section is None:
            return {}
        objects = {object_key("pool", name): {"description": section.description, **policy_columns(section)}}
        if not section.candidates:
            self.notes.fault((*path, "candidates"), refusals.EMPTY_POOL)
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
            problem = refusals.unknown_provider(candidate.provider, self.names.all_providers)
            self.notes.fault((*path, "provider"), problem)
        key = object_key("candidate", pool, candidate.provider, candidate.model)
        if key in objects:
            self.notes.fault(path, refusals.twice(candidate.provider, candidate.model))
        objects[key] = {
            "priority": self._rank("priority", candidate.priority, strategy, path),
            "weight": self._rank("weight", candidate.weight, strategy, path),
        }

    def _rank(self, name: str, value: int, strategy: str, path: Path) -> int:
        if value == 0 and RANKED_BY.get(strategy) == name:
            self.notes.fault((*path, name), refusals.rank(value))
        elif value == 0:
            self.notes.warn((*path, name), f"0 is kept as 1; {strategy} does not need it")
        return max(value, 1)


@dataclass(frozen=True)
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
            self.notes.fault(path, refusals.POOL_HAS_NAME)
        elif problem := refusals.alias_target(name, section.target, self._neighbours()):
            self.notes.fault(path, problem)
        return {object_key("alias", name): {"target": section.target}}

    def _neighbours(self) -> refusals.Neighbours:
        return refusals.Neighbours(
            is_pool=self.names.all_pools.__contains__,
            is_provider=self.names.all_providers.__contains__,
            leads=self._targets.get,
            pools=lambda: self.names.all_pools,
        )

    @cached_property
    def _targets(self) -> Mapping[str, str]:
        """Where the aliases lead; of those that only the database has, nothing but their names counts."""
        given = {name: self.values[raw] for raw, name in self.names.aliases.items()}
        texts = {name: target.strip() for name, target in given.items() if isinstance(target, str)}
        return {**dict.fromkeys(self.names.kept_aliases, ""), **dict.fromkeys(given, ""), **texts}
