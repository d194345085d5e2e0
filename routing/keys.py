"""Making and hashing client keys and admin tokens: only the hash and a short prefix are ever stored."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

CLIENT_KEY_PREFIX: Final = "sk-sluice-"
ADMIN_TOKEN_PREFIX: Final = "sluice-admin-"  # noqa: S105 - what every token begins with
SHOWN_CHARACTERS: Final = 16
"""How much of a key is kept readable, so that people can tell keys apart."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. ``secret`` is shown once and never stored; ``digest`` is SHA-256, hex."""

    secret: str = field(repr=False)
    prefix: str
    digest: str


def make_client_key() -> NewKey:
    """A new key for ``/v1``: 256 random bits."""
    return _make(CLIENT_KEY_PREFIX)


def make_admin_token() -> NewKey:
    """A new token for ``/admin``: 256 random bits."""
    return _make(ADMIN_TOKEN_PREFIX)


def key_digest(secret: str) -> bytes:
    """The SHA-256 of a key as it came in; the caller table is keyed by it.

    A fast hash is right here: the secret has 256 random bits, so there is nothing to guess.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _make(prefix: str) -> NewKey:
    secret = prefix + secrets.token_urlsafe(32)
    return NewKey(secret=secret, prefix=secret[:SHOWN_CHARACTERS], digest=key_digest(secret).hex())
