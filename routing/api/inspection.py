"""Looking at the live routing: pools, providers, and what a request would get. Nothing here writes (T2)."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from routing import live, queries, shapes
from routing.api.answers import ExplanationShape, PoolShape, ProvidersStatus
from routing.api.base import AdminView
from routing.api.fields import Strict
from routing.api.permissions import Right
from routing.explain import Assumption, parse_answer
from routing.inquiry import Question, QuestionError, explain
from routing.provider_status import HealthReport, providers_status
from routing.resolver import Resolver, Survey
from routing.types import Endpoint


async def _survey(resolver: Resolver) -> Survey:
    return await resolver.survey()


async def _health_report(resolver: Resolver) -> HealthReport:
    return await resolver.health_report()


class ModelPools(AdminView):
    """Every pool as it stands now: status, candidates, all reasons, and who would be next.

    `effective_candidate` is what the next request without a pin would get; looking at it takes no turn.
    """

    serializer_class = PoolShape
    rights: ClassVar = {"GET": Right.VIEW}

    @extend_schema(operation_id="list_model_pools", responses=PoolShape(many=True))
    def get(self, request: Request) -> Response:
        """Every pool, by canonical name."""
        survey = live.ask(_survey)
        return Response(
            [
                shapes.pool(
                    decision.evaluation, survey.table, survey.health, survey.now, decision.effective_candidate
                )
                for decision in sorted(survey.decisions, key=lambda one: one.canonical_model)
                if decision.evaluation is not None
            ]
        )


class ProvidersState(AdminView):
    """Every provider with its class, what that rests on, and what uses it.

    `in_flight` and `events` are those of the worker that answers.
    """

    serializer_class = ProvidersStatus
    rights: ClassVar = {"GET": Right.VIEW}

    @extend_schema(operation_id="get_providers_status", responses=ProvidersStatus)
    def get(self, request: Request) -> Response:
        """A summary, and the providers by name."""
        report = live.ask(_health_report)
        answer = providers_status(report)
        stored = queries.credential_texts()
        for shape in answer["providers"]:
            shape["credential"]["shown"] = stored.get(shape["name"], "")
            shape["models_used"] = sorted(
                {
                    candidate.model
                    for pool in report.table.pools.values()
                    for candidate in pool.candidates
                    if candidate.provider == shape["name"]
                }
            )
        return Response(answer)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "enum": ["timeout", "connect", "protocol"]},
        ]
    }
)
class AnswerField(serializers.Field):  # type: ignore[type-arg]  # two types in, two types out
    """A status, or the word for an attempt that got none."""

    def to_internal_value(self, data: Any) -> int | str:
        """The answer as ``routing.explain`` takes it."""
        try:
            return parse_answer(data)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error

    def to_representation(self, value: Any) -> Any:
        """The answer itself."""
        return value


class AssumptionBody(Strict):
    """What one candidate is assumed to answer."""

    candidate = serializers.CharField(max_length=500, help_text="provider/model")
    status = AnswerField()


class QuestionBody(Strict):
    """The request to explain."""

    model = serializers.CharField(max_length=500)
    user_path = serializers.CharField(required=False, allow_blank=True, max_length=300)
    session_id = serializers.CharField(required=False, allow_blank=True, max_length=500)
    api_key_id = serializers.CharField(
        required=False, allow_blank=True, max_length=40, help_text="The client key that would send it."
    )
    provider = serializers.CharField(required=False, allow_null=True, max_length=100)
    endpoint = serializers.ChoiceField([one.value for one in Endpoint], default=Endpoint.CHAT.value)
    assume = AssumptionBody(many=True, required=False)


class Explain(AdminView):
    """The decision that a request would get now, with everything that led to it. It changes nothing.

    With `assume`, also what a failover would do. Who may look may ask.
    """

    serializer_class = QuestionBody
    parser_classes = [JSONParser, FormParser, MultiPartParser]
    rights: ClassVar = {"POST": Right.VIEW}

    @extend_schema(operation_id="explain", responses={200: ExplanationShape})
    def post(self, request: Request) -> Response:
        """Explain one request."""
        body = QuestionBody(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        question = Question(
            model=values["model"],
            user_path=values.get("user_path", ""),
            session_id=values.get("session_id", ""),
            api_key_id=values.get("api_key_id", ""),
            provider=values.get("provider") or None,
            endpoint=Endpoint(values["endpoint"]),
            assumptions=tuple(
                Assumption(one["candidate"], one["status"]) for one in values.get("assume", ())
            ),
        )
        try:
            return Response(live.ask(lambda resolver: explain(resolver, question)))
        except QuestionError as error:
            raise serializers.ValidationError({error.param: error.message}) from error
