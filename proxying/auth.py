"""Who is calling ``/v1``: a client key becomes a ``Caller`` of the table. No database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hmac import compare_digest
from ipaddress import ip_address
from typing import Final

from proxying.errors import AuthenticationError
from routing.callers import user_path
from routing.keys import ADMIN_TOKEN_PREFIX, key_digest
from routing.types import Caller

ANONYMOUS: Final = Caller(id="", name="anonymous")
_LONGEST_KEY: Final = 512
_HINT: Final = "Send it as 'Authorization: Bearer <key>' or in the header 'x-api-key'."


@dataclass(frozen=True, slots=True)
class CallerRules:
    """How callers are told apart. ``user_path_header`` is lower-case."""

    user_path_header: str = "x-user-path"
    allow_anonymous: bool = False


def authenticate(
    headers: Mapping[str, str], callers: Mapping[bytes, Caller], rules: CallerRules, now: float
) -> Caller:
    """The caller of a request, with the user path that holds for it.

    Raises:
        AuthenticationError: no key, an unknown, expired or disabled one, or an admin token.
    """
    caller = _owner(_secret_of(headers), callers, rules, now)
    asked = headers.get(rules.user_path_header)
    if asked is None:
        return caller
    path = user_path(caller.user_path, asked)
    return caller if path == caller.user_path else replace(caller, user_path=path)


def is_loopback(bind: str) -> bool:
    """Whether a ``host:port`` (or ``unix:``) address can be reached from this machine only."""
    if bind.startswith("unix:"):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _secret_of(headers: Mapping[str, str]) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key", "").strip()


def _owner(secret: str, callers: Mapping[bytes, Caller], rules: CallerRules, now: float) -> Caller:
    if not secret:
        if rules.allow_anonymous:
            return ANONYMOUS
        raise AuthenticationError(f"No API key was given. {_HINT}")
    if secret.startswith(ADMIN_TOKEN_PREFIX):
        raise AuthenticationError("This is an admin token; the model endpoints need a client key.")
    caller = None
    if len(secret) <= _LONGEST_KEY:
        digest = key_digest(secret)
        caller = callers.get(digest)
        if caller is not None and not compare_digest(caller.digest, digest):
            caller = None
    if caller is None:
        raise AuthenticationError("The API key is not known.")
    if not caller.enabled:
        raise AuthenticationError("The API key is switched off.")
    if not caller.is_valid_at(now):
        raise AuthenticationError("The API key has expired.")
    return caller
