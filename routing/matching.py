"""What a requested name means: alias, pool, exact name or bare model id, in this order. Pure."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import inf
from typing import Final, NamedTuple

from routing.provider_class import shown_models
from routing.types import (
    Candidate,
    FailoverPolicy,
    Pool,
    PoolPolicy,
    Provider,
    Refusal,
    RouteRequest,
    RoutingTable,
    Strategy,
)

INVALID: Final = "invalid_request_error"
NOT_FOUND: Final = "not_found_error"
# No pool, alias or ``provider/model`` can be stored with a longer one.
LONGEST_NAME: Final = 401


class Match(NamedTuple):
    """What a name stands for. Exact and bare names get a synthetic pool of one candidate.

    ``matched_by`` is ``pool``, ``alias``, ``exact`` or ``bare``; ``requested`` is what a caller's patterns
    are held against; ``steps`` tell people how it was found. It holds until ``valid_until``.
    """

    requested: str
    matched_by: str
    pool: Pool
    steps: tuple[str, ...]
    valid_until: float = inf


def match(
    table: RoutingTable, request: RouteRequest, *, now: float, expose_exact: bool = True
) -> Match | Refusal:
    """Find what the request's name stands for; of the table's state only a bare id needs the providers'.

    Without ``expose_exact`` clients reach pools and aliases only.
    """
    name = request.model.strip()
    if not name:
        return Refusal(400, INVALID, "missing_model", "The field 'model' is empty.", "model")
    if request.provider is not None:
        return _bypass(table, request.provider.strip(), name, expose_exact=expose_exact)
    return match_name(table, name, now=now, expose_exact=expose_exact)


def match_name(table: RoutingTable, name: str, *, now: float, expose_exact: bool = True) -> Match | Refusal:
    """Find what a trimmed name stands for where the request says no more than that."""
    target = table.aliases.get(name)
    if target is not None:
        return _alias(table, name, target)
    pool = table.pools.get(name)
    if pool is not None:
        return Match(name, "pool", pool, (f"pool {name!r}",))
    found = (_exact(table, name) or _bare(table, name, now)) if expose_exact else None
    return found or unknown_model(name)


def unknown_model(name: str) -> Refusal:
    """There is nothing by this name."""
    return Refusal(404, NOT_FOUND, "model_not_found", f"The model {_quoted(name)} does not exist.", "model")


def _quoted(name: str) -> str:
    """A client's word as errors repeat it: not at any length."""
    return repr(name if len(name) <= LONGEST_NAME else name[:100] + "…")


def _bypass(table: RoutingTable, provider_name: str, model: str, *, expose_exact: bool) -> Match | Refusal:
    provider = table.providers.get(provider_name)
    selector = f"{provider_name}/{model}"
    if not expose_exact:
        return unknown_model(selector)
    if provider is None:
        message = f"There is no provider {_quoted(provider_name)}."
        return Refusal(404, NOT_FOUND, "provider_not_found", message, "provider")
    if not _offers(table, provider, model):
        return unknown_model(selector)
    step = f"field 'provider': {provider_name!r}, pools and aliases are bypassed"
    return Match(selector, "exact", synthetic(table, provider, model), (step,))


def _alias(table: RoutingTable, name: str, target: str) -> Match | Refusal:
    """One level: the target is a pool or an exact name, never another alias.

    An alias is the operator's own declaration, like a candidate: its model may stand in either list.
    """
    step = f"alias {name!r} → {target!r}"
    pool = table.pools.get(target)
    if pool is not None:
        return Match(name, "alias", pool, (step, f"pool {target!r}"))
    provider_name, slash, model = target.partition("/")
    provider = table.providers.get(provider_name)
    if slash and model and provider is not None:
        return Match(name, "alias", synthetic(table, provider, model), (step, f"exact name {target!r}"))
    return unknown_model(name)


def _exact(table: RoutingTable, name: str) -> Match | None:
    provider_name, slash, model = name.partition("/")
    provider = table.providers.get(provider_name)
    if not slash or provider is None or not _offers(table, provider, model):
        return None
    return Match(name, "exact", synthetic(table, provider, model), (f"exact name {name!r}",))


def _bare(table: RoutingTable, name: str, now: float) -> Match | None:
    """The first enabled provider, by name, whose shown inventory has the id."""
    valid_until = inf
    for provider_name in table.bare_models.get(name, ()):
        provider = table.providers.get(provider_name)
        if provider is None:
            continue
        expires_at = provider.switch.expires_at
        if expires_at is not None and expires_at > now:
            valid_until = min(valid_until, expires_at)
        if provider.switch.value_at(now):
            step = f"bare id {name!r} in the inventory of {provider_name!r}"
            return Match(name, "bare", synthetic(table, provider, name), (step,), valid_until)
    return None


def _offers(table: RoutingTable, provider: Provider, model: str) -> bool:
    """Whether exact names may reach the model: it is shown."""
    return model in shown_models(provider, table.inventory_mode)


def synthetic(table: RoutingTable, provider: Provider, model: str) -> Pool:
    """A pool of one candidate: one attempt, no affinity, ``when_all_blocked`` of the defaults."""
    name = f"{provider.name}/{model}"
    return Pool(
        canonical_model=name,
        candidates=(Candidate(name, provider.name, model),),
        policy=_one_attempt(table.defaults),
        created_at=provider.created_at,
        synthetic=True,
    )


@lru_cache(maxsize=16)
def _one_attempt(defaults: PoolPolicy) -> PoolPolicy:
    failover: FailoverPolicy = replace(defaults.failover, enabled=False, max_attempts=1)
    return replace(defaults, strategy=Strategy.PRIORITY_FAILOVER, session_affinity=False, failover=failover)
