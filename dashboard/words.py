"""The one word, icon and tone of each state, and values as people read them. Pure.

A tone is ``ok``, ``warn``, ``bad``, ``off`` or ``idle``; its colour is never all that says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from routing.types import CandidateStatus, PoolStatus, Reason, RuntimeClass


@dataclass(frozen=True, slots=True)
class Mark:
    """An icon, a word and a tone."""

    icon: str
    word: str
    tone: str


OK: Final = Mark("ok", "OK", "ok")
FAILED_OVER: Final = Mark("warn", "Failed over", "warn")
EFFECTIVE: Final = Mark("ok", "Effective", "ok")
STANDBY: Final = Mark("idle", "Standby", "idle")
IN_ROTATION: Final = Mark("ok", "In rotation", "ok")

POOLS: Final = {
    PoolStatus.DISABLED_MANUAL: Mark("off", "Disabled", "off"),
    PoolStatus.UNAVAILABLE: Mark("bad", "Unavailable", "bad"),
    PoolStatus.DEGRADED: Mark("warn", "Degraded", "warn"),
    PoolStatus.ENABLED: OK,
}
CANDIDATES: Final = {
    CandidateStatus.DISABLED_MANUAL: Mark("off", "Disabled", "off"),
    CandidateStatus.DISABLED_EFFECTIVE: Mark("off", "Pool disabled", "off"),
    CandidateStatus.MISSING_MODEL: Mark("bad", "Missing model", "bad"),
    CandidateStatus.UNHEALTHY_RUNTIME: Mark("bad", "Unhealthy", "bad"),
    CandidateStatus.INELIGIBLE: Mark("bad", "Ineligible", "bad"),
    CandidateStatus.DEGRADED_RUNTIME: Mark("warn", "Degraded", "warn"),
    CandidateStatus.ENABLED: STANDBY,
}
# A word that says more than "unhealthy", when the first reason has one.
RUNTIME_REASONS: Final = {
    Reason.CIRCUIT_OPEN: "Circuit open",
    Reason.COOLING_DOWN: "Cooling down",
    Reason.TRIAL_IN_FLIGHT: "On trial",
    Reason.PROVIDER_BUSY: "Busy",
}
PROVIDERS: Final = {
    RuntimeClass.HEALTHY: Mark("ok", "Healthy", "ok"),
    RuntimeClass.DEGRADED: Mark("warn", "Degraded", "warn"),
    RuntimeClass.UNHEALTHY: Mark("bad", "Unhealthy", "bad"),
}
PROVIDER_OFF: Final = Mark("off", "Disabled", "off")

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))


def duration(seconds: float) -> str:
    """Seconds in one unit, rounded down: ``40s``, ``4m``, ``2h``, ``3d``."""
    whole = max(int(seconds), 0)
    for size, unit in _UNITS:
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def milliseconds(value: float | None) -> str:
    """A latency in three digits: ``4.2ms``, ``812ms``, ``3.42s``, ``2.1m``; unknown is ``–``."""
    if value is None:
        return "–"
    if value < 10:
        return f"{value:.1f}ms"
    if value < 1_000:
        return f"{value:.0f}ms"
    if value < 60_000:
        return f"{value / 1_000:.2f}s" if value < 10_000 else f"{value / 1_000:.1f}s"
    return f"{value / 60_000:.1f}m"


def moment(at: float | None) -> datetime | None:
    """Unix seconds as an aware instant."""
    return None if at is None else datetime.fromtimestamp(at, UTC)


def percent(part: float | None) -> str:
    """A share from 0 to 1; one decimal below ten per cent; unknown is ``–``."""
    if part is None:
        return "–"
    value = part * 100
    return f"{value:.0f}%" if value >= 9.95 or value == 0 else f"{value:.1f}%"


def money(micro_usd: int | None) -> str:
    """A cost in dollars with the digits that say something; unknown is ``–``."""
    if micro_usd is None:
        return "–"
    dollars = micro_usd / 1_000_000
    return (
        f"${dollars:.2f}" if dollars >= 1 else f"${dollars:.4f}" if dollars >= 0.0001 else f"${dollars:.6f}"
    )
