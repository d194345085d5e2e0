"""Provider credentials: ``${NAME}`` references into the environment, and keys encrypted in the database.

A reference is resolved in each process and never copied into the database. It may only name what
``GATEWAY_SECRET_ENV_ALLOW`` allows, and never the gateway's own settings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

OWN_SETTINGS: Final = ("SECRET_KEY", "DATABASE_URL", "CACHE_URL", "GATEWAY_*")
"""Names that no reference may read, whatever the allow-list says."""

ENCRYPTION_HINT: Final = (
    "Set GATEWAY_ENCRYPTION_KEYS (make one with: python manage.py rotate_encryption --new-key), "
    "or give a reference such as ${OPENAI_API_KEY}."
)
_REFERENCE: Final = re.compile(r"\A\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}\Z")


class CredentialError(Exception):
    """A credential cannot be used; the message is for operators and holds no secret."""


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A credential as a provider row keeps it: one of reference and token, or neither."""

    ref: str = ""
    encrypted: str = field(default="", repr=False)
    hint: str = ""


def is_reference(text: str) -> bool:
    """Whether the text has the shape ``${NAME}`` or ``${NAME:-default}``."""
    return _REFERENCE.match(text) is not None


def looks_like_reference(text: str) -> bool:
    """Whether the text was meant as a reference: a slip in one must not be stored as a key."""
    return "${" in text


def resolve_reference(text: str) -> str:
    """The value behind ``${NAME}``: the variable, else the file named by ``NAME_FILE``, else the default.

    Raises:
        CredentialError: not a reference, a name that is not allowed, or nothing behind it.
    """
    match = _REFERENCE.match(text)
    if match is None:
        raise CredentialError("Not a reference of the form ${NAME}.")
    name = match["name"]
    _check_allowed(name)
    value = read_variable(name) or match["default"]
    if not value:
        raise CredentialError(f"{name} is not set, and there is no {name}_FILE.")
    return _sendable(value, name)


def _sendable(secret: str, name: str) -> str:
    """The secret, if a header can carry it: one with a line break inside would fail at every request."""
    if not (secret.isascii() and secret.isprintable()):
        raise CredentialError(f"{name} has a line break or another character that no header can carry.")
    return secret


def reference_problem(text: str) -> str:
    """Why the reference cannot be resolved here and now, or an empty string."""
    try:
        resolve_reference(text)
    except CredentialError as error:
        return str(error)
    return ""


def store(text: str) -> StoredCredential:
    """Turn what an operator typed into what the row keeps: a reference as it is, a key encrypted.

    Raises:
        CredentialError: a malformed or forbidden reference, or a key without ``GATEWAY_ENCRYPTION_KEYS``.
    """
    text = text.strip()
    if not text:
        return StoredCredential()
    match = _REFERENCE.match(text)
    if match is not None:
        _check_allowed(match["name"])
        return StoredCredential(ref=text)
    if looks_like_reference(text):
        raise CredentialError("A reference has the form ${NAME} or ${NAME:-default}, with nothing around it.")
    return StoredCredential(encrypted=encrypt(_sendable(text, "The key")), hint=hint(text))


def reveal(ref: str, encrypted: str) -> tuple[str | None, str]:
    """The credential of a provider row and the problem with it: ``(None, "")`` when there is none."""
    try:
        if ref:
            return resolve_reference(ref), ""
        if encrypted:
            return decrypt(encrypted), ""
    except CredentialError as error:
        return None, str(error)
    return None, ""


def hint(secret: str) -> str:
    """The end of a secret, enough to tell two apart: nothing of a short one."""
    return f"…{secret[-3:]}" if len(secret) >= 12 else "…"


def encrypt(secret: str) -> str:
    """Encrypt with the first key.

    Raises:
        CredentialError: there is no key.
    """
    return _fernet().encrypt(secret.encode()).decode("ascii")


def decrypt(token: str) -> str:
    """Decrypt with whichever key fits.

    Raises:
        CredentialError: there is no key, or none fits.
    """
    try:
        return _fernet().decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise CredentialError(
            "The stored key was encrypted with a key that GATEWAY_ENCRYPTION_KEYS no longer has."
        ) from error


def rotate(token: str) -> str:
    """Encrypt anew with the first key.

    Raises:
        CredentialError: there is no key, or none fits.
    """
    return encrypt(decrypt(token))


def new_encryption_key() -> str:
    """A fresh key for ``GATEWAY_ENCRYPTION_KEYS``."""
    return Fernet.generate_key().decode("ascii")


def is_own_setting(name: str) -> bool:
    """Whether a variable configures the gateway itself."""
    return any(fnmatchcase(name.removesuffix("_FILE"), own) for own in OWN_SETTINGS)


def read_variable(name: str) -> str:
    """The value of an environment variable, else of the file named by ``NAME_FILE``, else an empty string.

    Raises:
        CredentialError: the file cannot be read.
    """
    environment = settings.GATEWAY_SECRET_ENVIRONMENT
    value: str = environment.get(name, "")
    path = environment.get(f"{name}_FILE", "")
    if value or not path:
        return value.strip()
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialError(f"The file named by {name}_FILE cannot be read.") from error


def _check_allowed(name: str) -> None:
    if is_own_setting(name):
        raise CredentialError(f"{name} is a setting of the gateway itself and cannot be a credential.")
    if not any(fnmatchcase(name, pattern) for pattern in settings.GATEWAY_SECRET_ENV_ALLOW):
        raise CredentialError(f"{name} is not allowed by GATEWAY_SECRET_ENV_ALLOW.")


def _fernet() -> MultiFernet:
    keys = tuple(key for key in settings.GATEWAY_ENCRYPTION_KEYS if key)
    if not keys:
        raise CredentialError(f"Keys cannot be stored: GATEWAY_ENCRYPTION_KEYS is empty. {ENCRYPTION_HINT}")
    return _multi_fernet(keys)


@lru_cache(maxsize=4)
def _multi_fernet(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise CredentialError("GATEWAY_ENCRYPTION_KEYS holds something that is not a Fernet key.") from error
