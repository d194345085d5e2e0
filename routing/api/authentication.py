"""Who calls the admin API: Django's session (with CSRF) or an admin token; client keys are refused."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from routing.keys import CLIENT_KEY_PREFIX, key_digest
from routing.models import AdminToken


@dataclass(frozen=True, slots=True)
class TokenUser:
    """The bearer of an admin token, in the place of a user."""

    token: AdminToken
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False
    is_staff: bool = True

    @property
    def pk(self) -> str:
        """For throttling and logs: never the secret."""
        return f"token-{self.token.pk}"

    def get_username(self) -> str:
        """The name that revisions keep."""
        return f"token {self.token.name}"

    def __str__(self) -> str:
        return self.get_username()


class AdminTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer <admin token>``; the header, when there, decides alone."""

    def authenticate(self, request: HttpRequest | Request) -> tuple[TokenUser, AdminToken] | None:
        """Find the token by its digest.

        Raises:
            AuthenticationFailed: unknown, disabled or expired, or a client key.
        """
        header: str = request.headers.get("authorization", "")
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        text = secret.strip()
        if text.startswith(CLIENT_KEY_PREFIX):
            raise AuthenticationFailed("This is a client key; the admin API takes an admin token.")
        digest = key_digest(text).hex()
        token = AdminToken.objects.filter(digest=digest).first()
        if token is None or not hmac.compare_digest(token.digest, digest) or not _is_valid(token):
            raise AuthenticationFailed("The admin token is unknown, expired or disabled.")
        return TokenUser(token), token

    def authenticate_header(self, request: HttpRequest | Request) -> str:
        """Makes a missing credential a 401 instead of a 403."""
        return 'Bearer realm="sluice admin"'


def _is_valid(token: AdminToken) -> bool:
    return token.enabled and (token.expires_at is None or timezone.now() < token.expires_at)
