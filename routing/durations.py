"""Durations as people write them, ``1h30m``, and as the tables hold them, seconds. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_UNITS: Final = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_PART: Final = re.compile(r"(\d{1,18}(?:\.\d{1,30})?)(ms|s|m|h|d)", re.ASCII)
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_NUMBER: Final = re.compile(r"(?:0|[1-9]\d{0,17})(?:\.\d{1,30})?", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of ``30m``, ``1h30m``, ``90s``, ``500ms``, ``7d`` or a bare number of seconds.

    Raises:
        ValueError: anything else; the message says what is allowed.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        raise ValueError("must be a duration such as 30m, 1h30m or 90s, or a number of seconds")
    return float(sum(Decimal(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


def format_duration(seconds: float) -> str:
    """The shortest text that ``parse_duration`` reads as exactly these seconds."""
    if seconds != int(seconds) or seconds < 1:
        return f"{Decimal(repr(seconds)):f}s"
    left = int(seconds)
    parts = []
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
