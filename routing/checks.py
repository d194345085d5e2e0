"""System checks: a set-up that could not work is refused before it serves, with what to do about it.

Those with the tag ``database`` read tables and run with ``check --database default`` and before ``migrate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet
from django.apps import AppConfig
from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import DatabaseError

from routing import signing, snapshot
from routing.cachebackends import RoutingCache, is_shared
from routing.credentials import ENCRYPTION_HINT, CredentialError, decrypt
from routing.models import Provider

STATE_CACHES: Final = ("pins", "tickets", "health")
"""The caches that hold routing state; see ``routing.state``."""

ANY_NAME: Final = frozenset({"*", "*_*"})
LOOPBACK: Final = ("127.", "localhost:", "[::1]:", "unix:")
SHORTEST_SECRET_KEY: Final = 50


def check_cache_backends(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """``sluice.E001``: pins, tickets and health need a backend that can take a ticket atomically."""
    messages: list[CheckMessage] = []
    for alias in STATE_CACHES:
        try:
            backend = caches[alias]
        except InvalidCacheBackendError as error:
            messages.append(_bad_cache(alias, str(error)))
            continue
        if not isinstance(backend, RoutingCache):
            messages.append(_bad_cache(alias, f"{type(backend).__name__} takes no tickets atomically."))
    return messages


def check_workers_share_a_cache(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """``sluice.E002``: more than one worker with a cache of its own each would split pins and shares."""
    if settings.GATEWAY_WORKERS <= 1:
        return []
    try:
        apart = [alias for alias in STATE_CACHES if not is_shared(alias)]
    except InvalidCacheBackendError:
        return []  # E001 says it
    if not apart:
        return []
    return [
        Error(
            f"{settings.GATEWAY_WORKERS} workers, but each would have its own {', '.join(apart)}.",
            hint="Set CACHE_URL to a Redis that all workers share, or GATEWAY_WORKERS=1.",
            id="sluice.E002",
        )
    ]


def check_encryption_keys(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """``sluice.E003``: every one of ``GATEWAY_ENCRYPTION_KEYS`` is a Fernet key; none is shown."""
    messages: list[CheckMessage] = []
    for position, key in enumerate(settings.GATEWAY_ENCRYPTION_KEYS, 1):
        try:
            Fernet(key)
        except ValueError:
            messages.append(
                Error(
                    f"Entry {position} of GATEWAY_ENCRYPTION_KEYS is not a Fernet key.",
                    hint=ENCRYPTION_HINT,
                    id="sluice.E003",
                )
            )
    return messages


def check_stored_keys(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """``sluice.E004``: every stored provider key can be decrypted with the keys that are set."""
    if not databases or "default" not in databases:
        return []
    try:
        rows = list(
            Provider.objects.exclude(credential_encrypted="").values_list("name", "credential_encrypted")
        )
    except DatabaseError:
        return []  # not migrated yet, or not reachable: nothing to say about keys
    names = []
    for name, token in rows:
        try:
            decrypt(token)
        except CredentialError:
            names.append(name)
    if not names:
        return []
    return [
        Error(
            f"The stored keys of these providers cannot be decrypted: {', '.join(sorted(names))}.",
            hint="Put the key that encrypted them back into GATEWAY_ENCRYPTION_KEYS, or type them in again.",
            id="sluice.E004",
        )
    ]


def check_signing(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """``sluice.W003``: every provider with an access key can sign: key, region and library are there."""
    if not databases or "default" not in databases:
        return []
    try:
        providers = snapshot.load().providers.values()
    except DatabaseError:
        return []  # not migrated yet, or not reachable
    return [
        CheckWarning(
            f"The provider {provider.name} cannot be called. {problem}",
            hint="See the credentials of Amazon Bedrock in docs/providers.md.",
            id="sluice.W003",
        )
        for provider in providers
        if (problem := signing.problem(provider))
    ]


def check_secret_allow_list(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """``sluice.W001``: an allow-list that allows everything lets an operator read any variable."""
    if not ANY_NAME & set(settings.GATEWAY_SECRET_ENV_ALLOW):
        return []
    return [
        CheckWarning(
            "GATEWAY_SECRET_ENV_ALLOW allows every variable to be sent to a provider as its key.",
            hint="Name the patterns that your providers use, for example *_API_KEY.",
            id="sluice.W001",
        )
    ]


def check_anonymous_stays_home(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """``sluice.E005``: serving without keys is for the loopback only."""
    if not settings.GATEWAY_ALLOW_ANONYMOUS or settings.GATEWAY_BIND.startswith(LOOPBACK):
        return []
    return [
        Error(
            f"GATEWAY_ALLOW_ANONYMOUS is on while {settings.GATEWAY_BIND} can be reached from elsewhere.",
            hint="Turn it off and make keys with create_api_key, or bind to 127.0.0.1.",
            id="sluice.E005",
        )
    ]


def check_secret_key(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """``sluice.W002`` (with ``--deploy``): a key that this checkout made does not survive a move."""
    local = Path(settings.VAR_DIR) / "secret_key"
    is_local = local.is_file() and local.read_text() == settings.SECRET_KEY
    if not is_local and len(settings.SECRET_KEY) >= SHORTEST_SECRET_KEY:
        return []
    return [
        CheckWarning(
            "SECRET_KEY is the one that this checkout made for itself, or a short one.",
            hint="Set SECRET_KEY (or SECRET_KEY_FILE) to 50 or more random characters, the same everywhere.",
            id="sluice.W002",
        )
    ]


def register_checks() -> None:
    """Called once the app is ready."""
    register(check_cache_backends, Tags.caches)
    register(check_workers_share_a_cache, Tags.caches)
    register(check_encryption_keys, Tags.security)
    register(check_stored_keys, Tags.database)
    register(check_signing, Tags.database)
    register(check_secret_allow_list, Tags.security)
    register(check_anonymous_stays_home, Tags.security)
    register(check_secret_key, Tags.security, deploy=True)


def _bad_cache(alias: str, problem: str) -> CheckMessage:
    return Error(
        f"The cache {alias!r} cannot hold routing state: {problem}",
        hint="Use the backends of routing.cachebackends, as the settings do from CACHE_URL.",
        id="sluice.E001",
    )
