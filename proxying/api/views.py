"""``/admin/requests``: what became of each request, newest first."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any, ClassVar, Final

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from proxying.models import RequestRecord
from proxying.outcome import API, TRY_IT
from routing.api.answers import Answer, BlockedShape
from routing.api.base import AdminView
from routing.api.fields import OnOff
from routing.api.paging import Newest, PageQuery
from routing.api.permissions import Right
from routing.services import NotFound
from routing.types import Affinity, Endpoint

# What may be asked for, and what it means; the rest is in ``narrowed``.
EXACT: Final = {
    "request_id": "request_id",
    "decision_id": "decision_id",
    "requested_model": "requested_model",
    "canonical_model": "canonical_model",
    "endpoint": "endpoint",
    "outcome": "outcome",
    "error_code": "error_code",
    "affinity": "affinity",
    "failover_used": "failover_used",
    "streamed": "streamed",
    "caller_id": "caller_id",
    "caller": "caller_name",
    "source": "source",
    "since": "started_at__gte",
    "until": "started_at__lt",
    "min_latency_ms": "latency_ms__gte",
    "min_attempts": "attempt_count__gte",
}
# Those that have an index by time.
NAMES: Final = {
    "canonical_model": "canonical_model",
    "provider": "selected_provider_name",
    "caller": "caller_name",
    "caller_id": "caller_id",
}
# After its start; what began later than this after a request was recorded later, too.
RECORDED_WITHIN: Final = timedelta(days=1)
STATUS_CLASS: Final = r"\A([1-5]\d\d|[1-5]xx)\Z"


class RecordQuery(PageQuery):
    """Which records; filters narrow together."""

    request_id = serializers.CharField(required=False, max_length=128)
    decision_id = serializers.CharField(required=False, max_length=40)
    requested_model = serializers.CharField(required=False, max_length=300)
    canonical_model = serializers.CharField(required=False, max_length=300)
    provider = serializers.CharField(required=False, max_length=100, help_text="Who served, or failed last.")
    model = serializers.CharField(required=False, max_length=300, help_text="The exact upstream model.")
    endpoint = serializers.ChoiceField([one.value for one in Endpoint], required=False)
    status = serializers.RegexField(STATUS_CLASS, required=False, help_text="A status, or 4xx, 5xx …")
    outcome = serializers.CharField(required=False, max_length=20)
    error_code = serializers.CharField(required=False, max_length=100)
    affinity = serializers.ChoiceField([one.value for one in Affinity], required=False)
    failover_used = OnOff(required=False)
    streamed = OnOff(required=False)
    caller = serializers.CharField(required=False, max_length=150, help_text="The name of the client key.")
    caller_id = serializers.CharField(required=False, max_length=40)
    source = serializers.ChoiceField(  # type: ignore[assignment]  # DRF takes fields of this name
        [API, TRY_IT], required=False, help_text="A client, or an operator from the page Try it."
    )
    user_path = serializers.CharField(required=False, max_length=300, help_text="This path and all below.")
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    min_latency_ms = serializers.FloatField(required=False, min_value=0, max_value=1e9)
    min_attempts = serializers.IntegerField(required=False, min_value=0, max_value=1000)


class AttemptRecord(Answer):
    """One upstream call."""

    provider = serializers.CharField()
    model = serializers.CharField()
    started_at = serializers.FloatField(help_text="Unix seconds.")
    latency_ms = serializers.FloatField(allow_null=True)
    status = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_null=True, allow_blank=True)


class Record(serializers.ModelSerializer[RequestRecord]):
    """One request and what became of it."""

    blocked_candidates = BlockedShape(many=True)
    attempts = AttemptRecord(many=True)

    class Meta:
        model = RequestRecord
        exclude = ["id"]


class Requests(AdminView):
    """The records of requests, the last one recorded first. Prompts and answers are not in them."""

    serializer_class = Record
    rights: ClassVar = {"GET": Right.VIEW}
    models_seen = ("proxying.requestrecord",)

    @extend_schema(operation_id="list_requests", parameters=[RecordQuery], responses=Newest.described(Record))
    def get(self, request: Request) -> Response:
        """One page; `next` is the address of the page after."""
        query = RecordQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        rows = narrowed(RequestRecord.objects.all(), query.validated_data)
        # In the order of recording: that is unique, and a long request that ends later is not missed by
        # a script that reads on from where it was.
        return Newest("-id").answer(rows, request, self, shape)


class RequestDetail(AdminView):
    """One record, by the id in the header `x-request-id` or by its decision."""

    serializer_class = Record
    rights: ClassVar = {"GET": Right.VIEW}
    models_seen = ("proxying.requestrecord",)

    @extend_schema(operation_id="get_request", responses=Record)
    def get(self, request: Request, name: str) -> Response:
        """The newest record of this id: clients choose their request ids, and may use one twice."""
        row = RequestRecord.objects.filter(Q(request_id=name) | Q(decision_id=name)).first()
        if row is None:
            raise NotFound(f"There is no record of a request {name}.", code="record_not_found")
        return Response(shape(row))


def narrowed(rows: QuerySet[RequestRecord], said: dict[str, Any]) -> QuerySet[RequestRecord]:
    """The records that all filters leave; none when a name among them has no record at all.

    When a name was used last is asked first, by its index: in the order of recording PostgreSQL would look
    for it in every row since then.
    """
    for name, column in NAMES.items():
        if name in said:
            own = RequestRecord.objects.filter(Q((column, said[name]))).order_by("-started_at")
            last = own.values_list("started_at", flat=True).first()
            if last is None:
                return rows.none()
            later = RequestRecord.objects.filter(started_at__gt=last + RECORDED_WITHIN)
            first_later = later.order_by("started_at", "pk").values_list("pk", flat=True).first()
            if first_later is not None:
                rows = rows.filter(pk__lt=first_later)
    rows = rows.filter(**{column: said[name] for name, column in EXACT.items() if name in said})
    if "provider" in said:
        rows = rows.filter(selected_provider_name=said["provider"])
    if "model" in said:
        rows = rows.filter(selected_exact_model=said["model"])
    if "user_path" in said:
        path = said["user_path"].rstrip("/")
        rows = rows.filter(Q(user_path=path) | Q(user_path__startswith=f"{path}/"))
    if "status" in said:
        first = int(said["status"][0]) * 100
        is_class = said["status"].endswith("xx")
        rows = (
            rows.filter(status__gte=first, status__lt=first + 100)
            if is_class
            else rows.filter(status=int(said["status"]))
        )
    return rows


def shape(row: RequestRecord) -> dict[str, Any]:
    """One record as it is shown."""
    answer = {name: getattr(row, name) for name in _SHOWN}
    answer["started_at"] = row.started_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return answer


_SHOWN: Final = tuple(field.name for field in RequestRecord._meta.concrete_fields if field.name != "id")
