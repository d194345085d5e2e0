"""Small routing tables for tests of the pure core: no database, no clock."""

from types import MappingProxyType

from routing.provider_class import shown_models
from routing.types import (
    Candidate,
    Discovery,
    DiscoveryState,
    Endpoint,
    InventoryMode,
    Pool,
    PoolPolicy,
    Provider,
    RoutingTable,
    Switch,
)

NOW = 1_000.0
OFF = Switch(enabled=False)


def provider(name, *models, configured=(), state=DiscoveryState.OK, failures=0, **fields):
    """A provider that discovery found with ``models``."""
    discovery = Discovery(
        state=state,
        models=frozenset(models),
        failures=failures,
        first_failed_at=900.0 if failures else None,
        error="503" if failures else "",
    )
    fields.setdefault("endpoints", frozenset(Endpoint))
    return Provider(
        name,
        "openai_compatible",
        "http://x/v1",
        configured_models=frozenset(configured),
        discovery=discovery,
        **fields,
    )


def pool(name, *candidates, policy=None, **fields):
    """A pool of ``"p/m"`` or ``("p/m", priority, weight[, switch])``, in its fixed order."""
    made = []
    for position, row in enumerate(candidates, start=1):
        selector, priority, weight, *rest = (row, position, 1) if isinstance(row, str) else row
        provider_name, _, model = selector.partition("/")
        made.append(Candidate(name, provider_name, model, priority, weight, *rest))
    ordered = tuple(sorted(made, key=lambda c: (c.priority, c.selector)))
    return Pool(name, ordered, policy or PoolPolicy(), **fields)


def table(*objects, aliases=None, mode=InventoryMode.FALLBACK, defaults=None, revision=7):
    """A table of providers and pools."""
    providers = {o.name: o for o in objects if isinstance(o, Provider)}
    pools = {o.canonical_model: o for o in objects if isinstance(o, Pool)}
    bare = {}
    for name in sorted(providers):
        for model in shown_models(providers[name], mode):
            bare[model] = (*bare.get(model, ()), name)
    return RoutingTable(
        revision=revision,
        providers=MappingProxyType(providers),
        pools=MappingProxyType(pools),
        aliases=MappingProxyType(aliases or {}),
        defaults=defaults or PoolPolicy(),
        inventory_mode=mode,
        bare_models=MappingProxyType(bare),
    )
