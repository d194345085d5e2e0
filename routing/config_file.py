"""The configuration file: YAML text to the objects that it names, with every problem at once. Pure.

A file says what should be, not how to get there: ``routing.config_plan`` compares it with what is. The
switches of operators, health, pins, keys and records are not in it and are never touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from routing import config_gomodel, refusals
from routing.config_context import Names, Notes, Surroundings
from routing.config_pools import Aliases, Pools, policy_columns
from routing.config_providers import Providers
from routing.config_references import Expansion
from routing.config_schema import FileSection, ModelsSection, PolicySection, RoutingSection
from routing.document import Document, Fields, object_key, split_key
from routing.types import Strategy
from routing.yaml_nodes import Path, Problem, read


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says.

    ``objects`` hold only the fields that a file decides, no switch, and no credential where ``api_key`` is
    absent. ``secrets`` are the literal keys by provider. When there are ``problems``, nothing may be used.
    """

    objects: Document = field(default_factory=dict)
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def parse(source: str | bytes, around: Surroundings) -> ConfigFile:
    """Read a file; whatever is wrong with it ends up in ``problems``, all of it."""
    tree = read(source)
    notes = Notes(tree, problems=list(tree.problems))
    providers = Providers(notes, around)
    objects: Document = {}
    if isinstance(tree.value, dict):
        objects = _objects(tree.value, providers, notes, around)
    elif not tree.problems:
        notes.fault((), "the file must be a mapping of sections: providers, models, aliases, routing")
    return ConfigFile(
        objects=objects,
        secrets=providers.secrets,
        problems=tuple(sorted(set(notes.problems))),
        warnings=tuple(sorted(set(notes.warnings))),
    )


def _objects(value: dict[str, Any], providers: Providers, notes: Notes, around: Surroundings) -> Document:
    value, remarks = config_gomodel.strip(_given(value))
    for path, message in remarks:
        notes.warn(path, message)
    expansion = Expansion(around.variable, around.forbidden)
    value = expansion.tree(value)
    notes.faults(expansion.faults)
    file = notes.section(FileSection, value, ()) or FileSection()
    routing = notes.section(RoutingSection, file.routing, ("routing",)) or RoutingSection()
    names = _names(file, routing, notes, around)
    objects = _defaults(file, routing, notes)
    for raw, name in names.providers.items():
        fields = providers.read(name, file.providers[raw], ("providers", raw))
        if fields is not None:
            objects[object_key("provider", name)] = fields
    pools = Pools(notes, names, _default_strategy(objects, around))
    for raw, name in names.pools.items():
        objects.update(pools.read(name, routing.model_pools[raw], ("routing", "model_pools", raw)))
    aliases = Aliases(notes, names, file.aliases)
    for raw, name in names.aliases.items():
        objects.update(aliases.read(name, raw))
    return objects


_NAMED: Final = frozenset({("providers",), ("aliases",), ("routing", "model_pools")})


def _given(value: Any, path: Path = ()) -> Any:
    """Without the keys that have no value: leaving a value empty is leaving the key out.

    Names stay: ``openai:`` with nothing under it is a provider without a type, not no provider.
    """
    if isinstance(value, list):
        return [_given(item, (*path, index)) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    return {
        key: _given(part, (*path, key)) for key, part in value.items() if part is not None or path in _NAMED
    }


def _names(file: FileSection, routing: RoutingSection, notes: Notes, around: Surroundings) -> Names:
    kept = [] if around.prune else [split_key(key) for key in around.current]
    return Names(
        providers=dict(_trimmed(file.providers, ("providers",), 100, notes)),
        pools=dict(_trimmed(routing.model_pools, ("routing", "model_pools"), 300, notes)),
        aliases=dict(_trimmed(file.aliases, ("aliases",), 300, notes)),
        kept_providers=frozenset(key[1] for key in kept if key[0] == "provider"),
        kept_pools=frozenset(key[1] for key in kept if key[0] == "pool"),
        kept_aliases=frozenset(key[1] for key in kept if key[0] == "alias"),
    )


def _trimmed(section: Mapping[str, Any], path: Path, most: int, notes: Notes) -> Iterator[tuple[str, str]]:
    """Every key that can be a name, with the name."""
    seen: set[str] = set()
    for raw in section:
        name = raw.strip()
        problem = refusals.text(name, most)
        if not problem and path == ("providers",):
            problem = refusals.provider_name(name)
        if not problem and name in seen:
            problem = f'the name "{name}" stands twice once the white space around it is removed'
        if problem:
            notes.fault((*path, raw), problem)
            continue
        if "${" in raw:
            notes.warn(
                (*path, raw), "references are expanded in values only; this name is taken as it stands"
            )
        seen.add(name)
        yield raw, name


def _defaults(file: FileSection, routing: RoutingSection, notes: Notes) -> Document:
    """Omitted keys of a given block are the documented defaults; an omitted block says nothing."""
    fields: Fields = {}
    if routing.defaults is not None:
        policy = notes.section(PolicySection, routing.defaults, ("routing", "defaults"))
        fields.update(policy_columns(policy or PolicySection()))
    if file.models is not None:
        models = notes.section(ModelsSection, file.models, ("models",)) or ModelsSection()
        fields["configured_provider_models_mode"] = models.configured_provider_models_mode.value
    return {"defaults": fields} if fields else {}


def _default_strategy(objects: Document, around: Surroundings) -> str:
    given = objects.get("defaults", {})
    if "strategy" not in given and not around.prune:
        given = around.current.get("defaults", {})
    return str(given.get("strategy") or Strategy.PRIORITY_FAILOVER.value)
