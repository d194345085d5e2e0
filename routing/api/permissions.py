"""Who may do what: ``view``, ``operate`` (switches, explain's questions) and ``configure``; nothing is open.

========== ===================================== =====================================================
right      an admin token                        a signed-in user
========== ===================================== =====================================================
view       any                                   staff with ``routing.view_modelpool``
operate    read-write                            staff with ``routing.change_poolcandidate``
configure  read-write                            staff with ``routing.change_modelpool`` and
                                                 ``routing.change_provider``
========== ===================================== =====================================================
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from routing.api.authentication import TokenUser


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


def has_right(user: Any, right: Right) -> bool:
    """Whether a user or the bearer of a token has a right."""
    if isinstance(user, TokenUser):
        return right is Right.VIEW or not user.token.read_only
    if not (user and user.is_authenticated and user.is_active and user.is_staff):
        return False
    return bool(user.has_perms(_NEEDED[right]))


class HasRight(BasePermission):
    """Looks the needed right up in the view's ``rights``: by action, else by method; unnamed is refused."""

    message = "Your account or token may not do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the caller may do what the view is asked for."""
        rights: dict[str, Right] = getattr(view, "rights", {})
        action = getattr(view, "action", None)
        method = request.method or ""
        if method in {"HEAD", "OPTIONS"}:
            return has_right(request.user, Right.VIEW)
        right = rights.get(action or "") or rights.get(method)
        return right is not None and has_right(request.user, right)
