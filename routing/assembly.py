"""Plain rows in, a ``RoutingTable`` out; a bad row is left out and reported, never in the way. Pure.

Rows are mappings of column names to values, as ``QuerySet.values()`` gives them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from routing import refusals
from routing.addresses import settled
from routing.document import object_key
from routing.kinds import KINDS
from routing.provider_class import shown_models
from routing.types import (
    Caller,
    Candidate,
    Discovery,
    DiscoveryState,
    FailoverPolicy,
    InventoryMode,
    ModelInfo,
    Pool,
    PoolPolicy,
    Provider,
    RoutingTable,
    SkippedRow,
    Strategy,
    Switch,
    Timeouts,
    WhenAllBlocked,
)

Row = Mapping[str, Any]
RevealCredential = Callable[[str, str], tuple[str | None, str]]
"""Takes a reference and a token; gives the secret, or none, and the problem with it."""
SigningProblem = Callable[[Provider], str]
"""Why a provider's requests cannot be signed; empty where they can or need not be."""

POLICY_COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "strategy": "strategy",
        "session_affinity": "session_affinity",
        "session_affinity_ttl_s": "session_affinity_ttl_s",
        "failover_enabled": "failover.enabled",
        "failover_max_attempts": "failover.max_attempts",
        "failover_on_statuses": "failover.retry_on_statuses",
        "failover_on_model_errors": "failover.retry_on_model_errors",
        "when_all_blocked": "when_all_blocked",
    }
)
"""Column name to the name of the policy value, as people write it in the configuration file."""


def _no_problem(_: Provider) -> str:
    return ""


class BadRowError(ValueError):
    """A row cannot be used; the message says why, for operators."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything one consistent read found. ``inventory`` holds the listed models only."""

    revision: int = 0
    providers: Sequence[Row] = ()
    inventory: Sequence[Row] = ()
    pools: Sequence[Row] = ()
    candidates: Sequence[Row] = ()
    aliases: Sequence[Row] = ()
    defaults: Row | None = None
    client_keys: Sequence[Row] = ()


def build(
    rows: Rows, *, reveal: RevealCredential, timeouts: Timeouts, signing_problem: SigningProblem = _no_problem
) -> RoutingTable:
    """Assemble the table; ``timeouts`` are those of a provider that sets none."""
    skipped: list[SkippedRow] = []
    defaults, mode = _defaults(rows.defaults, skipped)
    inventory = _inventory(rows.inventory)
    providers: dict[str, Provider] = {}
    for row in rows.providers:
        try:
            found = _provider(row, inventory.get(row["id"], ()), reveal, timeouts)
            problem = found.credential_error or signing_problem(found)
            providers[found.name] = replace(found, credential_error=problem)
        except BadRowError as error:
            skipped.append(SkippedRow(object_key("provider", row["name"]), str(error)))
    pools = _pools(rows, providers, defaults, skipped)
    return RoutingTable(
        revision=rows.revision,
        providers=MappingProxyType(providers),
        pools=MappingProxyType(pools),
        aliases=MappingProxyType(_aliases(rows.aliases, pools, skipped)),
        defaults=defaults,
        inventory_mode=mode,
        callers=MappingProxyType(_callers(rows.client_keys, skipped)),
        bare_models=MappingProxyType(_bare_models(providers, mode)),
        skipped=tuple(skipped),
    )


