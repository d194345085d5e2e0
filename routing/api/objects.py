"""``/admin/api/<plural>/``: what is configured, as objects to list, make, change and delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from django.db import transaction
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from routing import services
from routing.api.answers import DryRun
from routing.api.base import AdminView, Write, named, split
from routing.api.fields import WriteBody, WriteQuery
from routing.api.permissions import Right
from routing.api.rows import Shape
from routing.services.writing import lock_head

ViewClass = TypeVar("ViewClass", bound=type[AdminView])


class Desk(AdminView):
    """What one kind of object needs: how it is found, shown, saved and removed.

    ``params`` maps the columns that services name in refusals to the names of the API.
    """

    serializer_class: ClassVar[type[WriteBody]]
    noun: ClassVar[str]
    id_field: ClassVar[str] = "name"
    not_found_code: ClassVar[str]
    params: ClassVar[Mapping[str, str]] = {}

    def rows(self) -> Iterable[Any]:
        """All of them, in the order of the list."""
        raise NotImplementedError

    def find(self, name: Any) -> Any:
        """The one of this name, or None."""
        raise NotImplementedError

    def shape(self, row: Any) -> Shape:
        """One as it is shown."""
        raise NotImplementedError

    def save(self, name: str, values: Mapping[str, Any], write: Write, *, whole: bool) -> None:
        """Let the service save it; ``whole``: what ``values`` lacks goes back to its default."""
        raise NotImplementedError

    def remove(self, name: str, how: services.How) -> None:
        """Let the service delete it."""
        raise NotImplementedError

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Show it."""
        raise NotImplementedError

    def shown(self, name: Any, status: int = 200) -> Response:
        """The answer that shows one object."""
        row = self.find(name)
        if row is None:
            raise services.NotFound(f"There is no {self.noun} {name}.", code=self.not_found_code)
        return Response(self.serializer_class(self.shape(row)).data, status=status)

    def taken(self, request: Request, *, partial: bool = False, named: bool = False) -> Any:
        """The checked body; with ``named`` the address has the name, and the body may leave it out."""
        body = self.serializer_class(data=request.data, partial=partial)
        if named:
            body.fields[self.id_field].required = False
        body.is_valid(raise_exception=True)
        return body.validated_data


class Collection(Desk):
    """All objects of a kind."""

    rights: ClassVar = {"GET": Right.VIEW, "POST": Right.CONFIGURE}

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List them."""
        shapes = [self.shape(row) for row in self.rows()]
        return Response(self.serializer_class(shapes, many=True).data)

    def post(self, request: Request) -> Response:
        """Make one; 409 when the name is taken."""
        values, said = split(self.taken(request))
        write = Write(request, said)
        name = values.pop(self.id_field)
        with transaction.atomic():
            lock_head()
            if self.find(name) is not None:
                raise services.Conflict(
                    f"There is a {self.noun} {name} already.", param=self.id_field, code="already_exists"
                )
            with named(self.params):
                self.save(name, values, write, whole=True)
        return write.rehearsal() if write.dry_run else self.shown(name, 201)


class Item(Desk):
    """One object, by name."""

    rights: ClassVar = {
        "GET": Right.VIEW,
        "PUT": Right.CONFIGURE,
        "PATCH": Right.CONFIGURE,
        "DELETE": Right.CONFIGURE,
    }

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Show it."""
        return self.shown(kwargs["name"])

    def put(self, request: Request, name: str) -> Response:
        """Make it, or replace all that is configured of it; its switch and its credential stay."""
        return self._write(request, name, whole=True)

    def patch(self, request: Request, name: str) -> Response:
        """Change what the body has."""
        return self._write(request, name, whole=False)

    def delete(self, request: Request, name: str) -> Response:
        """Delete it; 409 while something uses it."""
        body = WriteBody(data=request.data)
        body.is_valid(raise_exception=True)
        write = Write(request, body.validated_data)
        self.remove(name, write.how)
        return write.rehearsal() if write.dry_run else Response(status=204)

    def _write(self, request: Request, name: str, *, whole: bool) -> Response:
        values, said = split(self.taken(request, partial=not whole, named=True))
        if values.pop(self.id_field, name) != name:
            raise serializers.ValidationError({self.id_field: "The address has another name."})
        write = Write(request, said)
        with transaction.atomic():
            lock_head()
            is_new = self.find(name) is None
            if is_new and not whole:
                return self.shown(name)  # a 404
            with named(self.params):
                self.save(name, values, write, whole=whole)
        return write.rehearsal() if write.dry_run else self.shown(name, 201 if is_new else 200)


def _or_dry_run(shape: type[serializers.Serializer[Any]]) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(
        f"{shape.__name__}OrDryRun", [shape, DryRun], resource_type_field_name=None, many=False
    )


def described(plural: str, singular: str) -> Callable[[ViewClass], ViewClass]:
    """Name the operations of a collection or an item in the OpenAPI description."""

    def decorate(view: ViewClass) -> ViewClass:
        shape: type[serializers.Serializer[Any]] = view.serializer_class
        either = _or_dry_run(shape)
        known = {
            "get": extend_schema(operation_id=f"get_{singular}", responses=shape),
            "post": extend_schema(
                operation_id=f"create_{singular}",
                parameters=[WriteQuery],
                responses={201: getattr(view, "made_class", shape), 200: DryRun},
            ),
            "put": extend_schema(
                operation_id=f"put_{singular}", parameters=[WriteQuery], responses={200: either, 201: shape}
            ),
            "patch": extend_schema(
                operation_id=f"change_{singular}", parameters=[WriteQuery], responses={200: either}
            ),
            "delete": extend_schema(
                operation_id=f"delete_{singular}",
                parameters=[WriteQuery],
                request=None,
                responses={204: None, 200: DryRun},
            ),
        }
        if issubclass(view, Collection):
            known["get"] = extend_schema(operation_id=f"list_{plural}", responses=shape(many=True))
        methods = {name: schema for name, schema in known.items() if hasattr(view, name)}
        return extend_schema_view(**methods)(view)

    return decorate
