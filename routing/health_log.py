"""The log lines about health, all by the logger ``sluice.health``: one for each change, where it was seen."""

from __future__ import annotations

import logging
from typing import Final

from routing.discovery import ProbeResult
from routing.transitions import Transition
from routing.types import Discovery, DiscoveryState

_LEVELS: Final = {
    "circuit_open": logging.WARNING,
    "credential_refused": logging.WARNING,
    "trial_in_flight": logging.DEBUG,
    "trial_released": logging.DEBUG,
}

logger = logging.getLogger("sluice.health")


def log_transition(transition: Transition) -> None:
    """A change of a circuit or a credential."""
    model = f"/{transition.model}" if transition.model else ""
    logger.log(
        _LEVELS.get(transition.what, logging.INFO),
        "Health of %s%s: %s",
        transition.provider,
        model,
        transition.what,
        extra={
            "event_type": transition.what,
            "provider": transition.provider,
            "model": transition.model,
            "cause": transition.cause,
            "until": transition.until,
        },
    )


def log_discovery(provider: str, before: Discovery, result: ProbeResult) -> None:
    """A model discovery that ended otherwise than the one before it."""
    if (before.state, before.error) == (result.state, result.error):
        return
    failed = result.state is DiscoveryState.FAILED
    logger.log(
        logging.WARNING if failed else logging.INFO,
        "Model discovery of %s: %s",
        provider,
        result.state.value,
        extra={
            "event_type": f"discovery_{result.state.value}",
            "provider": provider,
            "cause": result.error or result.note,
            "models": len(result.models),
        },
    )
