"""What the views of the admin API share: who writes and how, dry runs, the revision header."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from routing import live, queries, services
from routing.api.authentication import TokenUser
from routing.api.fields import WriteQuery
from routing.api.permissions import Right
from routing.document import as_json
from routing.impact import warnings
from routing.services.writing import Writing

WRITING: Final = ("reason", "confirm", "expected_revision", "dry_run")
REVISION_HEADER: Final = "X-Gateway-Revision"


class AdminView(APIView):
    """A view of the admin API. ``rights`` says, by method, what a caller must be allowed.

    ``models_seen`` names tables that a signed-in user needs Django's own permissions for besides.
    """

    rights: ClassVar[Mapping[str, Right]] = {}
    models_seen: ClassVar[tuple[str, ...]] = ()
    serializer_class: ClassVar[type[serializers.Serializer[Any]]]

    def get_serializer(self, *args: Any, **kwargs: Any) -> serializers.Serializer[Any]:
        """An empty body, for the browsable pages and the description."""
        return self.serializer_class(*args, **kwargs)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Say which revision is in force, for ``expected_revision``."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        if answer.status_code < 400:
            answer[REVISION_HEADER] = str(queries.head_revision())
        return answer


class Write:
    """One write of a request: the arguments for the service, and what the service reported."""

    def __init__(
        self, request: Request, body: Mapping[str, Any], query_shape: type[WriteQuery] = WriteQuery
    ) -> None:
        query = query_shape(data=request.query_params)
        query.is_valid(raise_exception=True)
        self.query: dict[str, Any] = query.validated_data
        said = {**self.query, **body}
        # Whoever asks for a dry run anywhere means it.
        self.dry_run: bool = any(part.get("dry_run", False) for part in (self.query, body))
        self.done: Writing | None = None
        self.how: services.How = {
            "actor": actor(request),
            "source": "api",
            "reason": said.get("reason", ""),
            "confirm": said.get("confirm", False),
            "expected_revision": said.get("expected_revision"),
            "dry_run": self.dry_run,
            "health": live.health(),
            "report": self._report,
        }

    def _report(self, writing: Writing) -> None:
        self.done = writing

    def rehearsal(self, *, with_changes: bool = True) -> Response:
        """The answer to a dry run: what would change."""
        writing = self.done
        impact = writing.impact if writing is not None else {}
        answer: dict[str, Any] = {"dry_run": True, "impact": impact}
        if with_changes and writing is not None:
            answer["changes"] = as_json(writing.changes)
        return Response(answer)

    @property
    def warnings(self) -> list[str]:
        """Pools that this write leaves with one selectable candidate or none."""
        return list(warnings(self.done.impact)) if self.done is not None and self.done.changes else []


def actor(request: Request) -> services.Actor:
    """Who asks, for the revisions."""
    user: Any = request.user
    kind = "token" if isinstance(user, TokenUser) else "user"
    return services.Actor(user.get_username(), kind)


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is said of the object, and what of the write."""
    own = {name: value for name, value in values.items() if name not in WRITING}
    return own, {name: values[name] for name in WRITING if name in values}


@contextmanager
def named(params: Mapping[str, str]) -> Iterator[None]:
    """Let refusals of services name a value as the API calls it."""
    try:
        yield
    except services.ServiceError as error:
        error.param = params.get(error.param or "", error.param)
        raise


def found(read: Callable[[], Any]) -> Any:
    """What a read finds.

    Raises:
        NotFound: nothing.
    """
    row = read()
    if row is None:
        raise NotFound
    return row
