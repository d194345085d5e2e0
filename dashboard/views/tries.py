"""Try it: what a request would get now, and what a failover would do. Nothing is sent, counted or stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render

from dashboard import queries
from dashboard.access import common, is_part, page
from routing import live
from routing.explain import Assumption, parse_assumption
from routing.inquiry import Question, QuestionError, explain
from routing.resolver import Resolver
from routing.services import Invalid

ANSWERS: Final = ("503", "429", "404", "401", "timeout", "connect", "protocol")
KEYS: Final = "routing.view_clientkey"
# A first request that needs no thought: short, and cheap anywhere.
EXAMPLE: Final = {"prompt": "Say hello in one sentence.", "max_tokens": "256", "stream": "1"}
_ASKED: Final = ("model", "session_id", "user_path", "api_key_id")


@page()
def explanation(request: HttpRequest) -> HttpResponse:
    """The decision for the request that the URL describes, with every candidate and each pretended answer."""
    context = {**question(request, request.GET), "typed": EXAMPLE}
    return render(request, "dashboard/_try.html" if is_part(request) else "dashboard/try.html", context)


def question(request: HttpRequest, given: QueryDict) -> dict[str, Any]:
    """What the page shows of a question: its fields, the answer or the problem with it."""
    asked = {name: given.get(name, "").strip()[:300] for name in _ASKED}
    assumed = [text for text in given.getlist("assume")[:50] if text]
    may_see_keys = request.user.has_perm(KEYS)
    answer: dict[str, Any] | None = None
    problem = ""
    if asked["model"]:
        try:
            answer = _answer(asked if may_see_keys else {**asked, "api_key_id": ""}, assumed)
        except (QuestionError, Invalid) as error:
            problem = error.message
        except ValueError as error:
            problem = str(error)
    names = queries.public_names()
    return {
        **common(request, "try"),
        "asked": asked,
        "assumed": dict(text.rpartition("=")[::2] for text in assumed),
        "answer": answer,
        "problem": problem,
        "answers": ANSWERS,
        "names": names,
        "exact_names": queries.exact_names(),
        "keys": queries.client_keys() if may_see_keys else None,
    }


def _answer(asked: Mapping[str, str], texts: list[str]) -> dict[str, Any]:
    assumptions: tuple[Assumption, ...] = tuple(parse_assumption(text) for text in texts)
    asking = Question(
        asked["model"],
        user_path=asked["user_path"],
        session_id=asked["session_id"],
        api_key_id=asked["api_key_id"],
        assumptions=assumptions,
    )

    async def ask(resolver: Resolver) -> dict[str, Any]:
        return await explain(resolver, asking)

    return live.ask(ask)
