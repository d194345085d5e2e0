"""Which values of the configuration are refused, and in which words; once for all who take them. Pure.

The file, the admin API, the admin's forms, the services and the table all ask here. A function gives the
problem as it stands behind a path, ``must be at least 1, not 0``, or an empty string; ``sentence`` makes it
one for places where a field names the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from routing.kinds import Kind
from routing.types import Strategy, WhenAllBlocked
from routing.upstreams import REGION

MAX_RANK: Final = 1_000_000
"""The highest priority and weight."""
MAX_COUNT: Final = 2_147_483_647
MAX_SECONDS: Final = 2_147_483_647
MAX_NAME: Final = 300
MAX_LINE: Final = 500

NOT_WHOLE: Final = "must be a whole number, written in plain digits"
NOT_SECONDS: Final = "must be a number of seconds"
NOT_WHOLE_SECONDS: Final = "must be a whole number of seconds"
NOT_STATUS: Final = "must be an HTTP status between 100 and 599"
NOT_FLAG: Final = "must be true or false"
NOT_TEXT: Final = "must be a text"
NOT_LIST: Final = "must be a list"
NOT_MAPPING: Final = "must be a mapping of keys and values"
EMPTY_POOL: Final = "a pool needs at least one candidate"
POOL_HAS_NAME: Final = "a pool has this name; an alias and a pool cannot share one"
ALIAS_HAS_NAME: Final = "an alias has this name; an alias and a pool cannot share one"
OTHER_HOST: Final = "the base URL leads to another host than before: give the key again"

_ENDPOINTS: Final = ("/chat/completions", "/embeddings", "/responses")
_PLAIN_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_PROVIDER_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_CHOICES: Final = {"responses": ("native", "translated"), "hosted_tools": ("drop",)}


def is_plain_number(text: str) -> bool:
    """Whether a number that came as text is written as in JSON: ``1_0`` and other scripts' digits are not."""
    return _PLAIN_NUMBER.fullmatch(text.strip()) is not None


def sentence(problem: str) -> str:
    """The problem as a sentence of its own."""
    return f"{problem[:1].upper()}{problem[1:]}." if problem else ""


def whole_number(value: object, *, least: int = 1, most: int = MAX_COUNT) -> str:
    """Attempts and other counts."""
    if isinstance(value, bool) or not isinstance(value, int):
        return NOT_WHOLE
    if value < least:
        return f"must be at least {least}, not {value}"
    if value > most:
        return f"must be at most {most}, not {value}"
    return ""


rank: Final = partial(whole_number, most=MAX_RANK)
"""Priority and weight."""


def seconds(value: object) -> str:
    """Timeouts: any number of seconds from a millisecond on."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NOT_SECONDS
    if value <= 0:
        return "must be above 0"
    if value < 0.001:
        return "must be at least a millisecond"
    if value > MAX_SECONDS:
        return f"must be at most {MAX_SECONDS} seconds"
    return "" if value <= MAX_SECONDS else NOT_SECONDS  # nan compares with nothing


def whole_seconds(value: object) -> str:
    """Times to live."""
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return seconds(value) if is_whole and not isinstance(value, bool) else NOT_WHOLE_SECONDS


def status(value: object) -> str:
    """One HTTP status."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599
    return "" if fits else NOT_STATUS


def statuses(value: object) -> str:
    """A list of HTTP statuses."""
    if not isinstance(value, list | tuple | frozenset):
        return NOT_LIST
    return next(filter(None, map(status, value)), "")


def flag(value: object) -> str:
    """On or off."""
    return "" if isinstance(value, bool) else NOT_FLAG


def word(value: object, words: Iterable[str], what: str) -> str:
    """One of a few words; ``what`` is what they say, for example ``strategy``."""
    known = tuple(words)
    if value in known:
        return ""
    shown = f' "{value}"' if isinstance(value, str) else ""
    return f"unknown {what}{shown}; it is one of {', '.join(known)}"


POLICY: Final[Mapping[str, Callable[[Any], str]]] = MappingProxyType(
    {
        "strategy": partial(word, words=Strategy, what="strategy"),
        "session_affinity": flag,
        "session_affinity_ttl_s": whole_seconds,
        "failover_enabled": flag,
        "failover_max_attempts": whole_number,
        "failover_on_statuses": statuses,
        "failover_on_model_errors": flag,
        "when_all_blocked": partial(word, words=WhenAllBlocked, what="word"),
    }
)
"""What each column of a policy is asked when it is set."""


def text(value: str, most: int) -> str:
    """A text that is to be stored in ``most`` characters."""
    if not value:
        return "must not be empty"
    if len(value) > most:
        return f"is longer than {most} characters"
    if any(ord(letter) < 32 or letter in "\x7f\x85\u2028\u2029" for letter in value):
        return "must be one line without control characters"
    return ""


