"""Providers, pools with their candidates, aliases and the routing defaults, as objects of the API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from routing import queries, services
from routing.api import rows
from routing.api.base import AdminView, Write, named, split
from routing.api.objects import Collection, Desk, Item, described
from routing.api.permissions import Right
from routing.api.rows import Shape
from routing.api.serializers import AliasBody, DefaultsBody, PoolBody, ProviderBody
from routing.models import Alias, RoutingDefaults


class ProviderDesk(Desk):
    """Upstream accounts. The credential is written, never read."""

    serializer_class = ProviderBody
    noun = "provider"
    not_found_code = "provider_not_found"

    def rows(self) -> Iterable[Any]:
        """All of them, by name."""
        return queries.providers()

    def find(self, name: Any) -> Any:
        """The provider of this name, or None."""
        return queries.providers().filter(name=name).first()

    def shape(self, row: Any) -> Shape:
        """One as it is shown."""
        return rows.provider(row)

    def save(self, name: str, values: Mapping[str, Any], write: Write, *, whole: bool) -> None:
        """A body has every column when it is whole."""
        services.save_provider(name=name, values=rows.without_echo(values, self.find(name)), **write.how)

    def remove(self, name: str, how: services.How) -> None:
        """Refused while pools or aliases use it."""
        services.delete_provider(name=name, **how)


class PoolDesk(Desk):
    """Canonical models, each with all its candidates."""

    serializer_class = PoolBody
    noun = "model pool"
    id_field = "canonical_model"
    not_found_code = "pool_not_found"
    params = rows.POLICY_PARAMS

    def rows(self) -> Iterable[Any]:
        """All of them, by canonical name."""
        return queries.pools()

    def find(self, name: Any) -> Any:
        """The pool of this name, or None."""
        return queries.pools().filter(canonical_model=name).first()

    def shape(self, row: Any) -> Shape:
        """One as it is shown."""
        return rows.pool(row)

    def save(self, name: str, values: Mapping[str, Any], write: Write, *, whole: bool) -> None:
        """Policy values that a whole body leaves out are unset."""
        columns = {**(rows.unset_policy() if whole else {}), **rows.policy_columns(values)}
        columns.update({key: values[key] for key in ("description", "enabled") if key in values})
        columns = rows.without_echo(columns, self.find(name))
        services.save_pool(
            canonical_model=name, values=columns, candidates=values.get("candidates"), **write.how
        )

    def remove(self, name: str, how: services.How) -> None:
        """Refused while aliases lead to it."""
        services.delete_pool(canonical_model=name, **how)


class AliasDesk(Desk):
    """Other public names."""

    serializer_class = AliasBody
    noun = "alias"
    not_found_code = "alias_not_found"

    def rows(self) -> Iterable[Any]:
        """All of them, by name."""
        return Alias.objects.order_by("name")

    def find(self, name: Any) -> Any:
        """The alias of this name, or None."""
        return Alias.objects.filter(name=name).first()

    def shape(self, row: Any) -> Shape:
        """One as it is shown."""
        return rows.alias(row)

    def save(self, name: str, values: Mapping[str, Any], write: Write, *, whole: bool) -> None:
        """Its one value is the target."""
        target = values.get("target")
        services.save_alias(
            name=name, target=self.find(name).target if target is None else target, **write.how
        )

    def remove(self, name: str, how: services.How) -> None:
        """Nothing uses an alias but clients."""
        services.delete_alias(name=name, **how)


@described("providers", "provider")
class Providers(ProviderDesk, Collection):
    """Upstream accounts."""


@described("providers", "provider")
class Provider(ProviderDesk, Item):
    """One upstream account."""


@described("pools", "pool")
class Pools(PoolDesk, Collection):
    """Canonical models with their candidates."""


@described("pools", "pool")
class Pool(PoolDesk, Item):
    """One canonical model with its candidates."""


@described("aliases", "alias")
class Aliases(AliasDesk, Collection):
    """Other public names for canonical models and exact names."""


@described("aliases", "alias")
class AliasItem(AliasDesk, Item):
    """One alias."""


@described("defaults", "defaults")
class Defaults(AdminView):
    """What holds where a pool says nothing; null is the built-in value."""

    serializer_class = DefaultsBody
    rights: ClassVar = {"GET": Right.VIEW, "PUT": Right.CONFIGURE, "PATCH": Right.CONFIGURE}

    def get(self, request: Request) -> Response:
        """Show them."""
        row = RoutingDefaults.objects.filter(pk=1).first()
        return Response(DefaultsBody(rows.defaults(row)).data)

    def put(self, request: Request) -> Response:
        """Replace them: what the body lacks goes back to the built-in value."""
        return self._write(request, whole=True)

    def patch(self, request: Request) -> Response:
        """Change what the body has."""
        return self._write(request, whole=False)

    def _write(self, request: Request, *, whole: bool) -> Response:
        body = DefaultsBody(data=request.data, partial=not whole)
        body.is_valid(raise_exception=True)
        values, said = split(body.validated_data)
        columns = {**(rows.unset_policy() if whole else {}), **rows.policy_columns(values)}
        mode = "configured_provider_models_mode"
        columns.update({mode: values[mode]} if mode in values else {})
        write = Write(request, said)
        with named(rows.POLICY_PARAMS):
            services.save_defaults(values=columns, **write.how)
        return write.rehearsal() if write.dry_run else self.get(request)