def merge_policy(base: PoolPolicy, columns: Row) -> tuple[PoolPolicy, frozenset[str]]:
    """Lay the columns that are set over ``base``; also the names of the values they set.

    Null and empty text mean "not set"; ``False`` is a value like any other.

    Raises:
        BadRowError: a value of the wrong type or out of its range.
    """
    set_here = {
        name: columns[name]
        for name in POLICY_COLUMNS
        if columns.get(name) is not None and columns[name] != ""
    }
    for name, value in set_here.items():
        if problem := refusals.POLICY[name](value):
            raise BadRowError(f"Its policy cannot be used: {POLICY_COLUMNS[name]} {problem}.")
    failover = FailoverPolicy(
        enabled=set_here.get("failover_enabled", base.failover.enabled),
        max_attempts=set_here.get("failover_max_attempts", base.failover.max_attempts),
        retry_on_statuses=frozenset(set_here.get("failover_on_statuses", base.failover.retry_on_statuses)),
        retry_on_model_errors=set_here.get("failover_on_model_errors", base.failover.retry_on_model_errors),
    )
    policy = PoolPolicy(
        strategy=Strategy(set_here.get("strategy", base.strategy)),
        session_affinity=set_here.get("session_affinity", base.session_affinity),
        session_affinity_ttl_s=set_here.get("session_affinity_ttl_s", base.session_affinity_ttl_s),
        failover=failover,
        when_all_blocked=WhenAllBlocked(set_here.get("when_all_blocked", base.when_all_blocked)),
    )
    return policy, frozenset(POLICY_COLUMNS[name] for name in set_here)


def _defaults(row: Row | None, skipped: list[SkippedRow]) -> tuple[PoolPolicy, InventoryMode]:
    if row is None:
        return PoolPolicy(), InventoryMode.FALLBACK
    mode = InventoryMode.FALLBACK
    try:
        mode = InventoryMode(row["configured_provider_models_mode"])
        policy, _ = merge_policy(PoolPolicy(), row)
    except ValueError as error:
        skipped.append(SkippedRow("defaults", f"{error} The built-in defaults are used."))
        return PoolPolicy(), mode
    return policy, mode


def _inventory(rows: Sequence[Row]) -> dict[int, list[Row]]:
    by_provider: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_provider[row["provider_id"]].append(row)
    return by_provider


def _provider(row: Row, inventory: Sequence[Row], reveal: RevealCredential, defaults: Timeouts) -> Provider:
    kind = KINDS.get(row["kind"])
    if kind is None:
        raise BadRowError(f"Unknown kind {row['kind']!r}.")
    base_url = row["base_url"] or kind.default_base_url
    if not base_url:
        raise BadRowError(f"Its base URL {refusals.no_base_url(kind.name)}.")
    options = _options(row["options"])
    if problem := refusals.region(kind, base_url, options):
        raise BadRowError(f"Its options cannot be used: {problem}.")
    base_url, options = settled(kind, base_url, options)
    api_key, problem = reveal(row["credential_ref"], row["credential_encrypted"])
    if api_key is None and not problem and kind.needs_key:
        problem = "No API key is set."
    return Provider(
        name=row["name"],
        kind=kind.name,
        base_url=base_url,
        switch=_switch(row),
        api_key=api_key,
        credential_error=problem,
        configured_models=frozenset(_names(row["configured_models"], "configured_models")),
        discovery=_discovery(row, frozenset(entry["model"] for entry in inventory)),
        model_info=MappingProxyType(
            {entry["model"]: ModelInfo(entry["upstream_created"], entry["owned_by"]) for entry in inventory}
        ),
        timeouts=_timeouts(row, defaults),
        max_in_flight=row["max_in_flight"],
        options=MappingProxyType(options),
        endpoints=kind.serves,
        created_at=row["created_at"].timestamp(),
    )


def _discovery(row: Row, models: frozenset[str]) -> Discovery:
    try:
        state = DiscoveryState(row["probe_state"])
    except ValueError:
        # Written by another version, perhaps: nothing is known then, and the next probe writes it anew.
        state = DiscoveryState.UNPROBED
    return Discovery(
        state=state,
        models=models,
        checked_at=_instant(row["probed_at"]),
        failures=row["probe_failures"],
        first_failed_at=_instant(row["probe_first_failed_at"]),
        error=row["probe_error"],
    )


def _timeouts(row: Row, defaults: Timeouts) -> Timeouts:
    chosen = {
        name: row[f"{column}_timeout_s"]
        for name, column in (
            ("connect_s", "connect"),
            ("first_byte_s", "first_byte"),
            ("idle_s", "idle"),
            ("total_s", "total"),
        )
        if row[f"{column}_timeout_s"] is not None
    }
    for name, value in chosen.items():
        if problem := refusals.seconds(value):
            raise BadRowError(f"Its timeout {name} {problem}.")
    return replace(defaults, **chosen)