def line(value: object, most: int) -> str:
    """A name as it is stored: a text, trimmed."""
    if not isinstance(value, str):
        return NOT_TEXT
    return text(value, most) or ("" if value == value.strip() else "must not begin or end with white space")


def provider_name(value: str) -> str:
    """What a provider may be called."""
    fits = _PROVIDER_NAME.fullmatch(value)
    return "" if fits else "a provider name has letters, digits, dot, underscore and hyphen only"


def names(value: object) -> str:
    """A list of trimmed model names."""
    if not isinstance(value, list):
        return NOT_LIST
    for name in value:
        if problem := line(name, MAX_NAME):
            return problem
    return ""


def option(value: object) -> str:
    """The value of a provider's option; it may be empty."""
    if not isinstance(value, str):
        return NOT_TEXT
    return text(value, MAX_LINE) if value.strip() else ""


def options(value: object) -> str:
    """All options of a provider; the problem names the option that has it."""
    if not isinstance(value, dict):
        return NOT_MAPPING
    for name, given in value.items():
        if problem := text(str(name), MAX_NAME):
            return f"the name of an option {problem}"
        if problem := option(given):
            return f'the option "{name}" {problem}'
    return ""


def base_url(value: str) -> str:
    """The address of a provider, where one is given."""
    try:
        parts = urlsplit(value)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return "is not a URL"
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine:
        return "must be a URL such as https://api.example.com/v1"
    if any(letter.isspace() for letter in value):
        return "must not have white space"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or password; the key has a field of its own"
    if problem := _beyond_path(parts):
        return problem
    return "is a link-local address, which is never called" if _is_link_local(parts.hostname) else ""


def no_base_url(kind: str) -> str:
    """A kind without an address of its own, and none is given."""
    return f"is required for the type {kind}"


def region(kind: Kind, address: str, given: Mapping[str, str]) -> str:
    """The option ``region`` among those that are given, which an address may need."""
    stated = given.get("region", "")
    if stated and not REGION.fullmatch(stated):
        return 'the option "region" must be the name of a region, such as us-east-1'
    if not stated and "{region}" in address:
        return (
            f'the option "region" is required for the type {kind.name} without a base_url, such as us-east-1'
        )
    return ""


def choices(given: Mapping[str, str]) -> str:
    """The options that have a few values only."""
    for name, values in _CHOICES.items():
        if name in given and given[name] not in values:
            return f'the option "{name}" must be {" or ".join(values)}'
    return ""


def unknown_type(given: str, kinds: Iterable[str]) -> str:
    """A kind of provider that there is not."""
    return (
        f'unknown type "{given}"; it is one of {", ".join(sorted(kinds))}. '
        "A provider that speaks OpenAI's format is openai_compatible, with its base_url"
    )


def unknown_provider(name: str, known: Iterable[str]) -> str:
    """A candidate whose provider is not there."""
    close = get_close_matches(name, known, n=1)
    return f'unknown provider "{name}"; ' + (f"did you mean {close[0]}?" if close else "add it first")


def twice(provider: str, model: str) -> str:
    """A candidate that its pool has already."""
    return f'the candidate "{provider}/{model}" stands twice in this pool'


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What an alias may lead to. ``leads`` follows an alias; ``pools``, for a hint, are all of them."""

    is_pool: Callable[[str], bool]
    is_provider: Callable[[str], bool]
    leads: Callable[[str], str | None]
    pools: Callable[[], Iterable[str]]


def alias_target(name: str, target: str, around: Neighbours) -> str:
    """Where an alias leads: to a canonical model or an exact name, in one step."""
    if around.is_pool(target):
        return ""
    if target == name or around.leads(target) is not None:
        if _loops(name, target, around):
            return f'"{target}" leads back to this alias'
        return f'"{target}" is an alias itself; an alias must lead to a canonical model or provider/model'
    provider, slash, model = target.partition("/")
    if slash and model and around.is_provider(provider):
        return ""
    close = get_close_matches(target, around.pools(), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f'unknown target "{target}": neither a pool nor provider/model of a known provider{hint}'


def _loops(name: str, target: str, around: Neighbours) -> bool:
    """Whether following the aliases from ``target`` leads back to ``name``, or for ever on."""
    seen = {name}
    following: str | None = target
    while following is not None:
        if following in seen:
            return True
        seen.add(following)
        following = around.leads(following)
    return False


def _beyond_path(parts: SplitResult) -> str:
    """What people paste from a vendor's pages with the address: an endpoint, a query."""
    if "api-version" in parts.query:
        return "must not have a query; its api-version is the option api_version"
    if parts.query or parts.fragment:
        return "must not have a query or a fragment"
    if parts.path.rstrip("/").endswith(_ENDPOINTS):
        return "must end before the endpoint, such as /chat/completions, which the gateway adds"
    return ""


def _is_link_local(host: str) -> bool:
    try:
        return ip_address(host).is_link_local
    except ValueError:
        return False
