"""What a service refuses, as one tree.

::

    ServiceError          the message is for operators
    ├── NotFound          404  there is no such object
    ├── Invalid           400  ``param`` names the value; ``errors`` has all of them, by name
    ├── Conflict          409  in use, or changed meanwhile: ``details`` says by what
    └── WouldEmptyPool    409  a pool would have no candidate left: ``impact`` says which
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class ServiceError(Exception):
    """A service refused; nothing was written."""

    status = 400
    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code


class NotFound(ServiceError):  # noqa: N818 - reads as what it is at the place of use: services.NotFound
    """There is no such object."""

    status = 404
    code = "not_found"


class Invalid(ServiceError):  # noqa: N818
    """A value cannot be accepted."""

    status = 400
    code = "invalid_value"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        errors: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.errors: Mapping[str, Sequence[str]] = errors or ({param: [message]} if param else {})


class Conflict(ServiceError):  # noqa: N818
    """What is there stands in the way; ``details`` are JSON values that say what."""

    status = 409
    code = "conflict"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        details: Sequence[Any] = (),
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.details = tuple(details)


class WouldEmptyPool(ServiceError):  # noqa: N818
    """Pools would be left without a candidate that is switched on, and nobody confirmed it."""

    status = 409
    code = "would_empty_pool"

    def __init__(self, pools: Sequence[str], impact: Mapping[str, Any]) -> None:
        names = ", ".join(pools)
        super().__init__(f"This would leave no candidate switched on in: {names}. Confirm to go on.")
        self.param = "confirm"
        self.pools = tuple(pools)
        self.impact = impact
