"""Writing a whole document at once (import), and undoing a revision by a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any, Final, NamedTuple, Unpack

from routing import credentials
from routing.document import (
    SWITCH_FIELDS,
    Change,
    Document,
    Fields,
    from_json,
    is_switch_field,
    object_key,
    split_key,
)
from routing.models import Alias, ModelPool, Provider, RoutingRevision
from routing.services import access
from routing.services.errors import Conflict, Invalid, NotFound, ServiceError
from routing.services.pools import (
    candidate_row,
    check_alias,
    drop_alias,
    drop_pool,
    get_pool,
    put_alias,
    put_candidate,
    put_defaults,
    put_pool,
)
from routing.services.providers import drop_provider, get_provider, put_provider
from routing.services.switches import Row, SwitchKind, SwitchTarget, find, reset_switch
from routing.services.writing import How, Writing, write

_ORDER: Final = ("provider", "pool", "candidate", "alias", "defaults", "client_key", "admin_token")
_IMPORTED: Final = frozenset({"provider", "pool", "candidate", "alias", "defaults"})
_PRUNED: Final = ("alias", "candidate", "pool", "provider")


@dataclass(frozen=True, slots=True)
class Applied:
    """What was written: ``revision`` is the number in force afterwards.

    ``emptied`` are the pools that lost their last candidate that is switched on.
    """

    changes: tuple[Change, ...]
    revision: int
    impact: dict[str, Any] = field(default_factory=dict)
    emptied: tuple[str, ...] = ()


def apply_document(
    *, desired: Document, prune: bool = False, secrets: Mapping[str, str] | None = None, **how: Unpack[How]
) -> Applied:
    """Make the configuration as ``desired`` says, in one revision; with ``dry_run`` only say what would.

    ``desired`` may leave out fields, which then stay; a provider without ``credential`` keeps its own, and
    literal keys come in ``secrets`` by provider. Switches and keys are never touched; only ``prune`` deletes.
    """
    secrets = secrets or {}
    found = _Found(cache(get_pool), cache(get_provider))
    with write(**how) as writing:
        if prune:
            _prune(writing.before, desired, ("alias", "candidate"))
        for key in _sorted(desired):
            if split_key(key)[0] in _IMPORTED:
                fields = _import_fields(key, desired[key], secrets)
                if not _is_so(writing.before.get(key), fields):
                    _put(writing, key, fields, found)
        if prune:
            _prune(writing.before, desired, ("pool", "provider"))
        for alias in Alias.objects.all():
            _at(object_key("alias", alias.name), partial(check_alias, alias))
    return Applied(writing.changes, writing.revision, writing.impact, writing.emptied)


def revert_revision(*, number: int, **how: Unpack[How]) -> Applied:
    """Undo a revision by a new one. Credentials stay as they are.

    Raises:
        NotFound: there is no such revision.
        Conflict: something it set was changed since; ``details`` has the differences.
        Invalid: there is nothing in it that can be undone.
    """
    how.setdefault("reason", f"Undo revision {number}.")
    with write(**how) as writing:
        revision = RoutingRevision.objects.filter(pk=number).first()
        if revision is None:
            raise NotFound(f"There is no revision {number}.", code="revision_not_found")
        changes = tuple(change for change in from_json(revision.changes) if _can_undo(change))
        if not changes:
            raise Invalid(f"Revision {number} holds nothing that can be undone.", code="nothing_to_revert")
        _refuse_overwriting(number, changes, writing.before)
        writing.reverts = number
        _undo(writing, changes)
    return Applied(writing.changes, writing.revision, writing.impact, writing.emptied)


def _can_undo(change: Change) -> bool:
    if change.field == "switch_set":
        return False
    return change.field != "credential"


def _refuse_overwriting(number: int, changes: Iterable[Change], current: Document) -> None:
    details = []
    for change in changes:
        now = current.get(change.object)
        if change.field == "*":
            same = (
                now is None
                if change.after is None
                else _without(now, "credential") == _without(change.after, "credential")
            )
            value: Any = now
        else:
            value = (now or {}).get(change.field)
            same = now is not None and value == change.after
        if not same:
            details.append(
                {"object": change.object, "field": change.field, "expected": change.after, "current": value}
            )
    if details:
        names = ", ".join(sorted({f"{row['object']} {row['field']}" for row in details}))
        raise Conflict(
            f"Changed again since revision {number}: {names}.", code="changed_since", details=details
        )


def _without(fields: Fields | None, name: str) -> Fields | None:
    return None if fields is None else {key: value for key, value in fields.items() if key != name}


def _undo(writing: Writing, changes: Iterable[Change]) -> None:
    wanted: dict[str, Fields] = {}
    gone: list[str] = []
    for change in changes:
        if change.field != "*":
            wanted.setdefault(change.object, {})[change.field] = change.before
        elif change.before is None:
            gone.append(change.object)
        else:
            fields = dict(change.before)
            if not credentials.is_reference(fields.get("credential") or ""):
                fields.pop("credential", None)
            wanted[change.object] = fields
    # Aliases first: what they led to in the meantime can only go once they lead elsewhere.
    for of_aliases in (True, False):
        for key in reversed(_sorted(key for key in gone if _is_alias(key) is of_aliases)):
            _drop(key)
        for key in _sorted(key for key in wanted if _is_alias(key) is of_aliases):
            _put(writing, key, _without_switch(key, wanted[key]))
            _restore_switch(writing, key, wanted[key])
    for alias in Alias.objects.all():
        check_alias(alias)


def _is_alias(key: str) -> bool:
    return split_key(key)[0] == "alias"


def _without_switch(key: str, fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if not is_switch_field(key, name)}


def _restore_switch(writing: Writing, key: str, fields: Fields) -> None:
    kind, *names = split_key(key)
    if not any(is_switch_field(key, name) for name in fields):
        return
    row = find(_TARGETS[kind](*names))
    values = {name: fields[name] for name in SWITCH_FIELDS if name in fields}
    if values.get("switch_expires_at"):
        values["switch_expires_at"] = datetime.fromisoformat(values["switch_expires_at"])
    for name, value in values.items():
        setattr(row, name, value)
    if _is_default(row):
        reset_switch(row)
        return
    if row.switch_expires_at is not None and row.switch_expires_at <= writing.now:
        raise Conflict("The time of the switch that this would bring back is over.", code="changed_since")
    row.switch_created_at = row.switch_created_at or writing.now
    row.switch_updated_at = writing.now
    row.switch_updated_by = writing.actor.name[:150]
    row.save()


_TARGETS: Final[Mapping[str, Callable[..., SwitchTarget]]] = {
    "provider": lambda provider: SwitchTarget(SwitchKind.PROVIDER, provider),
    "pool": lambda pool: SwitchTarget(SwitchKind.CANONICAL_MODEL, canonical_model=pool),
    "candidate": lambda pool, provider, model: SwitchTarget(SwitchKind.POOL_CANDIDATE, provider, pool, model),
}


def _is_default(row: Row) -> bool:
    return row.enabled and not row.switch_reason and row.switch_expires_at is None


def _import_fields(key: str, fields: Fields, secrets: Mapping[str, str]) -> Fields:
    kind, *names = split_key(key)
    result = _without_switch(key, fields)
    if kind == "provider":
        if names[0] in secrets:
            result["credential"] = secrets[names[0]]
        elif str(result.get("credential") or "").startswith("set "):
            del result["credential"]  # how an export shows a stored key: it stays
    return result


def _is_so(current: Fields | None, fields: Fields) -> bool:
    """Whether an object is there and has all these values, so that nothing is to be written."""
    return current is not None and all(
        name in current and current[name] == value for name, value in fields.items()
    )


def _sorted(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=lambda key: (_ORDER.index(split_key(key)[0]), key))


class _Found(NamedTuple):
    """How the objects are found that a candidate belongs to: a whole document reads each of them once."""

    pool: Callable[[str], ModelPool] = get_pool
    provider: Callable[[str], Provider] = get_provider


_LIVE: Final = _Found()


def _put(writing: Writing, key: str, fields: Fields, found: _Found = _LIVE) -> None:
    _at(key, lambda: _put_object(writing, key, fields, found))


def _put_object(writing: Writing, key: str, fields: Fields, found: _Found) -> None:
    match split_key(key):
        case ("provider", name):
            put_provider(writing, name, fields)
        case ("pool", name):
            put_pool(name, fields)
        case ("candidate", pool, provider, model):
            put_candidate(candidate_row(found.pool(pool), found.provider(provider), model), fields)
        case ("alias", name):
            put_alias(name, fields)
        case ("defaults",):
            put_defaults(fields)
        case ("client_key", number):
            access.put_client_key(access.get_client_key(int(number)), _key_values(fields))
        case ("admin_token", number):
            access.put_admin_token(access.get_admin_token(int(number)), _key_values(fields))
        case _:
            raise Invalid(f"Unknown object {key}.")


def _key_values(fields: Fields) -> Fields:
    values = {name: value for name, value in fields.items() if name != "prefix"}
    if values.get("expires_at"):
        values["expires_at"] = datetime.fromisoformat(values["expires_at"])
    return values


def _drop(key: str) -> None:
    match split_key(key):
        case ("provider", name):
            drop_provider(name)
        case ("pool", name):
            drop_pool(name)
        case ("candidate", pool, provider, model):
            row = find(SwitchTarget(SwitchKind.POOL_CANDIDATE, provider, pool, model))
            row.delete()
        case ("alias", name):
            drop_alias(name)
        case _:
            raise Invalid("A key is not unmade: revoke it.", code="nothing_to_revert")


def _prune(current: Document, desired: Document, kinds: Iterable[str]) -> None:
    for kind in kinds:
        for key in current:
            if split_key(key)[0] == kind and key not in desired:
                _drop(key)


def _at(key: str, step: Callable[[], object]) -> None:
    """Say at which object a step was refused."""
    try:
        step()
    except ServiceError as error:
        error.message = f"{key}{' ' + error.param if error.param else ''}: {error.message}"
        error.args = (error.message,)
        raise
