"""What is kept of requests: one row each, its attempts inside, and counts by ten seconds and by minute.

Prompts and answers are not stored.
"""

from __future__ import annotations

from django.db import models


class RequestRecord(models.Model):
    """One client request and what became of it; written in batches by ``proxying.records``.

    Attributes:
        outcome: ``ok``, ``error`` (refused, or every attempt failed), ``client_gone`` or ``cut`` (a stream
            that broke after its first content).
        blocked_candidates: List of ``{"selector", "status", "reason", "reasons"}``.
        attempts: List of ``{"provider", "model", "started_at", "latency_ms", "status", "error"}``.
        cost_microusd: Null when the model has no known price.
        source: ``api``, or ``try_it`` for what an operator sent from the dashboard.
    """

    request_id = models.CharField(max_length=128)
    decision_id = models.CharField(max_length=40)
    started_at = models.DateTimeField()
    endpoint = models.CharField(max_length=30)
    requested_model = models.CharField(max_length=300)
    canonical_model = models.CharField(max_length=300, blank=True)
    strategy = models.CharField(max_length=50, blank=True)
    config_primary = models.CharField(max_length=400, blank=True)
    effective_candidate = models.CharField(max_length=400, blank=True)
    selected_provider_name = models.CharField(max_length=100, blank=True)
    selected_exact_model = models.CharField(max_length=300, blank=True)
    blocked_candidates = models.JSONField(default=list)
    affinity = models.CharField(max_length=10, blank=True)
    revision = models.PositiveBigIntegerField(default=0)
    attempts = models.JSONField(default=list)
    attempt_count = models.PositiveSmallIntegerField(default=0)
    failover_used = models.BooleanField(default=False)
    fallback_target = models.CharField(max_length=400, blank=True)
    streamed = models.BooleanField(default=False)
    status = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=20)
    error_code = models.CharField(max_length=100, blank=True)
    error_message = models.CharField(max_length=500, blank=True)
    latency_ms = models.FloatField()
    first_content_ms = models.FloatField(null=True)
    overhead_ms = models.FloatField(default=0)
    prompt_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    cached_tokens = models.PositiveIntegerField(null=True)
    reasoning_tokens = models.PositiveIntegerField(null=True)
    cost_microusd = models.BigIntegerField(null=True)
    caller_id = models.CharField(max_length=40, blank=True)
    caller_name = models.CharField(max_length=150, blank=True)
    user_path = models.CharField(max_length=300, blank=True)
    source = models.CharField(max_length=20, default="api")

    class Meta:
        ordering = ["-started_at", "-id"]
        default_permissions = ("view",)
        # Here and not at the fields, where text gets a second index for LIKE: each costs every insert.
        constraints = [models.UniqueConstraint(fields=["decision_id"], name="one_record_of_a_decision")]
        indexes = [
            models.Index(fields=["request_id"], name="record_by_request_id"),
            models.Index(fields=["-started_at", "-id"], name="record_newest"),
            models.Index(fields=["canonical_model", "-started_at"], name="record_by_model"),
            models.Index(fields=["selected_provider_name", "-started_at"], name="record_by_provider"),
            models.Index(fields=["caller_id", "-started_at"], name="record_by_caller"),
            models.Index(fields=["caller_name", "-started_at"], name="record_by_caller_name"),
            # The few that are not like most, found among millions; an ordinary row costs nothing here.
            models.Index(
                fields=["requested_model", "-started_at"],
                condition=models.Q(canonical_model=""),
                name="record_by_exact_model",
            ),
            models.Index(
                fields=["status", "-started_at"], condition=models.Q(status__gt=200), name="record_not_200"
            ),
            models.Index(
                fields=["outcome", "-started_at"], condition=~models.Q(outcome="ok"), name="record_not_ok"
            ),
            models.Index(
                fields=["-started_at"], condition=models.Q(failover_used=True), name="record_failovers"
            ),
            models.Index(
                fields=["-started_at"], condition=models.Q(source="try_it"), name="record_of_operators"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id}: {self.requested_model} {self.status}"


class TrafficSlice(models.Model):
    """What one worker counted in the ten seconds up to ``at``; kept for an hour.

    Written by ``proxying.traffic_store``. ``proxying.traffic_rollup`` sums those of all workers into one row
    without a worker, and empties and marks what it has summed: a worker that writes it again, for it did not
    hear that it was stored, then still finds it.

    ``pools`` is as ``proxying.traffic.as_json`` makes it; ``in_flight`` has calls under way by provider.
    """

    at = models.DateTimeField(db_index=True)
    worker = models.CharField(max_length=32)
    pools = models.JSONField(default=dict)
    in_flight = models.JSONField(default=dict)
    rolled_up = models.BooleanField(default=False, db_default=False)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["worker", "at"], condition=models.Q(worker__gt=""), name="one_slice_of_a_worker"
            )
        ]

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S} of {self.worker or 'all workers'}"


class TrafficMinute(models.Model):
    """What all workers counted of one pool in the minute that began at ``at``.

    A late slice adds a row, so rows of one minute are summed. Every minute has a row of the pool ``""``
    (requests that reached no pool, often none): a minute without one is unknown, not idle.

    ``series`` is a list as ``proxying.traffic.as_json`` has it for a pool.
    """

    at = models.DateTimeField(db_index=True)
    pool = models.CharField(max_length=300)
    series = models.JSONField(default=list)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["pool", "at"], name="minute_of_pool")]

    def __str__(self) -> str:
        return f"{self.at:%H:%M} of {self.pool}"
