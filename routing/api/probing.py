"""Model discovery on demand."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from routing import probes
from routing.api.answers import Answer
from routing.api.base import AdminView
from routing.api.fields import Strict
from routing.api.permissions import Right
from routing.types import DiscoveryState, RuntimeClass


class ProbeBody(Strict):
    """Whom to ask, and whether to keep what they say."""

    names = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        allow_empty=False,
        help_text="Without it, all providers that are switched on.",
    )
    keep = serializers.BooleanField(default=True, help_text="False tests the connection only.")


class ProbeShape(Answer):
    """What asking one provider gave."""

    provider_name = serializers.CharField()
    type = serializers.CharField()
    result = serializers.ChoiceField([*DiscoveryState, "not_asked"])
    models = serializers.IntegerField(allow_null=True)
    latency_ms = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField([*RuntimeClass, "disabled"])
    message = serializers.CharField()


class ProbesShape(Answer):
    """All that were asked, by name."""

    results = ProbeShape(many=True)


class ProviderProbes(AdminView):
    """Ask providers for their models now: ten seconds each at most, eight at a time.

    A provider that is switched off is not asked, nor is any while the inventory mode is `allowlist`.
    """

    serializer_class = ProbeBody
    rights: ClassVar = {"POST": Right.OPERATE}

    @extend_schema(operation_id="probe_providers", responses={200: ProbesShape})
    def post(self, request: Request) -> Response:
        """Ask all, or those named."""
        body = ProbeBody(data=request.data)
        body.is_valid(raise_exception=True)
        names, keep = body.validated_data.get("names"), body.validated_data["keep"]
        try:
            found = probes.discover(names) if keep else probes.check_connections(names)
        except probes.UnknownProviderError as error:
            raise serializers.ValidationError({"names": str(error)}) from error
        return Response({"results": probes.described(found)})
