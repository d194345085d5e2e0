"""Rows of the tables as the API shows them, and what it takes as the columns that services write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from routing.models import AdminToken, Alias, ClientKey, ModelPool, Switchable
from routing.queries import (
    POLICY_FIELDS,
    PROVIDER_FIELDS,
    credential_text,
    defaults_fields,
    instant_text,
)

Shape = dict[str, Any]

FAILOVER_COLUMNS: Final = {
    "enabled": "failover_enabled",
    "max_attempts": "failover_max_attempts",
    "retry_on_statuses": "failover_on_statuses",
    "retry_on_model_errors": "failover_on_model_errors",
}
PLAIN_POLICY: Final = ("strategy", "session_affinity", "session_affinity_ttl_s", "when_all_blocked")
EMPTY_MEANS_UNSET: Final = frozenset({"strategy", "when_all_blocked"})
POLICY_PARAMS: Final = {column: f"failover.{name}" for name, column in FAILOVER_COLUMNS.items()}


def switch(row: Switchable) -> Shape | None:
    """Who set the switch of a row; None where nobody did."""
    if row.switch_created_at is None:
        return None
    shape: Shape = {"updated_by": row.switch_updated_by, "updated_at": instant_text(row.switch_updated_at)}
    if row.switch_reason:
        shape["reason"] = row.switch_reason
    if row.switch_expires_at is not None:
        shape["expires_at"] = instant_text(row.switch_expires_at)
    return shape


def provider(row: Any) -> Shape:
    """One row of ``queries.providers()``."""
    discovery: Shape = {
        "state": row.probe_state,
        "models": row.listed_count,
        "checked_at": instant_text(row.probed_at),
        "failures": row.probe_failures,
    }
    if row.probe_error:
        discovery["error"] = row.probe_error
    return {
        "name": row.name,
        **{name: getattr(row, name) for name in PROVIDER_FIELDS},
        "credential_status": credential_text(
            row.credential_ref, row.credential_encrypted, row.credential_hint
        ),
        "enabled": row.enabled,
        "switch": switch(row),
        "discovery": discovery,
        "pools": row.pool_count,
        "created_at": instant_text(row.created_at),
        "updated_at": instant_text(row.updated_at),
    }


def pool(row: ModelPool) -> Shape:
    """One row of ``queries.pools()``."""
    return {
        "canonical_model": row.canonical_model,
        "description": row.description,
        "enabled": row.enabled,
        "switch": switch(row),
        **policy({name: getattr(row, name) for name in POLICY_FIELDS}),
        "candidates": [
            {
                "provider_name": one.provider.name,
                "model": one.model,
                "priority": one.priority,
                "weight": one.weight,
                "enabled": one.enabled,
                "switch": switch(one),
            }
            for one in sorted(
                row.candidates.all(), key=lambda one: (one.priority, one.provider.name, one.model)
            )
        ],
        "created_at": instant_text(row.created_at),
        "updated_at": instant_text(row.updated_at),
    }


def defaults(row: Any) -> Shape:
    """The row of defaults, or what its absence means."""
    fields = defaults_fields(row)
    mode = fields["configured_provider_models_mode"]
    return {"configured_provider_models_mode": mode, **policy(fields)}


def alias(row: Alias) -> Shape:
    """One alias."""
    return {"name": row.name, "target": row.target, "created_at": instant_text(row.created_at)}


def client_key(row: ClientKey) -> Shape:
    """One client key, without the key."""
    return {**_key(row), "user_path": row.user_path, "models": row.models}


def admin_token(row: AdminToken) -> Shape:
    """One admin token, without the token."""
    return {**_key(row), "read_only": row.read_only}


def without_echo(values: Mapping[str, Any], row: Switchable | None) -> Shape:
    """What to write, without a switch that is so already: writing back what was read sets no switch."""
    is_on = True if row is None else row.enabled
    return {name: value for name, value in values.items() if name != "enabled" or value != is_on}


def policy(columns: Mapping[str, Any]) -> Shape:
    """The policy columns as the API shows them: null where nothing is set."""
    shape: Shape = {
        name: None if name in EMPTY_MEANS_UNSET and not columns[name] else columns[name]
        for name in PLAIN_POLICY
    }
    shape["failover"] = {name: columns[column] for name, column in FAILOVER_COLUMNS.items()}
    return shape


def policy_columns(values: Mapping[str, Any]) -> Shape:
    """What the API was told of a policy, as columns."""
    columns = {name: values[name] for name in PLAIN_POLICY if name in values}
    for name in EMPTY_MEANS_UNSET & columns.keys():
        columns[name] = columns[name] or ""
    failover = values.get("failover", {})
    columns.update({column: failover[name] for name, column in FAILOVER_COLUMNS.items() if name in failover})
    return columns


def unset_policy() -> Shape:
    """The columns of a policy that sets nothing."""
    columns: Shape = dict.fromkeys(POLICY_FIELDS)
    return {**columns, **dict.fromkeys(EMPTY_MEANS_UNSET, "")}


def _key(row: ClientKey | AdminToken) -> Shape:
    return {
        "id": row.pk,
        "name": row.name,
        "prefix": row.prefix,
        "enabled": row.enabled,
        "expires_at": instant_text(row.expires_at),
        "created_at": instant_text(row.created_at),
        "created_by": row.created_by,
    }
