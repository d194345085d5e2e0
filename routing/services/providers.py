"""Providers: saving, deleting, and what a probe found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Unpack

from django.db import transaction
from django.db.models import F

from routing import credentials, queries, refusals
from routing.discovery import LONGEST_ID, ProbeResult
from routing.document import Change, object_key
from routing.kinds import KINDS
from routing.models import Provider, ProviderModel, RoutingHead
from routing.services.errors import Conflict, Invalid, NotFound
from routing.services.fields import Values, check_provider, lay, origin, save
from routing.services.switches import switch_row
from routing.services.writing import How, Writing, lock_head, write
from routing.types import DiscoveryState, ModelInfo


def save_provider(*, name: str, values: Values, **how: Unpack[How]) -> Provider:
    """Create the provider or change what ``values`` has.

    ``values`` may hold the columns of a provider, ``credential`` (a reference, a key, or ``""`` to remove it;
    absent: keep) and ``enabled`` with ``switch_reason``.
    """
    with write(**how) as writing:
        row = put_provider(writing, name, values)
        if "enabled" in values:
            switch_row(
                row,
                values["enabled"],
                reason=values.get("switch_reason", how.get("reason", "")),
                writing=writing,
            )
    return row


def delete_provider(*, name: str, **how: Unpack[How]) -> None:
    """Delete a provider that nothing uses.

    Raises:
        Conflict: it is in use; ``details`` lists by what.
    """
    with write(**how):
        drop_provider(name)


def get_provider(name: str, *, param: str | None = None) -> Provider:
    """The provider of this name.

    Raises:
        NotFound: there is none.
    """
    row = Provider.objects.filter(name=name).first()
    if row is None:
        raise NotFound(f"There is no provider {name}.", param=param, code="provider_not_found")
    return row


def put_provider(writing: Writing, name: str, values: Values) -> Provider:
    """Lay values over the provider, inside a write."""
    row = Provider.objects.filter(name=name).first() or Provider(name=name)
    target = _target(row)
    before = _identity(row)
    plain = {
        key: value for key, value in values.items() if key not in {"credential", "enabled", "switch_reason"}
    }
    lay(row, plain, queries.PROVIDER_FIELDS)
    check_provider({column: getattr(row, column) for column in queries.PROVIDER_FIELDS})
    row.base_url = row.base_url.rstrip("/")
    if "credential" in values and values["credential"] is not None:
        _set_credential(writing, row, values["credential"])
    elif target is not None and _has_credential(row) and origin(_url(row)) != target:
        raise Invalid(
            refusals.sentence(refusals.OTHER_HOST),
            param="credential",
            code="credential_required",
        )
    if _identity(row) != before:
        row.probed_at = None  # what is known is of another account: the next round asks anew
    save(row, exclude=["base_url"])
    return row


def drop_provider(name: str) -> None:
    """Delete a provider, inside a write."""
    row = get_provider(name)
    users = queries.users_of_provider(name)
    if users:
        raise Conflict(f"The provider {name} is in use: {', '.join(users)}.", code="in_use", details=users)
    row.delete()


def record_probe(*, provider: str, result: ProbeResult, now: datetime | None = None) -> bool:
    """Keep what a probe found; no revision. True when it tells the data plane something new.

    Raises:
        NotFound: the provider was deleted meanwhile.
    """
    now = now or datetime.now(UTC)
    with transaction.atomic():
        lock_head()
        row = get_provider(provider)
        failed = result.state is DiscoveryState.FAILED
        before = (row.probe_state, row.probe_failures, row.probe_error)
        row.probe_state = result.state
        row.probe_error = result.error[:500]
        row.probe_failures = row.probe_failures + 1 if failed else 0
        row.probe_first_failed_at = (row.probe_first_failed_at or now) if failed else None
        row.probed_at = now
        row.save(
            update_fields=[
                "probe_state",
                "probe_error",
                "probe_failures",
                "probe_first_failed_at",
                "probed_at",
            ]
        )
        moved = not failed and _take_inventory(row, result.models, now)
        is_news = moved or before != (row.probe_state, row.probe_failures, row.probe_error)
        if is_news:
            RoutingHead.objects.filter(pk=1).update(health_version=F("health_version") + 1)
    return is_news


def rotate_encryption() -> int:
    """Encrypt every stored key anew with the first of ``GATEWAY_ENCRYPTION_KEYS``; how many there were.

    The keys stay what they are, so this is no revision.

    Raises:
        CredentialError: a stored key cannot be decrypted; nothing was written.
    """
    with transaction.atomic():
        lock_head()
        rows = list(Provider.objects.exclude(credential_encrypted="").order_by("name"))
        for row in rows:
            row.credential_encrypted = credentials.rotate(row.credential_encrypted)
            row.save(update_fields=["credential_encrypted"])
    return len(rows)


def _take_inventory(row: Provider, models: Mapping[str, ModelInfo], now: datetime) -> bool:
    known = {entry.model: entry for entry in row.inventory.all()}
    changed, seen, new = [], [], []
    for model, info in models.items():
        entry = known.get(model)
        if entry is None:
            if 0 < len(model) <= LONGEST_ID:
                new.append(
                    ProviderModel(
                        provider=row,
                        model=model,
                        owned_by=info.owned_by[:200],
                        upstream_created=info.created,
                        last_seen_at=now,
                    )
                )
            continue
        facts = (True, info.owned_by[:200], info.created)
        if facts != (entry.listed, entry.owned_by, entry.upstream_created):
            entry.listed, entry.owned_by, entry.upstream_created = facts
            changed.append(entry)
        seen.append(entry.pk)
    gone = [entry.pk for entry in known.values() if entry.listed and entry.model not in models]
    ProviderModel.objects.bulk_create(new)
    ProviderModel.objects.bulk_update(changed, ["listed", "owned_by", "upstream_created"], batch_size=500)
    row.inventory.filter(pk__in=seen).update(last_seen_at=now)
    row.inventory.filter(pk__in=gone).update(listed=False)
    return bool(new or changed or gone)


def _set_credential(writing: Writing, row: Provider, text: str) -> None:
    before = queries.credential_text(row.credential_ref, row.credential_encrypted, row.credential_hint)
    if row.credential_encrypted and credentials.reveal("", row.credential_encrypted)[0] == text.strip():
        return
    try:
        stored = credentials.store(text)
    except credentials.CredentialError as error:
        raise Invalid(str(error), param="credential") from error
    replaced = bool(row.credential_encrypted and stored.encrypted)
    row.credential_ref, row.credential_encrypted, row.credential_hint = (
        stored.ref,
        stored.encrypted,
        stored.hint,
    )
    after = queries.credential_text(stored.ref, stored.encrypted, stored.hint)
    if replaced and before == after:
        key = object_key("provider", row.name)
        writing.notes.append(Change(key, "credential", before, f"changed {stored.hint}"))


def _has_credential(row: Provider) -> bool:
    return bool(row.credential_ref or row.credential_encrypted)


def _identity(row: Provider) -> tuple[Any, ...]:
    """What model discovery depends on."""
    return (row.kind, row.base_url, row.options, row.credential_ref, row.credential_encrypted)


def _url(row: Provider) -> str:
    kind = KINDS.get(row.kind)
    return row.base_url or (kind.default_base_url if kind else "")


def _target(row: Provider) -> tuple[Any, ...] | None:
    return origin(_url(row)) if row.pk else None
