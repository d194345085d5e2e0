"""How settings are read: a value that cannot be used stops the start, and the message says what it takes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

_TRUE: Final = frozenset({"true", "yes", "on", "1", "t", "y"})
_FALSE: Final = frozenset({"false", "no", "off", "0", "f", "n"})
# RFC 9110: what a header may be called.
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_DATABASES: Final = ("sqlite", "postgres", "postgresql")
_IN_MEMORY: Final = "sqlite://:memory:"
_LONGEST_LABEL: Final = 30
_CACHES: Final = ("redis", "rediss")


class Environment:
    """The process's environment; ``FOO`` may stand in the file that ``FOO_FILE`` names. Empty is unset.

    Every method raises ``ImproperlyConfigured`` for a value that cannot be used. Values of addresses that
    may hold a password are not repeated.
    """

    def __init__(self) -> None:
        self._env = environ.FileAwareEnv()
        self._values = FileAwareMapping(cache=False)

    def read_file(self, path: Path) -> None:
        """Add what a ``.env`` file has and the environment lacks."""
        self._env.read_env(str(path))

    def text(self, name: str, default: str = "") -> str:
        """Any text, without white space around it."""
        return self._given(name) or default

    def words(self, name: str, default: Sequence[str] = ()) -> list[str]:
        """A comma-separated list; of a list, empty means none."""
        text = self._given(name)
        return list(default) if text is None else [word.strip() for word in text.split(",") if word.strip()]

    def flag(self, name: str, *, default: bool) -> bool:
        """``true`` or ``false``, and their kin."""
        value = self.text(name)
        if not value:
            return default
        if value.lower() not in _TRUE | _FALSE:
            raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")
        return value.lower() in _TRUE

    def whole(self, name: str, default: int, least: int = 1) -> int:
        """A whole number with a lower bound."""
        value = self.text(name, str(default))
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", value) or int(value) < least:
            raise ImproperlyConfigured(f"{name} must be a whole number of at least {least}, not {value!r}.")
        return int(value)

    def positive(self, name: str, default: float) -> float:
        """A number above zero."""
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise ImproperlyConfigured(f"{name} must be a number above 0, not {value!r}.")
        return number

    def one_of(self, name: str, choices: Sequence[str]) -> str:
        """One of some words; the first is the default."""
        value = self.text(name, choices[0])
        if value not in choices:
            raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
        return value

    def header(self, name: str, default: str) -> str:
        """The name of an HTTP header."""
        value = self.text(name, default)
        if not _HEADER.fullmatch(value):
            raise ImproperlyConfigured(f"{name} must be the name of an HTTP header, not {value!r}.")
        return value

    def label(self, name: str) -> str:
        """A word or two for people, short enough for a page's header; empty when not given."""
        value = self.text(name)
        if len(value) > _LONGEST_LABEL or not value.isprintable():
            raise ImproperlyConfigured(
                f"{name} must have at most {_LONGEST_LABEL} printable characters, not {value!r}."
            )
        return value

    def bind(self, name: str, default: str) -> str:
        """``host:port`` or ``unix:/path``."""
        value = self.text(name, default)
        if not is_bind(value):
            raise ImproperlyConfigured(
                f"{name} must be an address and port, such as 127.0.0.1:8000, or unix:/path, not {value!r}."
            )
        return value

    def networks(self, name: str, default: str) -> str:
        """Addresses and networks, comma separated, or ``*``."""
        value = ",".join(self.words(name, [default]))
        try:
            for part in value.split(",") if value not in {"", "*"} else ():
                ip_network(part)
        except ValueError:
            raise ImproperlyConfigured(
                f"{name} must be addresses or networks such as 10.0.0.0/8, or *, not {value!r}."
            ) from None
        return value

    def time_zone(self, name: str, default: str) -> str:
        """A name of the IANA time zones."""
        value = self.text(name, default)
        try:
            ZoneInfo(value)
        except (ValueError, OSError, LookupError):
            raise ImproperlyConfigured(
                f"{name} must be a time zone such as Europe/Oslo, not {value!r}."
            ) from None
        return value

    def database(self, name: str, default: str) -> dict[str, Any]:
        """Django's settings of the database at a URL."""
        value = self.text(name, default)
        if value != _IN_MEMORY and not _is_url(value, _DATABASES):
            raise ImproperlyConfigured(
                f"{name} must look like postgres://user:password@host:5432/name or sqlite:////path/to/file."
            )
        config: dict[str, Any] = self._env.db_url_config(value)
        return config

    def cache(self, name: str) -> str:
        """The URL of a Redis, or nothing."""
        value = self.text(name)
        if value and not _is_url(value, _CACHES, needs_host=True):
            raise ImproperlyConfigured(
                f"{name} must begin with redis:// or rediss:// and name a host, such as "
                "redis://127.0.0.1:6379/0."
            )
        return value

    def _given(self, name: str) -> str | None:
        try:
            # Not env.str(): that takes a value that begins with $ for the name of another variable.
            value = self._values.get(name)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ImproperlyConfigured(
                f"The file that {name}_FILE names cannot be read: {reason}."
            ) from error
        return None if value is None else str(value).strip()


def is_bind(value: str) -> bool:
    """Whether a server can be told to listen there."""
    if value.startswith("unix:"):
        return len(value) > len("unix:")
    host, _, port = value.rpartition(":")
    plain_host = (host.startswith("[") and host.endswith("]")) or ":" not in host
    return bool(host) and plain_host and re.fullmatch(r"[0-9]{1,5}", port) is not None and int(port) <= 65535


def _is_url(value: str, schemes: Sequence[str], *, needs_host: bool = False) -> bool:
    try:
        parts = urlsplit(value)
        port_is_usable = parts.port is None or parts.port > 0
    except ValueError:
        return False
    has_place = bool(parts.hostname) if needs_host else bool(parts.path.strip("/") or parts.netloc)
    return parts.scheme in schemes and port_is_usable and has_place
