"""The shapes of what the admin API answers, for its OpenAPI description; see ``routing.shapes`` for the code.

A field with ``required=False`` is absent when there is nothing to say.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from routing.api.fields import OnOff
from routing.services import SwitchKind
from routing.types import (
    Affinity,
    CandidateStatus,
    DiscoveryState,
    InventoryMode,
    PoolStatus,
    Reason,
    RuntimeClass,
    Strategy,
    WhenAllBlocked,
)


class Answer(serializers.Serializer[Any]):
    """Something that is only ever answered."""


class ErrorDetails(Answer):
    """What was refused and why; `pools`, `impact` and `details` come with conflicts."""

    message = serializers.CharField()
    type = serializers.CharField()
    param = serializers.CharField(allow_null=True)
    code = serializers.CharField(allow_null=True)
    pools = serializers.ListField(child=serializers.CharField(), required=False)
    impact = serializers.JSONField(required=False)
    details = serializers.ListField(child=serializers.JSONField(), required=False)


class Error(Answer):
    """The envelope of every refusal."""

    error = ErrorDetails()


class PoolImpact(Answer):
    """What becomes of one pool; null: it is not there."""

    canonical_model = serializers.CharField()
    selectable_before = serializers.IntegerField()
    selectable_after = serializers.IntegerField()
    status_after = serializers.ChoiceField(list(PoolStatus), allow_null=True)
    effective_before = serializers.CharField(allow_null=True)
    effective_after = serializers.CharField(allow_null=True)


class Impact(Answer):
    """The pools that change, and the names that leave or join the models list."""

    pools = PoolImpact(many=True)
    models_leaving = serializers.ListField(child=serializers.CharField())
    models_joining = serializers.ListField(child=serializers.CharField())


class Changed(Answer):
    """One field of one object; an object that came or went has the field `*`."""

    object = serializers.CharField()
    field = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class DryRun(Answer):
    """What a write would do; nothing was written."""

    dry_run = serializers.BooleanField()
    impact = Impact()
    changes = Changed(many=True, required=False)


class SwitchEntry(Answer):
    """One switch."""

    key = serializers.CharField()
    kind = serializers.ChoiceField(list(SwitchKind))
    provider_name = serializers.CharField(required=False)
    canonical_model = serializers.CharField(required=False)
    model = serializers.CharField(required=False)
    enabled = OnOff()
    reason = serializers.CharField(required=False)
    expires_at = serializers.DateTimeField(required=False)
    created_at = serializers.DateTimeField(allow_null=True)
    updated_at = serializers.DateTimeField(allow_null=True)
    updated_by = serializers.CharField(allow_null=True)
    effective_enabled = OnOff(required=False, help_text="Only with include=all.")
    warnings = serializers.ListField(child=serializers.CharField(), required=False)


class ReasonShape(Answer):
    """One reason with its sentence."""

    code = serializers.ChoiceField(list(Reason))
    message = serializers.CharField()


class CircuitShape(Answer):
    """What live outcomes say of a model, or of a credential."""

    model = serializers.CharField(required=False, help_text="Absent: the circuit of the credential.")
    state = serializers.CharField()
    failures = serializers.IntegerField()
    until = serializers.DateTimeField(required=False)
    cause = serializers.CharField(required=False)


class CandidateShape(Answer):
    """One candidate of a pool."""

    selector = serializers.CharField()
    provider_name = serializers.CharField()
    provider_type = serializers.CharField()
    model = serializers.CharField()
    priority = serializers.IntegerField()
    weight = serializers.IntegerField()
    share = serializers.FloatField(required=False)
    provider_enabled = serializers.BooleanField()
    candidate_enabled = serializers.BooleanField()
    effective_enabled = serializers.BooleanField()
    selectable = serializers.BooleanField()
    status = serializers.ChoiceField(list(CandidateStatus))
    status_reason = serializers.CharField(required=False)
    reasons = ReasonShape(many=True)
    provider_runtime_status = serializers.ChoiceField(list(RuntimeClass), required=False)
    provider_last_error = serializers.CharField(required=False)
    circuit = CircuitShape(required=False)
    recovers_at = serializers.DateTimeField(required=False)
    is_config_primary = serializers.BooleanField()
    is_effective_candidate = serializers.BooleanField()


class ExplainedCandidate(CandidateShape):
    """One candidate with its place in the order."""

    order = serializers.IntegerField(allow_null=True, help_text="1 is tried first; null is not tried.")


class BlockedShape(Answer):
    """A candidate that was left out; `reason` is the first of its reasons, as a sentence."""

    selector = serializers.CharField()
    status = serializers.ChoiceField(list(CandidateStatus))
    reason = serializers.CharField(allow_blank=True)
    reasons = serializers.ListField(child=serializers.ChoiceField(list(Reason)))


class FailoverShape(Answer):
    """When the next candidate is tried."""

    enabled = serializers.BooleanField()
    max_attempts = serializers.IntegerField()
    retry_on_statuses = serializers.ListField(child=serializers.IntegerField())
    retry_on_model_errors = serializers.BooleanField()


class PoolShape(Answer):
    """One pool as it stands now."""

    canonical_model = serializers.CharField()
    enabled = serializers.BooleanField()
    strategy = serializers.ChoiceField(list(Strategy))
    status = serializers.ChoiceField(list(PoolStatus))
    status_reason = serializers.CharField(required=False)
    effective_candidate = serializers.CharField(required=False)
    effective_provider_name = serializers.CharField(required=False)
    config_primary_candidate = serializers.CharField(required=False)
    config_primary_provider_name = serializers.CharField(required=False)
    blocked_candidates = BlockedShape(many=True)
    session_affinity = serializers.BooleanField()
    session_affinity_ttl_s = serializers.IntegerField()
    failover = FailoverShape()
    when_all_blocked = serializers.ChoiceField(list(WhenAllBlocked))
    revision = serializers.IntegerField()
    candidates = CandidateShape(many=True)


class AttemptShape(Answer):
    """One upstream call that would be made."""

    candidate = serializers.CharField()
    provider = serializers.CharField()
    model = serializers.CharField()
    assumed = serializers.BooleanField()
    status = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(required=False)
    fails_over = serializers.BooleanField(required=False)


class DecisionShape(Answer):
    """The decision that the request would get."""

    decision_id = serializers.CharField()
    requested_model = serializers.CharField()
    canonical_model = serializers.CharField()
    matched_by = serializers.ChoiceField(["pool", "alias", "exact", "bare", "none"])
    strategy = serializers.ChoiceField(list(Strategy))
    config_primary = serializers.CharField(allow_null=True)
    effective_candidate = serializers.CharField(allow_null=True)
    selected_provider_name = serializers.CharField(allow_null=True)
    selected_exact_model = serializers.CharField(allow_null=True)
    order = serializers.ListField(child=serializers.CharField())
    blocked_candidates = BlockedShape(many=True)
    affinity = serializers.ChoiceField(list(Affinity))
    revision = serializers.IntegerField()
    slot = serializers.IntegerField(required=False)
    attempts = AttemptShape(many=True)
    failover_used = serializers.BooleanField()
    fallback_target = serializers.CharField(allow_null=True)
    steps = serializers.ListField(child=serializers.CharField())


class OutcomeShape(Answer):
    """What the client would get."""

    status = serializers.IntegerField()
    code = serializers.CharField(required=False)
    message = serializers.CharField(required=False)
    retry_after_s = serializers.FloatField(required=False)
    served_by = serializers.CharField(required=False)


class PoolBrief(Answer):
    """The pool that decides."""

    canonical_model = serializers.CharField()
    status = serializers.ChoiceField(list(PoolStatus))
    status_reason = serializers.CharField(allow_blank=True)
    synthetic = serializers.BooleanField(help_text="An exact or bare name: a pool of one.")


class ExplanationShape(Answer):
    """Everything about one request."""

    decision = DecisionShape()
    candidates = ExplainedCandidate(many=True)
    policy = serializers.JSONField(help_text="Each value in force with its source.")
    pool = PoolBrief(required=False)
    outcome = OutcomeShape()
    listed = serializers.BooleanField()
    not_listed_because = serializers.CharField(required=False)
    suggestions = serializers.ListField(child=serializers.CharField(), required=False)


class StatusSummary(Answer):
    """How many providers are how."""

    total = serializers.IntegerField()
    healthy = serializers.IntegerField()
    degraded = serializers.IntegerField()
    unhealthy = serializers.IntegerField()
    disabled = serializers.IntegerField()
    overall_status = serializers.ChoiceField([*RuntimeClass, "disabled", "unknown"])


class CredentialShape(Answer):
    """What is known of a provider's credential."""

    state = serializers.ChoiceField(["set", "none", "missing", "refused", "on_trial"])
    shown = serializers.CharField(allow_blank=True, help_text="The reference, or how a stored key ends.")
    cause = serializers.CharField(required=False)
    until = serializers.DateTimeField(required=False)


