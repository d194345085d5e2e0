"""Client keys and admin tokens, as objects of the API: made and shown once, changed, ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from routing import services
from routing.api import rows
from routing.api.base import Write, split
from routing.api.fields import LARGEST_NUMBER, WriteBody
from routing.api.objects import Collection, Desk, described
from routing.api.permissions import Right
from routing.api.rows import Shape
from routing.api.serializers import (
    AdminTokenBody,
    AdminTokenMade,
    ClientKeyBody,
    ClientKeyMade,
    KeyBody,
)
from routing.models import AdminToken, ClientKey


class KeyDesk(Desk):
    """Keys of one table."""

    serializer_class: ClassVar[type[KeyBody]]
    made_class: ClassVar[type[KeyBody]]
    not_found_code = "key_not_found"
    table: ClassVar[type[ClientKey] | type[AdminToken]]
    create: ClassVar[Callable[..., tuple[ClientKey | AdminToken, str]]]
    update: ClassVar[Callable[..., object]]

    def rows(self) -> Any:
        """All of them, by name."""
        return self.table._default_manager.order_by("name", "id")

    def find(self, name: Any) -> Any:
        """The key of this id, or None."""
        return self.table._default_manager.filter(pk=min(int(name), LARGEST_NUMBER)).first()


class KeyCollection(KeyDesk, Collection):
    """All keys of a table."""

    def post(self, request: Request) -> Response:
        """Make one; `key` in the answer is the only time that it is shown."""
        values, said = split(self.taken(request))
        write = Write(request, said)
        row, secret = type(self).create(values=values, **write.how)
        if write.dry_run:
            return write.rehearsal()
        shape = {**self.shape(row), "key": secret}
        return Response(self.made_class(shape).data, status=201)


class KeyItem(KeyDesk):
    """One key, by id."""

    rights: ClassVar = {"GET": Right.VIEW, "PATCH": Right.CONFIGURE, "DELETE": Right.CONFIGURE}

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Show it, without the key."""
        return self.shown(kwargs["number"])

    def patch(self, request: Request, number: int) -> Response:
        """Change what the body has; the key itself stays the same."""
        values, said = split(self.taken(request, partial=True))
        return self._write(number, values, Write(request, said)) or self.shown(number)

    def delete(self, request: Request, number: int) -> Response:
        """Refuse the key from now on; its row stays, so that records keep their owner."""
        body = WriteBody(data=request.data)
        body.is_valid(raise_exception=True)
        write = Write(request, body.validated_data)
        return self._write(number, {"enabled": False}, write) or Response(status=204)

    def _write(self, number: int, values: Mapping[str, Any], write: Write) -> Response | None:
        self.shown(number)  # 404 before anything else
        type(self).update(number, values=values, **write.how)
        return write.rehearsal() if write.dry_run else None


class ClientKeyDesk(KeyDesk):
    """Keys for `/v1`."""

    serializer_class = ClientKeyBody
    made_class = ClientKeyMade
    noun = "client key"
    models_seen = ("routing.clientkey",)
    table = ClientKey
    create = staticmethod(services.create_client_key)

    @staticmethod
    def update(number: int, **how: Any) -> object:
        """Let the service change it."""
        return services.update_client_key(key_id=number, **how)

    def shape(self, row: Any) -> Shape:
        """One as it is shown."""
        return rows.client_key(row)


class AdminTokenDesk(KeyDesk):
    """Tokens for `/admin`."""

    serializer_class = AdminTokenBody
    made_class = AdminTokenMade
    noun = "admin token"
    models_seen = ("routing.admintoken",)
    table = AdminToken
    create = staticmethod(services.create_admin_token)

    @staticmethod
    def update(number: int, **how: Any) -> object:
        """Let the service change it."""
        return services.update_admin_token(token_id=number, **how)

    def shape(self, row: Any) -> Shape:
        """One as it is shown."""
        return rows.admin_token(row)


@described("client_keys", "client_key")
class ClientKeys(ClientKeyDesk, KeyCollection):
    """Keys for `/v1`."""


@described("client_keys", "client_key")
class ClientKeyItem(ClientKeyDesk, KeyItem):
    """One key for `/v1`."""


@described("admin_tokens", "admin_token")
class AdminTokens(AdminTokenDesk, KeyCollection):
    """Tokens for `/admin`."""


@described("admin_tokens", "admin_token")
class AdminTokenItem(AdminTokenDesk, KeyItem):
    """One token for `/admin`."""
