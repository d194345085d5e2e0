"""Named reads of the configuration for services, admin, API, dashboard and commands. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.db.models import Count, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, StrIndex
from django.db.models.lookups import GreaterThan

from routing.assembly import POLICY_COLUMNS, BadRowError, merge_policy
from routing.document import SWITCH_FIELDS, Document, Fields, apply, from_json, object_key
from routing.models import (
    AdminToken,
    Alias,
    ClientKey,
    ModelPool,
    PoolCandidate,
    Provider,
    RoutingDefaults,
    RoutingHead,
    RoutingRevision,
)
from routing.types import InventoryMode, PoolPolicy

PROVIDER_FIELDS: Final = (
    "kind",
    "base_url",
    "configured_models",
    "options",
    "connect_timeout_s",
    "first_byte_timeout_s",
    "idle_timeout_s",
    "total_timeout_s",
    "max_in_flight",
)
POLICY_FIELDS: Final = tuple(POLICY_COLUMNS)
CANDIDATE_FIELDS: Final = ("priority", "weight")
CLIENT_KEY_FIELDS: Final = ("name", "prefix", "user_path", "models", "enabled", "expires_at")
ADMIN_TOKEN_FIELDS: Final = ("name", "prefix", "read_only", "enabled", "expires_at")


def read_document() -> Document:
    """The whole configuration (``routing.document``); credentials only as references or hints."""
    document: Document = {"defaults": defaults_fields(RoutingDefaults.objects.filter(pk=1).first())}
    document.update(_providers())
    document.update(_pools())
    for name, target in Alias.objects.values_list("name", "target"):
        document[object_key("alias", name)] = {"target": target}
    for row in ClientKey.objects.values("id", *CLIENT_KEY_FIELDS):
        document[object_key("client_key", str(row["id"]))] = _fields(row, CLIENT_KEY_FIELDS)
    for row in AdminToken.objects.values("id", *ADMIN_TOKEN_FIELDS):
        document[object_key("admin_token", str(row["id"]))] = _fields(row, ADMIN_TOKEN_FIELDS)
    return document


def defaults_fields(row: RoutingDefaults | None) -> Fields:
    """The row of defaults as fields; without a row, what its absence means."""
    columns = ("configured_provider_models_mode", *POLICY_FIELDS)
    if row is not None:
        return {name: getattr(row, name) for name in columns}
    empty: Fields = dict.fromkeys(POLICY_FIELDS)
    empty.update(strategy="", when_all_blocked="")
    empty["configured_provider_models_mode"] = InventoryMode.FALLBACK.value
    return empty


def default_policy() -> PoolPolicy:
    """The policy of a pool that sets nothing itself."""
    try:
        return merge_policy(PoolPolicy(), defaults_fields(RoutingDefaults.objects.filter(pk=1).first()))[0]
    except BadRowError:
        return PoolPolicy()  # as the data plane does; the table says why


def credential_text(ref: str, encrypted: str, hint: str) -> str:
    """A credential as people may see it: the reference, ``set …f3a``, or nothing."""
    if ref:
        return ref
    return f"set {hint}" if encrypted else ""


def instant_text(value: datetime | None) -> str | None:
    """ISO 8601 in UTC."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def head_revision() -> int:
    """The number of the configuration in force."""
    return RoutingHead.objects.filter(pk=1).values_list("revision", flat=True).first() or 0


def providers() -> QuerySet[Provider]:
    """Every provider, with how many pools use it and how many models its inventory lists."""
    return Provider.objects.annotate(
        pool_count=Count("candidates__pool", distinct=True),
        listed_count=Count("inventory", filter=Q(inventory__listed=True), distinct=True),
    ).order_by("name")


def pools() -> QuerySet[ModelPool]:
    """Every pool with its candidates and their providers, in two queries."""
    return ModelPool.objects.prefetch_related("candidates__provider").order_by("canonical_model")


def switches(*, everything: bool = False) -> list[Provider | ModelPool | PoolCandidate]:
    """The rows whose switch somebody has set, or all; candidates with their pool and provider."""
    rows = Q() if everything else Q(switch_created_at__isnull=False)
    return [
        *Provider.objects.filter(rows),
        *ModelPool.objects.filter(rows),
        *PoolCandidate.objects.filter(rows).select_related("pool", "provider"),
    ]


def document_at(number: int) -> Document:
    """The whole configuration as it was at a revision: what came later, taken back from what is."""
    document = read_document()
    later = RoutingRevision.objects.filter(number__gt=number).order_by("-number")
    for changes in later.values_list("changes", flat=True):
        document = apply(document, from_json(changes), undo=True)
    return document


