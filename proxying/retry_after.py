"""How long a provider asks to wait: from headers, or from the body where there is no header."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

# "20s", "1m26.4s", "6m0s", "120ms", "1h2m"
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_IN_TEXT: Final = re.compile(
    r"(?:try again|retry|wait)[^.\d]{0,30}?((?:\d{1,9}(?:\.\d{1,9})?(?:h|ms|m|s(?![a-z]))){1,4}"
    r"|\d{1,9}(?:\.\d{1,9})? ?sec(?:ond)?s?\b)",
    re.IGNORECASE,
)
_LONGEST_VALUE: Final = 64


def from_headers(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date).

    None when neither says something usable. A zero beside a positive value of the other does not count: Azure
    sends ``retry-after: 1`` with ``retry-after-ms: 0``.
    """
    from_ms = _number(headers.get("retry-after-ms", ""))
    stated = headers.get("retry-after", "")
    from_s = _number(stated)
    if from_s is None:
        from_s = _seconds_until(stated, now)
    if from_ms:
        return from_ms / 1000
    return from_s if from_s is not None else from_ms


def from_body(error: Mapping[str, Any], message: str) -> float | None:
    """Seconds to wait, from Gemini's ``details[].retryDelay`` or the words "try again in 1m2.5s"."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str):
            return parse_duration(detail["retryDelay"])
    found = _IN_TEXT.search(message[:2000])
    if found is None:
        return None
    words = found[1].lower()
    return parse_duration(words) if "sec" not in words else _number(words.split("s")[0])


def parse_duration(text: str) -> float | None:
    """Seconds of ``1h2m3.5s`` or ``120ms``; None when it is not one."""
    found = _DURATION.fullmatch(text.strip()[:_LONGEST_VALUE])
    if found is None or not found[0]:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _number(text: str) -> float | None:
    text = text.strip()
    if not text or len(text) > _LONGEST_VALUE or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _seconds_until(text: str, now: float) -> float | None:
    if not text or len(text) > _LONGEST_VALUE:
        return None
    try:
        instant = parsedate_to_datetime(text)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        return max(0.0, instant.timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
