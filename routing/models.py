"""The tables of routing. Rows are written by ``routing.services`` only; invariants are constraints.

Nothing here decides anything: ``routing.snapshot`` turns rows into a ``RoutingTable``.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from routing import validators
from routing.kinds import KINDS
from routing.types import DiscoveryState, InventoryMode, Strategy, WhenAllBlocked


def default_statuses() -> list[int]:
    """Statuses that fail over by default."""
    return [429, 500, 502, 503, 504]


def kind_choices() -> list[tuple[str, str]]:
    """The provider kinds, for forms; not part of any migration."""
    return [(kind.name, kind.label) for kind in KINDS.values()]


class Switchable(models.Model):
    """The operator's switch: its value, why, who, since when, and until when.

    ``switch_base`` is the value that counts again from ``switch_expires_at`` on. ``switch_created_at`` is
    null while nobody has set the switch.
    """

    enabled = models.BooleanField(default=True)
    switch_reason = models.CharField("reason", max_length=500, blank=True)
    switch_base = models.BooleanField(default=True, editable=False)
    switch_expires_at = models.DateTimeField("until", null=True, blank=True)
    switch_created_at = models.DateTimeField(null=True, editable=False)
    switch_updated_at = models.DateTimeField(null=True, editable=False)
    switch_updated_by = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        abstract = True


def switch_constraints(table: str) -> list[models.BaseConstraint]:
    """A timed switch must change something: its value differs from the one it returns to."""
    return [
        models.CheckConstraint(
            condition=Q(switch_expires_at__isnull=True) | ~Q(enabled=F("switch_base")),
            name=f"{table}_timed_switch_changes_something",
            violation_error_message="A switch with an expiry must differ from the value it returns to.",
        )
    ]


class Provider(Switchable):
    """One configured upstream account.

    The credential is either ``credential_ref``, a reference such as ``${OPENAI_API_KEY}`` that is resolved
    in each worker, or ``credential_encrypted``, a Fernet token; ``credential_hint`` is its last characters.
    ``probe_*`` is what the last model discovery found; writing it is not a revision.
    """

    name = models.CharField(max_length=100, unique=True, validators=[validators.provider_name])
    kind = models.CharField(max_length=50)
    base_url = models.CharField(
        "base URL",
        max_length=500,
        blank=True,
        help_text="With the version prefix; empty: the default of the kind.",
    )
    credential_ref = models.CharField(max_length=200, blank=True, help_text="For example ${OPENAI_API_KEY}.")
    credential_encrypted = models.TextField(blank=True, editable=False)
    credential_hint = models.CharField(max_length=12, blank=True, editable=False)
    configured_models = models.JSONField(default=list, blank=True)
    options = models.JSONField(default=dict, blank=True, help_text="Settings of the kind, by name.")
    connect_timeout_s = models.FloatField(null=True, blank=True)
    first_byte_timeout_s = models.FloatField(null=True, blank=True)
    idle_timeout_s = models.FloatField(null=True, blank=True)
    total_timeout_s = models.FloatField(null=True, blank=True)
    max_in_flight = models.PositiveIntegerField(null=True, blank=True)
    probe_state = models.CharField(
        max_length=20,
        default=DiscoveryState.UNPROBED,
        choices=[(state.value, state.value) for state in DiscoveryState],
        editable=False,
    )
    probed_at = models.DateTimeField(null=True, editable=False)
    probe_error = models.CharField(max_length=500, blank=True, editable=False)
    probe_failures = models.PositiveIntegerField(default=0, editable=False)
    probe_first_failed_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            *switch_constraints("provider"),
            models.CheckConstraint(
                condition=Q(credential_ref="") | Q(credential_encrypted=""),
                name="provider_one_credential",
                violation_error_message="Give a reference or a key, not both.",
            ),
            models.CheckConstraint(
                condition=Q(max_in_flight__isnull=True) | Q(max_in_flight__gte=1),
                name="provider_max_in_flight_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ProviderModel(models.Model):
    """One model of a provider's inventory, from discovery.

    ``listed`` is false once a probe no longer had it.
    """

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="inventory")
    model = models.CharField(max_length=300)
    listed = models.BooleanField(default=True)
    owned_by = models.CharField(max_length=200, blank=True)
    upstream_created = models.BigIntegerField(default=0, help_text="Unix seconds, as the provider says.")
    first_seen_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField()

    class Meta:
        ordering = ["provider__name", "model"]
        constraints = [models.UniqueConstraint(fields=["provider", "model"], name="provider_model_unique")]

    def __str__(self) -> str:
        return f"{self.provider_id}/{self.model}"


class PolicyColumns(models.Model):
    """The policy values that a pool may set itself; null or empty means: as in the defaults."""

    strategy = models.CharField(
        max_length=50, blank=True, choices=[(name.value, name.value) for name in Strategy]
    )
    session_affinity = models.BooleanField(null=True, blank=True)
    session_affinity_ttl_s = models.PositiveIntegerField(null=True, blank=True, help_text="Seconds.")
    failover_enabled = models.BooleanField(null=True, blank=True)
    failover_max_attempts = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Upstream calls in all, the first included.",
    )
    failover_on_statuses = models.JSONField(null=True, blank=True, help_text="A list of statuses, 100-599.")
    failover_on_model_errors = models.BooleanField(null=True, blank=True)
    when_all_blocked = models.CharField(
        max_length=20, blank=True, choices=[(word.value, word.value) for word in WhenAllBlocked]
    )

    class Meta:
        abstract = True


def policy_constraints(table: str) -> list[models.BaseConstraint]:
    """Durations and attempts are positive; strategies and words are known."""
    return [
        models.CheckConstraint(
            condition=Q(failover_max_attempts__isnull=True) | Q(failover_max_attempts__gte=1),
            name=f"{table}_max_attempts_positive",
        ),
        models.CheckConstraint(
            condition=Q(session_affinity_ttl_s__isnull=True) | Q(session_affinity_ttl_s__gte=1),
            name=f"{table}_affinity_ttl_positive",
        ),
        models.CheckConstraint(
            condition=Q(strategy="") | Q(strategy__in=[name.value for name in Strategy]),
            name=f"{table}_strategy_known",
        ),
        models.CheckConstraint(
            condition=Q(when_all_blocked="")
            | Q(when_all_blocked__in=[word.value for word in WhenAllBlocked]),
            name=f"{table}_when_all_blocked_known",
        ),
    ]


class ModelPool(Switchable, PolicyColumns):
    """One canonical model: the name that clients send."""

    canonical_model = models.CharField(max_length=300, unique=True, validators=[validators.name])
    description = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["canonical_model"]
        verbose_name = "model pool"
        constraints = [*switch_constraints("pool"), *policy_constraints("pool")]

    def __str__(self) -> str:
        return self.canonical_model


class PoolCandidate(Switchable):
    """One exact provider/model in a pool."""

    pool = models.ForeignKey(ModelPool, on_delete=models.CASCADE, related_name="candidates")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="candidates")
    model = models.CharField(max_length=300, validators=[validators.name], help_text="The exact upstream id.")
    priority = models.PositiveIntegerField(default=1, help_text="1 comes first.")
    weight = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["pool__canonical_model", "priority", "provider__name", "model"]
        constraints = [
            models.UniqueConstraint(
                fields=["pool", "provider", "model"],
                name="candidate_once_per_pool",
            ),
            models.CheckConstraint(condition=Q(priority__gte=1), name="candidate_priority_positive"),
            models.CheckConstraint(condition=Q(weight__gte=1), name="candidate_weight_positive"),
            *switch_constraints("candidate"),
        ]

    def __str__(self) -> str:
        return f"{self.provider_id}/{self.model} in {self.pool_id}"


class RoutingDefaults(PolicyColumns):
    """The one row of defaults; a null column means the built-in default."""

    configured_provider_models_mode = models.CharField(
        max_length=20,
        default=InventoryMode.FALLBACK,
        choices=[(mode.value, mode.value) for mode in InventoryMode],
    )

    class Meta:
        verbose_name_plural = "routing defaults"
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="defaults_one_row"),
            *policy_constraints("defaults"),
        ]

    def __str__(self) -> str:
        return "routing defaults"


class Alias(models.Model):
    """Another public name for a canonical model or an exact ``provider/model``; one level."""

    name = models.CharField(max_length=300, unique=True, validators=[validators.name])
    target = models.CharField(max_length=400, validators=[validators.target])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "aliases"

    def __str__(self) -> str:
        return f"{self.name} → {self.target}"


class RoutingHead(models.Model):
    """The one small row that workers poll and every service locks first."""

    revision = models.PositiveBigIntegerField(default=0)
    health_version = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="head_one_row")]

    def __str__(self) -> str:
        return f"revision {self.revision}"


class RoutingRevision(models.Model):
    """One change of the configuration, append-only.

    ``changes`` is a list of ``{"object", "field", "before", "after"}``, see ``routing.document``.
    """

    number = models.PositiveBigIntegerField(primary_key=True)
    created_at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=150)
    source = models.CharField(max_length=30)
    reason = models.CharField(max_length=500, blank=True)
    summary = models.CharField(max_length=500)
    changes = models.JSONField(default=list)
    reverts = models.PositiveBigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["-number"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.number}: {self.summary}"


class HashedKey(models.Model):
    """A secret of 256 random bits, of which only the SHA-256 and a short prefix are kept."""

    name = models.CharField(max_length=150)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    enabled = models.BooleanField(default=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class ClientKey(HashedKey):
    """What a client application sends to ``/v1``."""

    user_path = models.CharField(max_length=300, blank=True, help_text="For example /team/a.")
    models = models.JSONField(default=list, blank=True, help_text="Names, a trailing * allowed; empty: all.")

    class Meta:
        ordering = ["name", "id"]


class AdminToken(HashedKey):
    """What a script sends to ``/admin``."""

    read_only = models.BooleanField(default=False)

    class Meta:
        ordering = ["name", "id"]


class Lease(models.Model):
    """Which process may do a background task, and until when."""

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.CharField(max_length=100)
    until_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} held by {self.holder}"