def revisions() -> QuerySet[RoutingRevision]:
    """The history, newest first."""
    return RoutingRevision.objects.order_by("-number")


def revisions_touching(
    keys: Iterable[str], *, after: int
) -> list[tuple[RoutingRevision, list[Mapping[str, Any]]]]:
    """Later revisions that changed one of the objects, each with the changes in question, oldest first."""
    wanted = frozenset(keys)
    found = []
    for revision in RoutingRevision.objects.filter(number__gt=after).order_by("number"):
        touched = [change for change in revision.changes if change["object"] in wanted]
        if touched:
            found.append((revision, touched))
    return found


def revisions_of(rows: QuerySet[RoutingRevision], key: str, *, within: str = "") -> QuerySet[RoutingRevision]:
    """Those that changed an object, or one whose key begins with ``within``.

    Keys have no quotes in them, so their place in the JSON text is their own.
    """
    text = Cast("changes", TextField())
    # Not LIKE: SQLite's takes OpenAI for openai.
    wanted = Q(GreaterThan(StrIndex(text, Value(f'"object": "{key}"')), 0))
    if within:
        wanted |= Q(GreaterThan(StrIndex(text, Value(f'"object": "{within}')), 0))
    return rows.filter(wanted)


def credential_texts() -> dict[str, str]:
    """Every provider's credential as people may see it, by name."""
    rows = Provider.objects.values_list("name", "credential_ref", "credential_encrypted", "credential_hint")
    return {name: credential_text(ref, encrypted, hint) for name, ref, encrypted, hint in rows}


def users_of_provider(name: str) -> list[str]:
    """What would miss the provider: pools and aliases, each as ``pool NAME`` or ``alias NAME``, sorted."""
    pools = (
        ModelPool.objects.filter(candidates__provider__name=name)
        .distinct()
        .order_by("canonical_model")
        .values_list("canonical_model", flat=True)
    )
    own = set(ModelPool.objects.values_list("canonical_model", flat=True))
    aliases = [
        alias.name
        for alias in Alias.objects.filter(target__startswith=f"{name}/").order_by("name")
        # SQLite's LIKE takes OpenAI for openai.
        if alias.target.startswith(f"{name}/") and alias.target not in own
    ]
    return [*(f"pool {pool}" for pool in pools), *(f"alias {alias}" for alias in aliases)]


def users_of_pool(canonical_model: str) -> list[str]:
    """The aliases that point at the pool, sorted."""
    names = Alias.objects.filter(target=canonical_model).order_by("name").values_list("name", flat=True)
    return [f"alias {name}" for name in names]


def pools_with_pair(provider: str, model: str) -> list[str]:
    """The canonical models that have this exact candidate, sorted."""
    return list(
        PoolCandidate.objects.filter(provider__name=provider, model=model)
        .order_by("pool__canonical_model")
        .values_list("pool__canonical_model", flat=True)
    )


def _providers() -> Document:
    document: Document = {}
    rows = Provider.objects.values(
        "name",
        "credential_ref",
        "credential_encrypted",
        "credential_hint",
        *PROVIDER_FIELDS,
        *SWITCH_FIELDS,
    )
    for row in rows:
        fields = _fields(row, (*PROVIDER_FIELDS, *SWITCH_FIELDS))
        fields["credential"] = credential_text(
            row["credential_ref"], row["credential_encrypted"], row["credential_hint"]
        )
        document[object_key("provider", row["name"])] = fields
    return document


def _pools() -> Document:
    document: Document = {}
    columns = ("description", *POLICY_FIELDS, *SWITCH_FIELDS)
    for row in ModelPool.objects.values("canonical_model", *columns):
        document[object_key("pool", row["canonical_model"])] = _fields(row, columns)
    candidates = PoolCandidate.objects.values(
        "pool__canonical_model", "provider__name", "model", *CANDIDATE_FIELDS, *SWITCH_FIELDS
    )
    for row in candidates:
        key = object_key("candidate", row["pool__canonical_model"], row["provider__name"], row["model"])
        document[key] = _fields(row, (*CANDIDATE_FIELDS, *SWITCH_FIELDS))
    return document


def _fields(row: Mapping[str, Any], columns: Iterable[str]) -> Fields:
    return {
        name: instant_text(row[name]) if isinstance(row[name], datetime) else row[name] for name in columns
    }
