"""The shape of the configuration file: its keys, their types and their bounds. Pure.

Values come in as texts (``routing.yaml_nodes``), and the type that belongs there decides what they mean:
a model named ``010`` stays that text, and ``weight: 010`` is refused rather than read as 8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from routing import refusals
from routing.durations import parse_duration
from routing.types import InventoryMode, Strategy, WhenAllBlocked
from routing.yaml_nodes import Path, Scalar

_TRUE: Final = frozenset({"true", "yes", "on"})
_FALSE: Final = frozenset({"false", "no", "off"})
_WHOLE: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")
_Word = TypeVar("_Word", bound=StrEnum)


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("fault", "{message}", {"message": message})


def _text(most: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise _fault(refusals.NOT_TEXT)
        text = value.strip()
        _refuse(refusals.text(text, most))
        return text

    return check


def _refuse(problem: str) -> None:
    if problem:
        raise _fault(problem)


def _optional_text(most: int) -> Callable[[Any], str]:
    check = _text(most)

    def check_optional(value: Any) -> str:
        return "" if isinstance(value, str) and not value.strip() else check(value)

    return check_optional


def _flag(value: Any) -> bool:
    word = value.lower() if isinstance(value, Scalar) and value.plain else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise _fault(refusals.NOT_FLAG + (", without quotes" if _is_quoted(value) else ""))


def _number(value: Any) -> int:
    if not isinstance(value, Scalar) or not value.plain or not _WHOLE.fullmatch(value):
        raise _fault(refusals.NOT_WHOLE + (", without quotes" if _is_quoted(value) else ""))
    return int(value)


def _count(value: Any) -> int:
    number = _number(value)
    _refuse(refusals.whole_number(number))
    return number


def _rank(value: Any) -> int:
    """Priority or weight; 0 is left to the strategy, which may not need it."""
    number = _number(value)
    _refuse(refusals.rank(number) if number else "")
    return number


def _duration(value: Any) -> float:
    if not isinstance(value, str):
        raise _fault("must be a duration such as 30m, 1h30m or 90s, or a number of seconds")
    text = value.strip()
    try:
        length = parse_duration(text.removeprefix("-"))
    except ValueError as error:
        raise _fault(str(error)) from error
    return -length if text.startswith("-") else length


def _seconds(value: Any) -> float:
    seconds = _duration(value)
    _refuse(refusals.seconds(seconds))
    return seconds


def _whole_seconds(value: Any) -> int:
    seconds = _duration(value)
    _refuse(refusals.whole_seconds(seconds))
    return int(seconds)


def _word(words: type[_Word], what: str) -> Callable[[Any], _Word]:
    def check(value: Any) -> _Word:
        text = value.strip().lower() if isinstance(value, str) else None
        for word in words:
            if word == text:
                return word
        raise _fault(refusals.word(value, words, what))

    return check


def _status(value: Any) -> int:
    is_number = isinstance(value, Scalar) and value.plain and _WHOLE.fullmatch(value)
    number = int(value) if is_number else None
    _refuse(refusals.status(number))
    return number or 0


def _model_id(value: Any) -> str:
    """A configured model: its id, or GoModel's ``{id: …, metadata: …}``."""
    if isinstance(value, dict):
        unknown = value.keys() - {"id", "metadata"}
        if unknown or "id" not in value:
            raise _fault("must be a model id, or a mapping with id")
        value = value["id"]
    return _text(refusals.MAX_NAME)(value)


def _is_quoted(value: Any) -> bool:
    return isinstance(value, Scalar) and not value.plain