class InventoryShape(Answer):
    """What model discovery found."""

    mode = serializers.ChoiceField(list(InventoryMode))
    state = serializers.ChoiceField(list(DiscoveryState))
    listable = serializers.BooleanField()
    configured = serializers.IntegerField()
    discovered = serializers.IntegerField()
    shown = serializers.IntegerField()
    failures = serializers.IntegerField()
    checked_at = serializers.DateTimeField(required=False)
    failing_since = serializers.DateTimeField(required=False)
    error = serializers.CharField(required=False)


class SwitchShape(Answer):
    """A switch that somebody has set."""

    enabled = serializers.BooleanField()
    reason = serializers.CharField(required=False)
    expires_at = serializers.DateTimeField(required=False)
    updated_by = serializers.CharField(required=False)
    updated_at = serializers.DateTimeField(required=False, allow_null=True)


class ProviderStatus(Answer):
    """One provider."""

    name = serializers.CharField()
    type = serializers.CharField()
    type_label = serializers.CharField()
    enabled = serializers.BooleanField()
    status = serializers.ChoiceField([*RuntimeClass, "disabled"])
    runtime_status = serializers.ChoiceField(list(RuntimeClass))
    status_reason = serializers.CharField(required=False)
    last_error = serializers.CharField(required=False)
    credential = CredentialShape()
    inventory = InventoryShape()
    circuits = CircuitShape(many=True)
    in_flight = serializers.IntegerField()
    max_in_flight = serializers.IntegerField(required=False)
    busy = serializers.BooleanField()
    pools = serializers.ListField(child=serializers.CharField())
    models_used = serializers.ListField(child=serializers.CharField())
    switch = SwitchShape(required=False)
    last_success_at = serializers.DateTimeField(required=False)


class SkippedShape(Answer):
    """A row that cannot be used."""

    object = serializers.CharField()
    problem = serializers.CharField()


class EventShape(Answer):
    """A change of health."""

    at = serializers.DateTimeField()
    provider_name = serializers.CharField()
    event = serializers.CharField()
    model = serializers.CharField(required=False)
    cause = serializers.CharField(required=False)
    until = serializers.DateTimeField(required=False)


class ProvidersStatus(Answer):
    """All providers."""

    summary = StatusSummary()
    providers = ProviderStatus(many=True)
    skipped = SkippedShape(many=True)
    events = EventShape(many=True)


class RevisionShape(Answer):
    """One change of the configuration."""

    number = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    actor = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field of this name, not an option
    reason = serializers.CharField(allow_blank=True)
    summary = serializers.CharField()
    reverts = serializers.IntegerField(required=False)


class RevisionDetail(RevisionShape):
    """One change with all that it changed."""

    changes = Changed(many=True)


class Reverted(Answer):
    """The new revision that undid an old one."""

    revision = serializers.IntegerField()
    changes = Changed(many=True)
    warnings = serializers.ListField(child=serializers.CharField(), required=False)
