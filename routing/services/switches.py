"""The operator's switches of providers, canonical models and pool candidates, timed ones included."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Unpack

from routing import queries
from routing.document import Change, object_key, split_key
from routing.impact import warnings
from routing.models import ModelPool, PoolCandidate, Provider
from routing.services.errors import Invalid, NotFound
from routing.services.writing import SYSTEM, How, Writing, write

Row = Provider | ModelPool | PoolCandidate


class SwitchKind(StrEnum):
    """What can be switched."""

    PROVIDER = "provider"
    CANONICAL_MODEL = "canonical_model"
    POOL_CANDIDATE = "pool_candidate"


@dataclass(frozen=True, slots=True)
class SwitchTarget:
    """What an operator wants to switch; names that its kind does not have are left empty."""

    kind: str
    provider_name: str = ""
    canonical_model: str = ""
    model: str = ""

    @classmethod
    def from_key(cls, key: str) -> SwitchTarget:
        """Take a key of the routing-state API apart.

        Raises:
            NotFound: nothing can have this key.
        """
        kind, *names = split_key(key)
        if any("\0" in name for name in names):  # no row has one, and PostgreSQL takes none to look for
            names = []
        match kind, names:
            case SwitchKind.PROVIDER, [provider]:
                return cls(kind, provider_name=provider)
            case SwitchKind.CANONICAL_MODEL, [canonical]:
                return cls(kind, canonical_model=canonical)
            case SwitchKind.POOL_CANDIDATE, [canonical, provider, model]:
                return cls(kind, provider, canonical, model)
        raise NotFound(f"There is no switch {key}.", param="key", code="switch_not_found")


@dataclass(frozen=True, slots=True)
class SwitchResult:
    """What a switch did. ``impact`` is as in a dry run; ``revision`` is the number in force afterwards."""

    row: Row
    key: str
    revision: int
    changed: bool
    impact: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def switch_key(row: Row) -> str:
    """The key of the routing-state API: always derived, and different across kinds and pools."""
    if isinstance(row, Provider):
        return object_key(SwitchKind.PROVIDER, row.name)
    if isinstance(row, ModelPool):
        return object_key(SwitchKind.CANONICAL_MODEL, row.canonical_model)
    return object_key(SwitchKind.POOL_CANDIDATE, row.pool.canonical_model, row.provider.name, row.model)


def set_switch(
    *,
    target: SwitchTarget,
    enabled: bool,
    expires_at: datetime | None = None,
    expires_in_s: float | None = None,
    **how: Unpack[How],
) -> SwitchResult:
    """Switch something on or off, for good or until an instant.

    Raises:
        Invalid: a name that does not exist, an ambiguous pair, or an expiry that is past or changes nothing.
        WouldEmptyPool, Conflict: see ``write``.
    """
    with write(**how) as writing:
        row = find(target)
        if expires_in_s is not None:
            if expires_at is not None or not 0 < expires_in_s <= 3_660 * 86_400:
                raise Invalid("Give one of expires_at and expires_in_s, in the future.", param="expires_in_s")
            expires_at = writing.now + timedelta(seconds=expires_in_s)
        # Switching the pool itself off is no accident: it says what it does.
        writing.unguarded = isinstance(row, ModelPool)
        switch_row(row, enabled, reason=how.get("reason", ""), expires_at=expires_at, writing=writing)
    return _result(row, writing)


def clear_switch(*, target: SwitchTarget, **how: Unpack[How]) -> SwitchResult:
    """Back to the default: switched on, set by nobody.

    Raises:
        NotFound: nobody set this switch.
    """
    with write(**how) as writing:
        try:
            row = find(target)
        except Invalid as error:
            raise NotFound(error.message, param=error.param, code="switch_not_found") from error
        if row.switch_created_at is None:
            raise NotFound(f"Nobody has set {switch_key(row)}.", param="key", code="switch_not_found")
        writing.notes.append(Change(document_key(row), "switch_set", True, False))
        reset_switch(row)
    return _result(row, writing)


def expire_due_switches(now: datetime | None = None) -> int:
    """Write what has already come into force: switches whose time is over go back. How many there were."""
    now = now or datetime.now(UTC)
    if not any(_due(table, now).exists() for table in (Provider, ModelPool, PoolCandidate)):
        return 0
    count = 0
    with write(
        actor=SYSTEM, source="system", reason="The time of the switch was over.", confirm=True
    ) as writing:
        for table in (Provider, ModelPool, PoolCandidate):
            for row in _due(table, now):
                count += 1
                if row.switch_base:
                    writing.notes.append(Change(document_key(row), "switch_set", True, False))
                    reset_switch(row)
                else:
                    row.switch_reason = f"As before the timed switch. {row.switch_reason}".strip()[:500]
                    _store(row, enabled=False, expires_at=None, base=True, writing=writing)
    return count


def find(target: SwitchTarget) -> Row:
    """The row that a target names.

    Raises:
        Invalid: an unknown kind or name, or a pair that is in several pools; ``param`` says which.
    """
    kind = target.kind.strip().lower()
    if kind == SwitchKind.PROVIDER:
        return _one(Provider.objects.filter(name=target.provider_name), "provider_name", target.provider_name)
    if kind == SwitchKind.CANONICAL_MODEL:
        name = target.canonical_model
        return _one(ModelPool.objects.filter(canonical_model=name), "canonical_model", name)
    if kind == SwitchKind.POOL_CANDIDATE:
        return _find_candidate(target)
    raise Invalid(
        f"kind is one of {', '.join(kind.value for kind in SwitchKind)}, not {target.kind!r}.", param="kind"
    )


def switch_row(
    row: Row, enabled: bool, *, reason: str, writing: Writing, expires_at: datetime | None = None
) -> None:
    """Set the switch of a row, inside a write; ``switch_updated_at`` moves only when something changed (T20).

    Raises:
        Invalid: an expiry that is past, or that would change nothing.
    """
    base = True
    if expires_at is not None:
        base = _base(row)
        if expires_at <= writing.now:
            raise Invalid("The expiry is not in the future.", param="expires_at")
        if base == enabled:
            word = "on" if enabled else "off"
            raise Invalid(
                f"It is switched {word} anyway: an expiry would change nothing.", param="expires_at"
            )
    if len(reason) > 500:
        raise Invalid("A reason has at most 500 characters.", param="reason")
    same = (row.enabled, row.switch_reason, row.switch_expires_at, row.switch_base) == (
        enabled,
        reason,
        expires_at,
        base,
    )
    if same and row.switch_created_at is not None:
        return
    if row.switch_created_at is None:
        writing.notes.append(Change(document_key(row), "switch_set", False, True))
    row.switch_reason = reason
    _store(row, enabled=enabled, expires_at=expires_at, base=base, writing=writing)


def reset_switch(row: Row) -> None:
    """As if nobody had ever set the switch, inside a write."""
    row.enabled, row.switch_base, row.switch_reason = True, True, ""
    row.switch_expires_at = row.switch_created_at = row.switch_updated_at = None
    row.switch_updated_by = ""
    row.save(update_fields=_COLUMNS)


def document_key(row: Row) -> str:
    """The key of the row in a document."""
    if isinstance(row, Provider):
        return object_key("provider", row.name)
    if isinstance(row, ModelPool):
        return object_key("pool", row.canonical_model)
    return object_key("candidate", row.pool.canonical_model, row.provider.name, row.model)


_COLUMNS = [
    "enabled",
    "switch_reason",
    "switch_base",
    "switch_expires_at",
    "switch_created_at",
    "switch_updated_at",
    "switch_updated_by",
]


def _store(row: Row, *, enabled: bool, expires_at: datetime | None, base: bool, writing: Writing) -> None:
    row.enabled, row.switch_expires_at, row.switch_base = enabled, expires_at, base
    row.switch_created_at = row.switch_created_at or writing.now
    row.switch_updated_at = writing.now
    row.switch_updated_by = writing.actor.name[:150]
    row.save(update_fields=_COLUMNS)


def _base(row: Row) -> bool:
    """The value that a timed switch returns to: a running one keeps the one it has."""
    return row.enabled if row.switch_expires_at is None else row.switch_base


def _due(table: type[Row], now: datetime) -> Any:
    if issubclass(table, PoolCandidate):
        return table.objects.select_related("pool", "provider").filter(switch_expires_at__lte=now)
    return table._default_manager.filter(switch_expires_at__lte=now)


def _one(rows: Any, param: str, name: str) -> Row:
    row: Row | None = rows.first() if name else None
    if row is None:
        raise Invalid(f"There is no {param} {name!r}." if name else f"{param} is required.", param=param)
    return row


def _find_candidate(target: SwitchTarget) -> PoolCandidate:
    rows = PoolCandidate.objects.select_related("pool", "provider")
    _one(Provider.objects.filter(name=target.provider_name), "provider_name", target.provider_name)
    if not target.model:
        raise Invalid("model is required.", param="model")
    name = target.canonical_model
    if not name:
        pools = queries.pools_with_pair(target.provider_name, target.model)
        if len(pools) > 1:
            raise Invalid(
                f"This pair is in several pools: {', '.join(pools)}. Say which in canonical_model.",
                param="canonical_model",
                code="ambiguous_candidate",
            )
        name = pools[0] if pools else ""
        if not name:
            raise Invalid(f"No pool has {target.provider_name}/{target.model}.", param="model")
    _one(ModelPool.objects.filter(canonical_model=name), "canonical_model", name)
    row = rows.filter(
        pool__canonical_model=name, provider__name=target.provider_name, model=target.model
    ).first()
    if row is None:
        raise Invalid(f"{name} has no candidate {target.provider_name}/{target.model}.", param="model")
    return row


def _result(row: Row, writing: Writing) -> SwitchResult:
    impact = writing.impact
    is_news = bool(writing.changes)
    return SwitchResult(row, switch_key(row), writing.revision, is_news, impact, warnings(impact))
