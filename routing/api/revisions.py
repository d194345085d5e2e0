"""``/admin/routing/revisions``: the one history of the configuration."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from routing import queries, services
from routing.api.answers import Reverted, RevisionDetail, RevisionShape
from routing.api.base import AdminView, Write, split
from routing.api.fields import LARGEST_NUMBER, Strict, WriteBody, WriteQuery
from routing.api.paging import Newest, PageQuery
from routing.api.permissions import HasRight, Right, may_undo
from routing.config_export import render
from routing.document import as_json, from_json
from routing.models import RoutingRevision


class RevisionQuery(PageQuery):
    """Which revisions."""

    actor = serializers.CharField(required=False, max_length=150)
    source = serializers.CharField(required=False, max_length=30)  # type: ignore[assignment]  # a field
    object = serializers.CharField(
        required=False, max_length=3_000, help_text="An object key, for example pool/gpt-5."
    )
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


FILTERS = {
    "actor": "actor",
    "source": "source",
    "since": "created_at__gte",
    "until": "created_at__lt",
}


class Revisions(AdminView):
    """The history, newest first; `next` is the address of the page after."""

    serializer_class = RevisionShape
    rights: ClassVar = {"GET": Right.VIEW}

    @extend_schema(
        operation_id="list_revisions", parameters=[RevisionQuery], responses=Newest.described(RevisionShape)
    )
    def get(self, request: Request) -> Response:
        """One page of revisions."""
        query = RevisionQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        said = query.validated_data
        rows = queries.revisions().filter(**{FILTERS[name]: said[name] for name in FILTERS if name in said})
        if "object" in said:
            rows = queries.revisions_of(rows, said["object"])
        return Newest("-number").answer(rows, request, self, shape)


class Revision(AdminView):
    """One revision with its changes."""

    serializer_class = RevisionDetail
    rights: ClassVar = {"GET": Right.VIEW}

    @extend_schema(operation_id="get_revision", responses=RevisionDetail)
    def get(self, request: Request, number: int) -> Response:
        """The revision and what it changed."""
        row = get_revision(number)
        return Response({**shape(row), "changes": row.changes})


class RevertBody(WriteBody):
    """How to revert."""


class Revert(AdminView):
    """Undo a revision by a new one."""

    serializer_class = RevertBody
    rights: ClassVar = {"POST": Right.CONFIGURE}

    @extend_schema(
        operation_id="revert_revision",
        parameters=[WriteQuery],
        responses={200: Reverted},
    )
    def post(self, request: Request, number: int) -> Response:
        """Undo it; 409 when a later revision touched the same fields. A dry run answers the impact."""
        body = RevertBody(data=request.data)
        body.is_valid(raise_exception=True)
        _, said = split(body.validated_data)
        write = Write(request, said)
        if not may_undo(request.user, from_json(get_revision(number).changes)):
            raise PermissionDenied(HasRight.message)
        if not write.how.get("reason"):
            del write.how["reason"]
        applied = services.revert_revision(number=min(number, LARGEST_NUMBER), **write.how)
        if write.dry_run:
            return write.rehearsal()
        answer: dict[str, Any] = {"revision": applied.revision, "changes": as_json(applied.changes)}
        if write.warnings:
            answer["warnings"] = write.warnings
        return Response(answer)


class Export(AdminView):
    """The configuration as it was at a revision, as a file for `import_config`."""

    rights: ClassVar = {"GET": Right.VIEW}
    serializer_class = Strict

    @extend_schema(
        operation_id="export_revision",
        responses={(200, "application/yaml"): OpenApiResponse(OpenApiTypes.OBJECT)},
    )
    def get(self, request: Request, number: int) -> HttpResponse:
        """The file."""
        row = get_revision(number)
        text = render(queries.document_at(row.number))
        name = f"gateway-revision-{row.number}.yaml"
        return HttpResponse(
            text,
            content_type="application/yaml",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


def get_revision(number: int) -> RoutingRevision:
    """The revision of this number.

    Raises:
        NotFound: there is none.
    """
    row = queries.revisions().filter(pk=min(number, LARGEST_NUMBER)).first()
    if row is None:
        raise services.NotFound(f"There is no revision {number}.", code="revision_not_found")
    return row


def shape(row: RoutingRevision) -> dict[str, Any]:
    """One revision without its changes."""
    answer: dict[str, Any] = {
        "number": row.number,
        "created_at": queries.instant_text(row.created_at),
        "actor": row.actor,
        "source": row.source,
        "reason": row.reason,
        "summary": row.summary,
    }
    if row.reverts is not None:
        answer["reverts"] = row.reverts
    return answer
