"""Model pools with their candidates, aliases, and the routing defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Unpack

from routing import queries, refusals
from routing.models import Alias, ModelPool, PoolCandidate, Provider, RoutingDefaults
from routing.services.errors import Conflict, Invalid, NotFound
from routing.services.fields import Values, check_policy, check_rank, invalid, lay, refuse, save
from routing.services.switches import switch_row
from routing.services.writing import How, Writing, write

_SWITCH: Final = frozenset({"enabled", "switch_reason"})
_IDENTITY: Final = frozenset({"provider_name", "model"})


def save_pool(
    *,
    canonical_model: str,
    values: Values,
    candidates: Sequence[Mapping[str, Any]] | None = None,
    **how: Unpack[How],
) -> ModelPool:
    """Create the pool or change what ``values`` has; with ``candidates``, those are all it has afterwards.

    A candidate is ``provider_name`` and ``model``, and what to set of ``priority``, ``weight``, ``enabled``
    and ``switch_reason``; what it does not name stays as it is.

    Raises:
        Invalid: among others a pool without candidates, or a pair that stands twice.
    """
    with write(**how) as writing:
        row = put_pool(canonical_model, {key: value for key, value in values.items() if key not in _SWITCH})
        if "enabled" in values:
            writing.unguarded = row.enabled and not values["enabled"]
            switch_row(
                row,
                values["enabled"],
                reason=values.get("switch_reason", how.get("reason", "")),
                writing=writing,
            )
        if candidates is not None:
            _replace_candidates(writing, row, candidates, how.get("reason", ""))
        if not row.candidates.exists():
            raise Invalid(refusals.sentence(refusals.EMPTY_POOL), param="candidates", code="empty_pool")
    return row


def delete_pool(*, canonical_model: str, **how: Unpack[How]) -> None:
    """Delete a pool and its candidates.

    Raises:
        Conflict: aliases point at it; ``details`` lists them.
    """
    with write(**how):
        drop_pool(canonical_model)


def save_alias(*, name: str, target: str, **how: Unpack[How]) -> Alias:
    """Create an alias or point it elsewhere.

    Raises:
        Invalid: a pool has this name, or the target does not exist or is an alias itself.
    """
    with write(**how):
        row = put_alias(name, {"target": target})
        check_alias(row)
    return row


def delete_alias(*, name: str, **how: Unpack[How]) -> None:
    """Delete an alias."""
    with write(**how):
        drop_alias(name)


def save_defaults(*, values: Values, **how: Unpack[How]) -> RoutingDefaults:
    """Change the routing defaults; null or empty is the built-in default."""
    with write(**how):
        return put_defaults(values)


def get_pool(canonical_model: str) -> ModelPool:
    """The pool of this name.

    Raises:
        NotFound: there is none.
    """
    row = ModelPool.objects.filter(canonical_model=canonical_model).first()
    if row is None:
        raise NotFound(f"There is no model pool {canonical_model}.", code="pool_not_found")
    return row


def put_pool(canonical_model: str, values: Values) -> ModelPool:
    """Lay values over the pool, inside a write."""
    name = canonical_model.strip()
    row = ModelPool.objects.filter(canonical_model=name).first() or ModelPool(canonical_model=name)
    if not row.pk and Alias.objects.filter(name=name).exists():
        refuse({"canonical_model": refusals.ALIAS_HAS_NAME})
    lay(row, values, ("description", *queries.POLICY_FIELDS))
    check_policy({column: getattr(row, column) for column in queries.POLICY_FIELDS})
    save(row, constraints=False)
    return row


def put_candidate(row: PoolCandidate, values: Values) -> PoolCandidate:
    """Lay values over a candidate that ``candidate_row`` has found, inside a write."""
    lay(row, values, queries.CANDIDATE_FIELDS)
    check_rank({"priority": row.priority, "weight": row.weight})
    save(row, exclude=("pool", "provider"), constraints=False)
    return row


def candidate_row(pool: ModelPool, provider: Provider, model: str) -> PoolCandidate:
    """The candidate of this pair in this pool, or a new one that is not saved yet."""
    return pool.candidates.filter(provider=provider, model=model).first() or PoolCandidate(
        pool=pool, provider=provider, model=model
    )


def put_alias(name: str, values: Values) -> Alias:
    """Lay values over an alias, inside a write; ``check_alias`` comes once everything is in place."""
    row = Alias.objects.filter(name=name.strip()).first() or Alias(name=name.strip())
    lay(row, values, ("target",))
    row.target = row.target.strip()
    save(row)
    return row


def check_alias(row: Alias) -> None:
    """An alias has a name of its own and leads to something in one step.

    Raises:
        Invalid: it does not.
    """
    if _is_pool(row.name):
        refuse({"name": refusals.POOL_HAS_NAME})
    refuse({"target": refusals.alias_target(row.name, row.target, _STORED)})


def put_defaults(values: Values) -> RoutingDefaults:
    """Lay values over the defaults, inside a write."""
    row = RoutingDefaults.objects.filter(pk=1).first() or RoutingDefaults(pk=1)
    lay(row, values, ("configured_provider_models_mode", *queries.POLICY_FIELDS))
    check_policy({column: getattr(row, column) for column in queries.POLICY_FIELDS})
    save(row, exclude=["id"])
    return row


def drop_pool(canonical_model: str) -> None:
    """Delete a pool, inside a write."""
    row = get_pool(canonical_model)
    users = queries.users_of_pool(canonical_model)
    if users:
        raise Conflict(f"{canonical_model} is in use: {', '.join(users)}.", code="in_use", details=users)
    row.delete()


def drop_alias(name: str) -> None:
    """Delete an alias, inside a write."""
    deleted, _ = Alias.objects.filter(name=name).delete()
    if not deleted:
        raise NotFound(f"There is no alias {name}.", code="alias_not_found")


def _replace_candidates(
    writing: Writing, pool: ModelPool, wanted: Sequence[Mapping[str, Any]], reason: str
) -> None:
    kept: set[int] = set()
    for index, values in enumerate(wanted):
        where = f"candidates.{index}"
        row = _wanted_row(pool, values, where)
        if row.pk in kept:
            refuse({where: refusals.twice(row.provider.name, row.model)})
        try:
            put_candidate(row, {k: v for k, v in values.items() if k not in _IDENTITY | _SWITCH})
        except Invalid as error:
            found = error.errors.items()
            raise invalid({_within(where, name): list(texts) for name, texts in found}) from error
        if "enabled" in values and (values["enabled"] != row.enabled or "switch_reason" in values):
            switch_row(row, values["enabled"], reason=values.get("switch_reason", reason), writing=writing)
        kept.add(row.pk)
    pool.candidates.exclude(pk__in=kept).delete()


def _wanted_row(pool: ModelPool, values: Mapping[str, Any], where: str) -> PoolCandidate:
    name = values.get("provider_name", "")
    provider = Provider.objects.filter(name=name).first()
    if provider is None:
        problem = refusals.unknown_provider(name, Provider.objects.values_list("name", flat=True))
        param = f"{where}.provider_name"
        raise Invalid(refusals.sentence(problem), param=param, code="provider_not_found")
    model = str(values.get("model", "")).strip()
    refuse({f"{where}.model": refusals.text(model, refusals.MAX_NAME)})
    return candidate_row(pool, provider, model)


def _within(where: str, name: str) -> str:
    return where if name == "__all__" else f"{where}.{name}"


def _is_pool(name: str) -> bool:
    return ModelPool.objects.filter(canonical_model=name).exists()


_STORED: Final = refusals.Neighbours(
    is_pool=_is_pool,
    is_provider=lambda name: Provider.objects.filter(name=name).exists(),
    leads=lambda name: Alias.objects.filter(name=name).values_list("target", flat=True).first(),
    pools=lambda: ModelPool.objects.values_list("canonical_model", flat=True),
)
