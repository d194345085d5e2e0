"""What a configuration file is read against on this machine: the environment and what is stored."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from django.conf import settings

from routing import credentials
from routing.config_context import Surroundings
from routing.config_references import CREDENTIAL
from routing.document import Document

LOOKS_SECRET: Final = ("*_KEY", "*_KEY_*", "*_TOKEN", "*_TOKEN_*", "*SECRET*", "*PASSWORD*", "*PASSWD*")
"""Variables that only ``api_key`` may refer to: elsewhere their value would be stored in the clear."""


def surroundings(*, current: Document, prune: bool) -> Surroundings:
    """For a file that is about to be laid over ``current``."""
    can_encrypt = any(settings.GATEWAY_ENCRYPTION_KEYS)
    return Surroundings(
        variable=_variable,
        forbidden=_forbidden,
        credential_problem=_credential_problem,
        literal_key_problem="" if can_encrypt else credentials.ENCRYPTION_HINT,
        credential_label=lambda secret: f"set {credentials.hint(secret)}",
        current=current,
        prune=prune,
    )


def _variable(name: str) -> str | None:
    try:
        return credentials.read_variable(name) or None
    except credentials.CredentialError:
        return None


def _forbidden(name: str) -> str:
    if credentials.is_own_setting(name):
        return f"{name} is a setting of the gateway itself and is not copied into the configuration"
    if any(fnmatchcase(name.upper(), pattern) for pattern in LOOKS_SECRET):
        return f"{name} looks like a secret; only api_key may refer to it, since it is not copied there"
    return ""


def _credential_problem(text: str) -> str:
    """A reference with a default, even an empty one, is never undefined."""
    match = CREDENTIAL.fullmatch(text)
    if match is not None and match["default"] is not None:
        text = f"${{{match['name']}:-x}}"
    return credentials.reference_problem(text)