def _pools(
    rows: Rows, providers: Mapping[str, Provider], defaults: PoolPolicy, skipped: list[SkippedRow]
) -> dict[str, Pool]:
    names = {row["id"]: row["name"] for row in rows.providers}
    candidates: dict[int, list[Row]] = defaultdict(list)
    for row in rows.candidates:
        candidates[row["pool_id"]].append(row)
    pools: dict[str, Pool] = {}
    for row in rows.pools:
        name = row["canonical_model"]
        try:
            policy, overrides = merge_policy(defaults, row)
        except BadRowError as error:
            skipped.append(SkippedRow(object_key("pool", name), str(error)))
            continue
        members = []
        for entry in candidates[row["id"]]:
            try:
                members.append(_candidate(name, names.get(entry["provider_id"], ""), entry, providers))
            except BadRowError as error:
                key = object_key("candidate", name, names.get(entry["provider_id"], "?"), entry["model"])
                skipped.append(SkippedRow(key, str(error)))
        members.sort(key=lambda candidate: (candidate.priority, candidate.selector))
        pools[name] = Pool(
            canonical_model=name,
            candidates=tuple(members),
            policy=policy,
            switch=_switch(row),
            overrides=overrides,
            created_at=row["created_at"].timestamp(),
        )
    return pools


def _candidate(pool: str, provider: str, row: Row, providers: Mapping[str, Provider]) -> Candidate:
    if provider not in providers:
        raise BadRowError("Its provider cannot be used.")
    if not row["model"]:
        raise BadRowError("It has no model.")
    for name in ("priority", "weight"):
        if problem := refusals.rank(row[name]):
            raise BadRowError(f"Its {name} {problem}.")
    return Candidate(
        pool=pool,
        provider=provider,
        model=row["model"],
        priority=row["priority"],
        weight=row["weight"],
        switch=_switch(row),
    )


def _aliases(rows: Iterable[Row], pools: Mapping[str, Pool], skipped: list[SkippedRow]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for row in rows:
        if row["name"] in pools:
            skipped.append(
                SkippedRow(object_key("alias", row["name"]), refusals.sentence(refusals.POOL_HAS_NAME))
            )
        else:
            aliases[row["name"]] = row["target"]
    return aliases


def _callers(rows: Iterable[Row], skipped: list[SkippedRow]) -> dict[bytes, Caller]:
    callers: dict[bytes, Caller] = {}
    for row in rows:
        try:
            digest = _digest(row["digest"])
            callers[digest] = Caller(
                id=str(row["id"]),
                name=row["name"],
                digest=digest,
                user_path=row["user_path"],
                models=_names(row["models"], "models"),
                enabled=row["enabled"],
                expires_at=_instant(row["expires_at"]),
            )
        except BadRowError as error:
            skipped.append(SkippedRow(object_key("client_key", str(row["id"])), str(error)))
    return callers


def _bare_models(providers: Mapping[str, Provider], mode: InventoryMode) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(providers):
        for model in shown_models(providers[name], mode):
            found[model].append(name)
    return {model: tuple(names) for model, names in sorted(found.items())}


def _switch(row: Row) -> Switch:
    return Switch(
        enabled=row["enabled"],
        reason=row["switch_reason"],
        expires_at=_instant(row["switch_expires_at"]),
        base=row["switch_base"],
        updated_by=row["switch_updated_by"],
        updated_at=_instant(row["switch_updated_at"]),
    )


def _instant(value: datetime | None) -> float | None:
    return None if value is None else value.timestamp()


def _names(value: object, column: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRowError(f"{column} is not a list of names.")
    return tuple(value)


def _options(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise BadRowError("options is not a mapping of names to texts.")
    return dict(value)


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError as error:
        raise BadRowError("The digest is not hexadecimal.") from error
    if len(digest) != 32:
        raise BadRowError("The digest is not a SHA-256.")
    return digest
