"""Questions of operators about routing, answered by a resolver: what would this request get, and why.

``explain`` is for ``routing.live.ask``. It counts nothing and stores nothing (T2).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from routing.callers import user_path
from routing.explain import Assumption, explanation
from routing.resolver import Resolver, Survey
from routing.router import Plan, listed
from routing.types import Caller, Decision, Endpoint, RouteRequest


class QuestionError(ValueError):
    """The question is about something that does not exist; ``param`` says which part of it."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


@dataclass(frozen=True, slots=True)
class Question:
    """A request as an operator describes it; ``api_key_id`` is the client key that would send it."""

    model: str
    user_path: str = ""
    session_id: str = ""
    api_key_id: str = ""
    provider: str | None = None
    endpoint: Endpoint = Endpoint.CHAT
    assumptions: tuple[Assumption, ...] = ()


async def explain(resolver: Resolver, question: Question) -> dict[str, Any]:
    """The decision that this request would get now, all candidates with their reasons, and the outcome.

    Raises:
        QuestionError: an unknown client key, or an assumption about a candidate that the model has not.
    """
    caller = _caller(resolver, question)
    request = RouteRequest(
        model=question.model,
        endpoint=question.endpoint,
        caller=caller,
        provider=question.provider,
        session_key=question.session_id.strip() or (caller.user_path if caller else "") or None,
    )
    made, decision, survey = await resolver.ask(request)
    assumed = _assumed(question.assumptions, decision)
    answer = explanation(
        made, decision, table=survey.table, health=survey.health, now=survey.now, assumed=assumed
    )
    if caller is not None and not caller.is_valid_at(survey.now):
        answer["outcome"] = {
            "status": 401,
            "code": "invalid_api_key",
            "message": "The client key is switched off or has expired; no request of it gets this far.",
        }
    answer["listed"], reason = _listed(made, decision, survey, caller, resolver.expose_exact)
    if reason:
        answer["not_listed_because"] = reason
    if made.match is None:
        answer["suggestions"] = _similar(made.requested_model, survey)
    return answer


def _caller(resolver: Resolver, question: Question) -> Caller | None:
    """The key's owner with the user path that would hold; for a path without a key, a caller of no name."""
    if not question.api_key_id:
        path = user_path("", question.user_path)
        return Caller("", "anonymous", user_path=path) if path else None
    found = resolver.caller(question.api_key_id)
    if found is None:
        raise QuestionError(f"There is no client key {question.api_key_id}.", "api_key_id")
    if not question.user_path:
        return found
    return replace(found, user_path=user_path(found.user_path, question.user_path))


def _assumed(assumptions: Iterable[Assumption], decision: Decision) -> dict[str, Assumption]:
    states = decision.evaluation.states if decision.evaluation is not None else ()
    known = {state.candidate.selector for state in states}
    assumed: dict[str, Assumption] = {}
    for one in assumptions:
        if one.selector not in known:
            raise QuestionError(
                f"{decision.requested_model!r} has no candidate {one.selector!r}; "
                f"it has {', '.join(sorted(known)) or 'none'}.",
                "assume",
            )
        if one.selector in assumed:
            raise QuestionError(f"There are two assumptions about {one.selector!r}.", "assume")
        assumed[one.selector] = one
    return assumed


def _listed(
    made: Plan, decision: Decision, survey: Survey, caller: Caller | None, expose_exact: bool
) -> tuple[bool, str]:
    """Whether the models list has the name for this caller, and why not."""
    lines = listed(survey.table, survey.health, now=survey.now, caller=caller, expose_exact=expose_exact)
    if any(line.id == made.requested_model for line in lines):
        return True, ""
    if decision.refusal is not None:
        return False, decision.refusal.message
    if decision.matched_by == "bare":
        return False, "A bare model id is accepted, but only provider/model is listed."
    return False, "The name is accepted, but not listed."


def _similar(name: str, survey: Survey) -> list[str]:
    """Canonical names and aliases that look like it."""
    return difflib.get_close_matches(name, sorted({*survey.table.pools, *survey.table.aliases}), n=3)
