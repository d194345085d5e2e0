"""What can be configured, as the API takes and shows it: shapes only, the rules are the services'."""

from __future__ import annotations

from typing import Any, Final

from rest_framework import serializers

from routing import refusals
from routing.api.answers import Answer
from routing.api.fields import (
    OnOff,
    OptionText,
    Seconds,
    Status,
    Strict,
    Whole,
    WholeSeconds,
    Word,
    WriteBody,
)
from routing.kinds import KINDS
from routing.types import DiscoveryState, InventoryMode, Strategy, WhenAllBlocked

NOT_LIST: Final = {"not_a_list": refusals.sentence(refusals.NOT_LIST)}
NOT_MAPPING: Final = {"not_a_dict": refusals.sentence(refusals.NOT_MAPPING)}


def names(**kwargs: Any) -> serializers.ListField:
    """A list of model names."""
    return serializers.ListField(
        child=serializers.CharField(max_length=300), error_messages={**NOT_LIST}, **kwargs
    )


class SetBy(Answer):
    """Who set a switch; instants and reason where there are any."""

    reason = serializers.CharField(required=False)
    expires_at = serializers.DateTimeField(required=False)
    updated_by = serializers.CharField()
    updated_at = serializers.DateTimeField()


class Discovered(Answer):
    """What the last model discovery found."""

    state = serializers.ChoiceField(list(DiscoveryState))
    models = serializers.IntegerField()
    checked_at = serializers.DateTimeField(allow_null=True)
    failures = serializers.IntegerField()
    error = serializers.CharField(required=False)


class Kind(serializers.ChoiceField):
    """A kind of provider."""

    def to_internal_value(self, data: Any) -> Any:
        """Its name."""
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(
                refusals.sentence(refusals.unknown_type(str(data), self.choices))
            )
        return data


class ProviderBody(WriteBody):
    """One upstream account. `credential` is taken and never shown; left out, the stored one stays."""

    name = serializers.CharField(max_length=100)
    kind = Kind(list(KINDS))
    base_url = serializers.CharField(max_length=500, allow_blank=True, default="")
    credential = serializers.CharField(
        write_only=True,
        required=False,
        allow_blank=True,
        max_length=8_192,
        help_text="A reference such as ${OPENAI_API_KEY}, or a key; empty removes it.",
    )
    credential_status = serializers.CharField(read_only=True, help_text="The reference, or how a key ends.")
    configured_models = names(default=list)
    options = serializers.DictField(child=OptionText(), default=dict, error_messages={**NOT_MAPPING})
    connect_timeout_s = Seconds(allow_null=True, default=None)
    first_byte_timeout_s = Seconds(allow_null=True, default=None)
    idle_timeout_s = Seconds(allow_null=True, default=None)
    total_timeout_s = Seconds(allow_null=True, default=None)
    max_in_flight = Whole(allow_null=True, default=None)
    enabled = OnOff(required=False)
    switch = SetBy(read_only=True, allow_null=True)
    discovery = Discovered(read_only=True)
    pools = serializers.IntegerField(read_only=True, help_text="How many pools use it.")
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def validate_options(self, value: dict[str, str]) -> dict[str, str]:
        """Names as a database can keep them: a NUL or half a surrogate pair is no name."""
        if not all(name.isprintable() for name in value):
            raise serializers.ValidationError("The name of an option is printable text.")
        return value


class FailoverBody(Strict):
    """Failover; null: as in the defaults."""

    enabled = OnOff(allow_null=True, default=None)
    max_attempts = Whole(allow_null=True, default=None)
    retry_on_statuses = serializers.ListField(
        child=Status(), allow_null=True, default=None, error_messages={**NOT_LIST}
    )
    retry_on_model_errors = OnOff(allow_null=True, default=None)


class PolicyBody(WriteBody):
    """How to route; null: as in the defaults, and in the defaults: the built-in value."""

    strategy = Word(Strategy, "strategy", allow_null=True, default=None)
    session_affinity = OnOff(allow_null=True, default=None)
    session_affinity_ttl_s = WholeSeconds(allow_null=True, default=None)
    failover = FailoverBody(required=False)
    when_all_blocked = Word(WhenAllBlocked, "word", allow_null=True, default=None)


class CandidateBody(Strict):
    """One candidate of a pool; without `enabled` its switch stays as it is."""

    provider_name = serializers.CharField(max_length=100)
    model = serializers.CharField(max_length=300)
    priority = Whole(most=refusals.MAX_RANK, default=1)
    weight = Whole(most=refusals.MAX_RANK, default=1)
    enabled = OnOff(required=False)
    switch = SetBy(read_only=True, allow_null=True)


class PoolBody(PolicyBody):
    """One canonical model with all its candidates: a list that is given replaces the one there is."""

    canonical_model = serializers.CharField(max_length=300)
    description = serializers.CharField(max_length=500, allow_blank=True, default="")
    enabled = OnOff(required=False)
    switch = SetBy(read_only=True, allow_null=True)
    candidates = CandidateBody(many=True)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)


class DefaultsBody(PolicyBody):
    """What holds where a pool says nothing."""

    configured_provider_models_mode = Word(InventoryMode, "mode", default=InventoryMode.FALLBACK.value)


class AliasBody(WriteBody):
    """Another public name, leading to a canonical model or an exact `provider/model`."""

    name = serializers.CharField(max_length=300)
    target = serializers.CharField(max_length=400)
    created_at = serializers.DateTimeField(read_only=True)


class KeyBody(WriteBody):
    """What keys and tokens have in common."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=150)
    prefix = serializers.CharField(read_only=True)
    enabled = OnOff(default=True)
    expires_at = serializers.DateTimeField(allow_null=True, default=None)
    created_at = serializers.DateTimeField(read_only=True)
    created_by = serializers.CharField(read_only=True)


class ClientKeyBody(KeyBody):
    """A key for `/v1`."""

    user_path = serializers.CharField(max_length=300, allow_blank=True, default="")
    models = names(default=list)


class ClientKeyMade(ClientKeyBody):
    """A new key for `/v1`; `key` is shown this once."""

    key = serializers.CharField(read_only=True)


class AdminTokenBody(KeyBody):
    """A token for `/admin`."""

    read_only = OnOff(default=False)  # type: ignore[assignment]  # a field of this name, not an option


class AdminTokenMade(AdminTokenBody):
    """A new token for `/admin`; `key` is shown this once."""

    key = serializers.CharField(read_only=True)
