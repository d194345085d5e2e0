"""Why a request would go where it goes, and what a failover would do. Pure: nothing is counted or stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from routing import shapes
from routing.policies import Failure, attempts_allowed, policy_values, should_fail_over
from routing.router import Plan
from routing.types import Affinity, Decision, HealthView, RoutingTable

_WORDS: Final = ("timeout", "connect", "protocol")


@dataclass(frozen=True, slots=True)
class Assumption:
    """What a candidate is assumed to answer: a status, or one of ``timeout``, ``connect``, ``protocol``."""

    selector: str
    answer: int | str

    def failure(self) -> Failure | None:
        """The failure that it stands for; None for a success."""
        if self.answer == "timeout":
            return Failure("timeout")
        if self.answer == "connect":
            return Failure("connect")
        if self.answer == "protocol":
            return Failure("protocol")
        status = int(self.answer)
        if 300 <= status < 400:
            return Failure("protocol")  # redirects are not followed
        return None if status < 300 else Failure("status", status=status)


def parse_assumption(text: str) -> Assumption:
    """Read ``provider/model=429`` or ``provider/model=timeout``.

    Raises:
        ValueError: it is neither; the message says what is expected.
    """
    found = re.fullmatch(r"(.+)=(\w+)", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not of the form provider/model=429 or provider/model=timeout.")
    return Assumption(found[1], parse_answer(found[2]))


def parse_answer(answer: Any) -> int | str:
    """A status from 100 to 599, or one of the words.

    Raises:
        ValueError: it is neither.
    """
    if answer in _WORDS:
        return str(answer)
    text = str(answer)
    if text.isascii() and text.isdigit() and 100 <= int(text) <= 599 and not isinstance(answer, bool):
        return int(text)
    raise ValueError(f"{answer!r} is neither a status from 100 to 599 nor one of {', '.join(_WORDS)}.")


def walk(decision: Decision, assumed: Mapping[str, Assumption]) -> tuple[list[shapes.Shape], shapes.Shape]:
    """The attempts that the loop would make if candidates answered as assumed (the others: 200), and the end.

    Candidates that a live loop would skip because they were blocked meanwhile are not foreseen. The outcome
    is ``{"status", "code"?}``, with ``served_by`` when somebody served.
    """
    if decision.refusal is not None:
        refusal = decision.refusal
        outcome: shapes.Shape = {"status": refusal.status, "code": refusal.code, "message": refusal.message}
        if refusal.retry_after_s is not None:
            outcome["retry_after_s"] = round(refusal.retry_after_s, 3)
        return [], outcome
    attempts: list[shapes.Shape] = []
    policy = decision.policy.failover
    for candidate in decision.order[: attempts_allowed(policy)]:
        assumption = assumed.get(candidate.selector)
        failure = assumption.failure() if assumption is not None else None
        attempt: shapes.Shape = {
            "candidate": candidate.selector,
            "provider": candidate.provider,
            "model": candidate.model,
            "assumed": assumption is not None,
        }
        attempts.append(attempt)
        if failure is None:
            attempt["status"] = assumption.answer if assumption is not None else 200
            return attempts, {"status": attempt["status"], "served_by": candidate.selector}
        attempt.update(
            status=failure.status, error=failure.kind, fails_over=should_fail_over(failure, policy)
        )
        if not attempt["fails_over"]:
            break
    return attempts, _exhausted(attempts[-1])


def _exhausted(last: shapes.Shape) -> shapes.Shape:
    """What the client would get from the last failure; see ``proxying.errors`` for the codes."""
    if last["status"] == 401:
        return {"status": 502, "code": "upstream_auth_error"}
    if last["status"] is not None:
        return {"status": last["status"]}
    codes = {"timeout": (504, "upstream_timeout"), "connect": (502, "upstream_unreachable")}
    status, code = codes.get(last["error"], (502, "upstream_protocol_error"))
    return {"status": status, "code": code}


def _served(attempts: list[shapes.Shape], outcome: shapes.Shape) -> shapes.Shape:
    """What a record would say of who served: after a failover not the candidate that was tried first."""
    last = attempts[-1] if attempts else {}
    used = len(attempts) > 1
    return {
        "selected_provider_name": last.get("provider"),
        "selected_exact_model": last.get("model"),
        "failover_used": used,
        "fallback_target": outcome.get("served_by") if used else None,
    }


def _choice(decision: Decision) -> list[str]:
    """The step after the match, in words: pin or strategy."""
    first = decision.effective_candidate
    if first is None or decision.evaluation is None:
        return []
    if decision.affinity is Affinity.HIT:
        return [f"The session is pinned to {first.selector}."]
    pinned = {
        Affinity.NONE: [],
        Affinity.MISS: ["The session has no pin yet."],
        Affinity.REPIN: ["The session's pin leads to a candidate that cannot be used now."],
    }[decision.affinity]
    strategy = decision.policy.strategy.value
    if decision.slot is not None:
        counts = shapes.slots(decision.evaluation.selectable)
        return [*pinned, f"{strategy}: slot {decision.slot + 1} of {counts} belongs to {first.selector}."]
    if len(decision.order) == 1:
        return [*pinned, f"{first.selector} is the only candidate that can be used."]
    return [*pinned, f"{strategy}: {first.selector} comes first of {len(decision.order)}."]


def explanation(
    made: Plan,
    decision: Decision,
    *,
    table: RoutingTable,
    health: HealthView,
    now: float,
    assumed: Mapping[str, Assumption],
) -> shapes.Shape:
    """The whole answer of ``explain``; ``decision`` comes from a peek at the same table and health."""
    attempts, outcome = walk(decision, assumed)
    answer: shapes.Shape = {
        "decision": {
            **shapes.decision(decision),
            **_served(attempts, outcome),
            "attempts": attempts,
            "steps": [*made.steps, *_choice(decision)],
        },
        "candidates": [],
        "policy": {},
        "outcome": outcome,
    }
    evaluation = decision.evaluation
    if evaluation is not None:
        place = {candidate: index for index, candidate in enumerate(decision.order, 1)}
        answer["candidates"] = [
            {**shape, "order": place.get(state.candidate)}
            for shape, state in zip(
                shapes.candidates(evaluation, table, health, now, decision.effective_candidate),
                evaluation.states,
                strict=True,
            )
        ]
        answer["policy"] = policy_values(evaluation.pool)
        answer["pool"] = {
            "canonical_model": evaluation.pool.canonical_model,
            "status": evaluation.status.value,
            "status_reason": evaluation.status_reason,
            "synthetic": evaluation.pool.synthetic,
        }
    return answer
