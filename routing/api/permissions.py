"""Who may do what: ``view``, ``operate`` (switches, explain's questions) and ``configure``; nothing is open.

========== ===================================== =====================================================
right      an admin token                        a signed-in user
========== ===================================== =====================================================
view       any                                   staff with ``routing.view_modelpool``
operate    read-write                            staff with ``routing.change_poolcandidate``
configure  read-write                            staff with ``routing.change_modelpool`` and
                                                 ``routing.change_provider``
========== ===================================== =====================================================

Views of keys, tokens and request records ask a signed-in user for Django's own permissions on those tables
besides (``view_…`` to look, ``change_…`` to write): who configures pools may not make himself a token, and
may not bring a revoked one back by undoing its revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from routing.api.authentication import TokenUser
from routing.document import Change, split_key

if TYPE_CHECKING:  # DRF imports its default permissions before its views are there
    from rest_framework.views import APIView


class Right(StrEnum):
    """What a caller of the admin API may do."""

    VIEW = "view"
    OPERATE = "operate"
    CONFIGURE = "configure"


_NEEDED: Final = {
    Right.VIEW: ("routing.view_modelpool",),
    Right.OPERATE: ("routing.change_poolcandidate",),
    Right.CONFIGURE: ("routing.change_modelpool", "routing.change_provider"),
}


_KEYS: Final[Mapping[str, str]] = {
    "client_key": "routing.change_clientkey",
    "admin_token": "routing.change_admintoken",
}


def has_right(user: Any, right: Right) -> bool:
    """Whether a user or the bearer of a token has a right."""
    if isinstance(user, TokenUser):
        return right is Right.VIEW or not user.token.read_only
    if not (user and user.is_authenticated and user.is_active and user.is_staff):
        return False
    return bool(user.has_perms(_NEEDED[right]))


def may_undo(user: Any, changes: Iterable[Change]) -> bool:
    """Whether a user or the bearer of a token may take these changes back: configure, and write its keys."""
    kinds = {split_key(change.object)[0] for change in changes}
    return has_right(user, Right.CONFIGURE) and _may(user, [_KEYS[kind] for kind in kinds if kind in _KEYS])


class HasRight(BasePermission):
    """Looks the needed right up in the view's ``rights``, by method; a method without one is refused."""

    message = "Your account or token may not do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the caller may do what the view is asked for."""
        method = request.method or ""
        rights: Mapping[str, Right] = getattr(view, "rights", {})
        if method in {"HEAD", "OPTIONS"} or method not in view.allowed_methods:
            # A method that is not there is answered with 405 to whoever may look.
            right: Right | None = Right.VIEW
        else:
            right = rights.get(method)
        if right is None or not has_right(request.user, right):
            return False
        verb = "view" if right is Right.VIEW else "change"
        return _may(request.user, [_codename(table, verb) for table in getattr(view, "models_seen", ())])


def _codename(table: str, verb: str) -> str:
    app, _, model = table.partition(".")
    return f"{app}.{verb}_{model}"


def _may(user: Any, permissions: list[str]) -> bool:
    return isinstance(user, TokenUser) or bool(user.has_perms(permissions))
