"""Request records as the pages show them: a row with pips, a waterfall with bars. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from dashboard.words import Mark, milliseconds

OK: Final = Mark("ok", "OK", "ok")
FAILED_OVER: Final = Mark("warn", "OK after failover", "warn")
ERROR: Final = Mark("bad", "Error", "bad")
CUT: Final = Mark("bad", "Cut", "bad")
GONE: Final = Mark("off", "Client gone", "off")
REFUSED: Final = Mark("off", "Refused", "off")


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt on the time axis; positions and widths are thousandths of the whole request."""

    number: int
    selector: str
    tone: str
    text: str
    error: str
    left: float
    width: float
    first_content: float | None
    after_content: float | None
    latency: str

    @property
    def why(self) -> str:
        """The error without the status, which stands before it."""
        status, _, rest = self.error.partition(" ")
        return rest if status == self.text else self.error


@dataclass(frozen=True, slots=True)
class Trace:
    """One record. ``pips`` has a tone per attempt."""

    record: Any
    mark: Mark
    pips: tuple[str, ...]

    @property
    def served(self) -> str:
        """Who answered, as ``provider/model``; empty when nobody did."""
        record = self.record
        if not record.selected_provider_name:
            return ""
        return f"{record.selected_provider_name}/{record.selected_exact_model}"

    @property
    def tokens(self) -> str:
        """Tokens in and out; unknown is ``–``."""
        prompt, completion = self.record.prompt_tokens, self.record.completion_tokens
        if prompt is None and completion is None:
            return "–"
        return f"{'–' if prompt is None else prompt} → {'–' if completion is None else completion}"


def traces(records: Iterable[Any]) -> list[Trace]:
    """The rows of a list, in the order given."""
    return [trace(record) for record in records]


def trace(record: Any) -> Trace:
    """One record with its mark and its pips."""
    return Trace(record, _mark(record), tuple(_tone(attempt) for attempt in record.attempts))


def waterfall(record: Any) -> list[Bar]:
    """The attempts on one time axis, from the request's arrival to its end."""
    whole = max(float(record.latency_ms), 0.001)
    bars = []
    for number, attempt in enumerate(record.attempts, 1):
        served = number == len(record.attempts) and not attempt.get("error")
        started = max((_unix(attempt.get("started_at")) - record.started_at.timestamp()) * 1000, 0.0)
        ended = whole if served else started + float(attempt.get("latency_ms") or 0.0)
        left, right = _place(started, whole), _place(ended, whole)
        first = _place(float(record.first_content_ms), whole) if served and record.first_content_ms else None
        bars.append(
            Bar(
                number=number,
                selector=f"{attempt.get('provider', '')}/{attempt.get('model', '')}",
                tone=_tone(attempt),
                text=_text(attempt, record, served=served),
                error=str(attempt.get("error") or ""),
                left=left,
                width=round(max(right - left, 4.0), 1),
                first_content=first,
                after_content=None if first is None else round(max(right - first, 0.0), 1),
                latency=milliseconds(ended - started),
            )
        )
    return bars


def _mark(record: Any) -> Mark:
    words = {"client_gone": GONE, "cut": CUT}
    if record.outcome in words:
        return words[record.outcome]
    if record.outcome == "ok":
        return FAILED_OVER if record.failover_used else OK
    return ERROR if record.attempts else REFUSED


def _tone(attempt: dict[str, Any]) -> str:
    return "bad" if attempt.get("error") else "ok"


def _text(attempt: dict[str, Any], record: Any, *, served: bool) -> str:
    status = "no answer" if attempt.get("status") is None else str(attempt["status"])
    if not served or record.first_content_ms is None:
        return status
    return f"{status}, first content after {milliseconds(record.first_content_ms)}"


def _place(at_ms: float, whole_ms: float) -> float:
    return round(min(max(at_ms / whole_ms, 0.0), 1.0) * 1000, 1)


def _unix(value: Any) -> float:
    """When an attempt began: Unix seconds, or ISO 8601 in older rows."""
    if isinstance(value, int | float):
        return float(value)
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return 0.0
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
