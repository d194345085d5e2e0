"""``/admin/routing-state``: the operator's switches, as one list over providers, pools and candidates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from routing import queries, services
from routing.api.answers import DryRun, SwitchEntry
from routing.api.base import AdminView, Write, split
from routing.api.fields import OnOff, Seconds, Strict, WriteBody, WriteQuery
from routing.api.permissions import Right
from routing.models import ModelPool, PoolCandidate, Provider
from routing.services.switches import Row

LONGEST_SWITCH_S: Final = 3_660 * 86_400.0
"""Ten years."""


_KINDS: Final = frozenset(services.SwitchKind)
_KINDS_WITH: Final = {
    "provider_name": {services.SwitchKind.PROVIDER, services.SwitchKind.POOL_CANDIDATE},
    "canonical_model": {services.SwitchKind.CANONICAL_MODEL, services.SwitchKind.POOL_CANDIDATE},
    "model": {services.SwitchKind.POOL_CANDIDATE},
}


class SwitchBody(WriteBody):
    """A switch to set. Names that the kind does not have are left out."""

    kind = serializers.CharField(
        max_length=20, help_text="provider, canonical_model or pool_candidate, in any letter case."
    )
    provider_name = serializers.CharField(required=False, allow_blank=True, max_length=100)
    canonical_model = serializers.CharField(required=False, allow_blank=True, max_length=300)
    model = serializers.CharField(required=False, allow_blank=True, max_length=300)
    enabled = OnOff()
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    expires_in_s = Seconds(most=LONGEST_SWITCH_S, required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a name that the kind does not have: who names a model does not mean its whole provider."""
        kind = attrs["kind"].strip().lower()
        for name, kinds in _KINDS_WITH.items():
            if attrs.get(name) and kind in _KINDS and kind not in kinds:
                raise serializers.ValidationError({name: f"A switch of the kind {kind} has no {name}."})
        return attrs


class SwitchKey(WriteBody):
    """Which switch to take back; the key may also stand in the query."""

    key = serializers.CharField(required=False, max_length=3_000)


class KeyQuery(WriteQuery):
    """Which switch, and how to write."""

    key = serializers.CharField(required=False, max_length=3_000, help_text="Here or in the body.")


class StateQuery(Strict):
    """What to list."""

    include = serializers.ChoiceField(["all"], required=False)
    format = serializers.CharField(required=False)


class RoutingState(AdminView):
    """Read, set and take back the switches of providers, canonical models and pool candidates.

    A timed switch (`expires_at` or `expires_in_s`) goes back by itself.
    """

    serializer_class = SwitchBody
    parser_classes = [JSONParser, FormParser, MultiPartParser]
    rights: ClassVar = {"GET": Right.VIEW, "PUT": Right.OPERATE, "DELETE": Right.OPERATE}

    @extend_schema(
        operation_id="list_routing_state",
        parameters=[OpenApiParameter("include", str, enum=["all"])],
        responses=SwitchEntry(many=True),
    )
    def get(self, request: Request) -> Response:
        """Every switch that somebody has set, by key; with `include=all`, every one with its effect."""
        query = StateQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        everything = query.validated_data.get("include") == "all"
        now = datetime.now(UTC)
        entries = []
        for row in queries.switches(everything=everything):
            shape = entry(row, now)
            if everything:
                shape["effective_enabled"] = is_effectively_on(row, now)
            entries.append(shape)
        return Response(sorted(entries, key=lambda shape: shape["key"]))

    @extend_schema(
        operation_id="set_switch",
        parameters=[WriteQuery],
        responses=PolymorphicProxySerializer(
            "SwitchSet", [SwitchEntry, DryRun], resource_type_field_name=None, many=False
        ),
    )
    def put(self, request: Request) -> Response:
        """Set a switch and answer the stored entry; a dry run answers the impact instead."""
        body = SwitchBody(data=request.data)
        body.is_valid(raise_exception=True)
        values, said = split(body.validated_data)
        expiry = {name: values.get(name) for name in ("expires_at", "expires_in_s")}
        write = Write(request, said)
        target = services.SwitchTarget(
            kind=values["kind"],
            provider_name=values.get("provider_name", ""),
            canonical_model=values.get("canonical_model", ""),
            model=values.get("model", ""),
        )
        result = services.set_switch(target=target, enabled=values["enabled"], **expiry, **write.how)
        if write.dry_run:
            return write.rehearsal(with_changes=False)
        answer = entry(result.row, datetime.now(UTC))
        if result.warnings:
            answer["warnings"] = list(result.warnings)
        return Response(answer)

    @extend_schema(
        operation_id="clear_switch",
        parameters=[KeyQuery],
        request=SwitchKey,
        responses={204: None, 200: DryRun},
    )
    def delete(self, request: Request) -> Response:
        """Back to the default: switched on, set by nobody."""
        body = SwitchKey(data=request.data)
        body.is_valid(raise_exception=True)
        values, said = split(body.validated_data)
        write = Write(request, said, KeyQuery)
        key = values.get("key") or write.query.get("key")
        if not key:
            raise serializers.ValidationError({"key": "Which switch? Give its key."})
        services.clear_switch(target=services.SwitchTarget.from_key(key), **write.how)
        return write.rehearsal(with_changes=False) if write.dry_run else Response(status=204)


def entry(row: Row, now: datetime) -> dict[str, Any]:
    """One switch as the API shows it."""
    shape: dict[str, Any] = {"key": services.switch_key(row), **_names(row), "enabled": is_on(row, now)}
    if row.switch_reason:
        shape["reason"] = row.switch_reason
    if row.switch_expires_at is not None:
        shape["expires_at"] = queries.instant_text(row.switch_expires_at)
    shape["created_at"] = queries.instant_text(row.switch_created_at)
    shape["updated_at"] = queries.instant_text(row.switch_updated_at)
    shape["updated_by"] = row.switch_updated_by or None
    return shape


def is_on(row: Row, now: datetime) -> bool:
    """What the switch of the row counts as: an expired one as the value before it."""
    expired = row.switch_expires_at is not None and row.switch_expires_at <= now
    return row.switch_base if expired else row.enabled


def is_effectively_on(row: Row, now: datetime) -> bool:
    """For a candidate: also its provider and its pool are switched on."""
    if isinstance(row, PoolCandidate):
        return is_on(row, now) and is_on(row.provider, now) and is_on(row.pool, now)
    return is_on(row, now)


def _names(row: Row) -> dict[str, str]:
    match row:
        case Provider():
            return {"kind": services.SwitchKind.PROVIDER.value, "provider_name": row.name}
        case ModelPool():
            return {
                "kind": services.SwitchKind.CANONICAL_MODEL.value,
                "canonical_model": row.canonical_model,
            }
        case _:
            return {
                "kind": services.SwitchKind.POOL_CANDIDATE.value,
                "provider_name": row.provider.name,
                "canonical_model": row.pool.canonical_model,
                "model": row.model,
            }