Flag = Annotated[bool, BeforeValidator(_flag)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Rank = Annotated[int, BeforeValidator(_rank)]
Count = Annotated[int, BeforeValidator(_count)]
Name = Annotated[str, BeforeValidator(_text(refusals.MAX_NAME))]
Line = Annotated[str, BeforeValidator(_optional_text(refusals.MAX_LINE))]


class Section(BaseModel):
    """A mapping of the file: unknown keys are problems."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeoutsSection(Section):
    """Seconds one attempt may take; what is missing comes from the ``GATEWAY_*_TIMEOUT_S`` settings."""

    connect: Seconds | None = None
    first_byte: Seconds | None = None
    idle: Seconds | None = None
    total: Seconds | None = None


class ProviderSection(Section):
    """One entry of ``providers``. ``api_key`` is as written; ``None`` leaves what is stored.

    ``api_version`` is GoModel's place for the option of that name.
    """

    type: Annotated[str, BeforeValidator(_text(50))]
    api_key: Annotated[str, BeforeValidator(_optional_text(4096))] | None = Field(default=None, repr=False)
    base_url: Line = ""
    models: list[Annotated[str, BeforeValidator(_model_id)]] = Field(default_factory=list)
    options: dict[Name, Line] = Field(default_factory=dict)
    api_version: Line = ""
    timeouts: TimeoutsSection = TimeoutsSection()
    max_in_flight: Count | None = None


class FailoverSection(Section):
    """When the attempt loop goes on."""

    enabled: Flag | None = None
    max_attempts: Count | None = None
    retry_on_statuses: list[Annotated[int, BeforeValidator(_status)]] | None = None
    retry_on_model_errors: Flag | None = None


class PolicySection(Section):
    """``routing.defaults``, and what a pool may set itself."""

    strategy: Annotated[Strategy, BeforeValidator(_word(Strategy, "strategy"))] | None = None
    session_affinity: Flag | None = None
    session_affinity_ttl: Annotated[int, BeforeValidator(_whole_seconds)] | None = None
    failover: FailoverSection = FailoverSection()
    when_all_blocked: Annotated[WhenAllBlocked, BeforeValidator(_word(WhenAllBlocked, "word"))] | None = None


class CandidateSection(Section):
    """One candidate of a pool."""

    provider: Name
    model: Name
    priority: Rank = 1
    weight: Rank = 1


class PoolSection(PolicySection):
    """One entry of ``routing.model_pools``; each candidate is checked on its own."""

    description: Line = ""
    candidates: list[Any]


class ModelsSection(Section):
    """``models``: how configured inventories count."""

    configured_provider_models_mode: Annotated[
        InventoryMode, BeforeValidator(_word(InventoryMode, "mode"))
    ] = InventoryMode.FALLBACK


class AliasSection(Section):
    """One entry of ``aliases``."""

    target: Annotated[str, BeforeValidator(_text(400))]


class RoutingSection(Section):
    """``routing``: its parts are checked on their own."""

    defaults: Any = None
    model_pools: dict[str, Any] = Field(default_factory=dict)


class FileSection(Section):
    """The whole file: its parts are checked on their own."""

    providers: dict[str, Any] = Field(default_factory=dict)
    models: Any = None
    aliases: dict[str, Any] = Field(default_factory=dict)
    routing: Any = None


_AnySection = TypeVar("_AnySection", bound=Section)
_SENTENCES: Final[Mapping[str, str]] = {
    "missing": "is required",
    "model_type": refusals.NOT_MAPPING,
    "dict_type": refusals.NOT_MAPPING,
    "list_type": refusals.NOT_LIST,
}


def check(section: type[_AnySection], value: Any) -> tuple[_AnySection | None, list[tuple[Path, str]]]:
    """The value as a section, and every fault of its shape with its path inside the value.

    A faulty part is left out and the rest is still returned, so that later checks can go on; ``None`` when
    what is left is not enough.
    """
    try:
        return section.model_validate(value), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    faults = [(_path(item), _sentence(section, item)) for item in details]
    if not isinstance(value, dict):
        return None, faults
    faulty = {path[0] for path, _ in faults}
    try:
        return section.model_validate({key: part for key, part in value.items() if key not in faulty}), faults
    except ValidationError:
        return None, faults


def _path(details: ErrorDetails) -> Path:
    path = tuple(details["loc"])
    return path[:-1] if path and path[-1] == "[key]" else path


def _sentence(section: type[Section], details: ErrorDetails) -> str:
    if details["type"] != "extra_forbidden":
        return _SENTENCES.get(details["type"]) or details["msg"]
    *around, key = details["loc"]
    known = section if not around else _INNER.get(str(around[-1]), section)
    close = get_close_matches(str(key), list(known.model_fields), n=1)
    return "unknown key" + (f"; did you mean {close[0]}?" if close else "")


_INNER: Final[Mapping[str, type[Section]]] = {"failover": FailoverSection, "timeouts": TimeoutsSection}
