"""Try it: what a request would get now, and what a failover would do. Nothing is sent, counted or stored."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from dashboard import queries
from dashboard.access import common, is_part, page
from routing import live
from routing.explain import Assumption, parse_assumption
from routing.inquiry import Question, QuestionError, explain
from routing.resolver import Resolver
from routing.services import Invalid

ANSWERS = ("503", "429", "404", "401", "timeout", "connect", "protocol")
KEYS = "routing.view_clientkey"


@page()
def explanation(request: HttpRequest) -> HttpResponse:
    """The decision for the request that the URL describes, with every candidate and each pretended answer."""
    names = ("model", "session_id", "user_path", "api_key_id")
    asked = {name: request.GET.get(name, "").strip()[:300] for name in names}
    assumed = [text for text in request.GET.getlist("assume")[:50] if text]
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
    context = {
        **common(request, "try"),
        "asked": asked,
        "assumed": dict(text.rpartition("=")[::2] for text in assumed),
        "answer": answer,
        "problem": problem,
        "answers": ANSWERS,
        "names": queries.public_names(),
        "keys": queries.client_keys() if may_see_keys else None,
    }
    return render(request, "dashboard/_try.html" if is_part(request) else "dashboard/try.html", context)


def _answer(asked: dict[str, str], texts: list[str]) -> dict[str, Any]:
    assumptions: tuple[Assumption, ...] = tuple(parse_assumption(text) for text in texts)
    question = Question(
        asked["model"],
        user_path=asked["user_path"],
        session_id=asked["session_id"],
        api_key_id=asked["api_key_id"],
        assumptions=assumptions,
    )

    async def ask(resolver: Resolver) -> dict[str, Any]:
        return await explain(resolver, question)

    return live.ask(ask)
