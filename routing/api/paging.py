"""Long lists, newest first, page by page: a cursor does not shift when new rows arrive."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from django.db.models import QuerySet
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from routing.api.fields import Strict

_POSITION: Final = re.compile(r"-?[0-9]{1,19}")


class PageQuery(Strict):
    """Which page; filters of a list come besides."""

    cursor = serializers.CharField(required=False, help_text="From next or previous of a page.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=500, default=50)
    format = serializers.CharField(required=False, help_text="json or api (HTML).")


class Newest(CursorPagination):
    """Pages of 50, or of ``limit``."""

    page_size = 50
    max_page_size = 500
    page_size_query_param = "limit"

    def __init__(self, *ordering: str) -> None:
        self.ordering = ordering

    def decode_cursor(self, request: Request) -> Any:
        """The cursor of the query; one with a position that is no number was not made here.

        Raises:
            NotFound: it cannot be read.
        """
        cursor = super().decode_cursor(request)
        if cursor is not None and not _POSITION.fullmatch(str(cursor.position or 0)):
            raise NotFound(self.invalid_cursor_message)
        return cursor

    def answer(
        self, rows: QuerySet[Any], request: Request, view: APIView, shape: Callable[[Any], dict[str, Any]]
    ) -> Response:
        """One page: ``{"results", "next", "previous"}``, the last two as addresses or null."""
        page = self.paginate_queryset(rows, request, view) or []
        return Response(
            {
                "results": [shape(row) for row in page],
                "next": self.get_next_link(),
                "previous": self.get_previous_link(),
            }
        )

    @staticmethod
    def described(shape: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
        """The shape of a page of these."""
        page: serializers.Serializer[Any] = inline_serializer(
            f"{shape.__name__}Page",
            {
                "results": shape(many=True),
                "next": serializers.URLField(allow_null=True),
                "previous": serializers.URLField(allow_null=True),
            },
        )
        return page
