"""Try it, sent: one request through the data plane in the operator's name, its answer streamed to the page.

The session that posts is the credential: no key is made, so none can leak. Without scripts the whole page
comes back with the whole answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.cache import add_never_cache_headers

from dashboard.access import refusal
from dashboard.advice import advice
from dashboard.forms import TryForm
from dashboard.snippets import chat_curl
from dashboard.traces import trace, waterfall
from dashboard.views.requests import RECORDS
from dashboard.views.tries import KEYS, question
from proxying import tries
from proxying.chat_text import Said, StreamText, whole_text
from proxying.models import RequestRecord
from proxying.records import record_values
from proxying.runtime import current
from proxying.sse import encode_event
from routing.api.permissions import Right
from routing.callers import user_path
from routing.explain import parse_assumption
from routing.policies import Failure
from routing.types import Caller

NOT_OPEN = (
    "This process serves no requests, so nothing can be sent from it: serve Sluice with 'manage.py serve'."
)


@dataclass(frozen=True, slots=True)
class Ready:
    """A request that may be sent, and what its page will show besides."""

    asked: tries.Try
    base_url: str
    may_see_record: bool


class ProblemError(ValueError):
    """What was typed cannot be sent; the message says why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


async def send(request: HttpRequest) -> HttpResponseBase:
    """Send what was typed."""
    if request.method != "POST":
        return HttpResponseRedirect(reverse("dashboard:try"))
    scripted = request.headers.get("Accept") == "text/event-stream"
    try:
        refused = await sync_to_async(refusal)(request, Right.OPERATE)
        if refused is not None:
            return refused
        ready = await sync_to_async(_ready)(request)
        sent = await tries.send(ready.asked)
    except ProblemError as problem:
        response = await sync_to_async(_page)(
            request, scripted=scripted, status=problem.status, typing=str(problem)
        )
    else:
        if scripted:
            return _streaming(sent, ready)
        said = [one async for one in saying(sent)]
        response = await sync_to_async(_page)(request, scripted=False, said=said, **result(sent, ready))
    add_never_cache_headers(response)
    return response


def _streaming(sent: tries.Sent, ready: Ready) -> HttpResponseBase:
    response = StreamingHttpResponse(events(sent, ready), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


async def events(sent: tries.Sent, ready: Ready) -> AsyncGenerator[bytes, None]:
    """The answer for the page's script: ``head``, then ``said`` for each piece, at last ``end``."""
    served = sent.exchange.served
    head = {"status": sent.answer.status, "served": served.selector if served else ""}
    yield encode_event(orjson.dumps(head), b"head")
    async with aclosing(saying(sent)) as pieces:
        async for one in pieces:
            yield encode_event(orjson.dumps({"kind": one.kind, "text": one.text}), b"said")
    context = result(sent, ready)
    html = await sync_to_async(render_to_string)("dashboard/_sent.html", context)
    yield encode_event(orjson.dumps({"html": html}), b"end")


async def saying(sent: tries.Sent) -> AsyncGenerator[Said, None]:
    """What the answer says, as it comes. Closing it hangs up, as a client would."""
    answer = sent.answer
    if answer.stream is None:
        for one in whole_text(answer.body):
            yield one
        return
    text = StreamText()
    async with aclosing(answer.stream) as stream:
        async for piece in stream:
            for one in text.feed(piece):
                yield one


def result(sent: tries.Sent, ready: Ready) -> dict[str, Any]:
    """What became of it, for the template; call it when the answer has ended. It reads no database."""
    exchange = sent.exchange
    record = RequestRecord(**record_values(exchange))
    return {
        "trace": trace(record),
        "bars": waterfall(record),
        "headers": [(name.decode(), value.decode("latin-1")) for name, value in sent.answer.headers],
        "advice": advice(exchange.error_code, attempts=len(exchange.attempts), cut=exchange.outcome == "cut")
        if exchange.error_code
        else "",
        "curl": chat_curl(ready.base_url, orjson.loads(ready.asked.body())),
        "linked": ready.may_see_record and exchange.decision is not None,
    }


def _page(request: HttpRequest, *, scripted: bool, status: int = 200, **context: Any) -> HttpResponse:
    """The page again with what came of it; for the script the problem alone."""
    if scripted:
        return HttpResponse(context["typing"], content_type="text/plain; charset=utf-8", status=status)
    shown = {**question(request, request.POST), "typed": request.POST, **context}
    return render(request, "dashboard/try.html", shown, status=status)


def _ready(request: HttpRequest) -> Ready:
    form = TryForm(request.POST)
    if not form.is_valid():
        raise ProblemError(" ".join(_told(name, str(errors[0])) for name, errors in form.errors.items()))
    said = form.cleaned_data
    return Ready(
        tries.Try(
            caller=_caller(request, said["api_key_id"], said["user_path"]),
            model=said["model"],
            prompt=said["prompt"],
            system=said["system"],
            max_tokens=said["max_tokens"],
            stream=said["stream"],
            session=said["session_id"],
            pretended=_pretended(request.POST.getlist("assume")),
        ),
        base_url=request.build_absolute_uri("/v1"),
        may_see_record=request.user.has_perm(RECORDS),
    )


def _told(name: str, text: str) -> str:
    return text if name in {"model", "prompt"} else f"{name}: {text}"


def _caller(request: HttpRequest, key_id: str, asked_path: str) -> Caller:
    """The operator; with a client key chosen, with no more rights than that key."""
    try:
        resolver = current().resolver
    except RuntimeError as error:
        raise ProblemError(NOT_OPEN, status=503) from error
    name, who = request.user.get_username(), f"operator:{request.user.pk}"
    if not (key_id and request.user.has_perm(KEYS)):
        return Caller(who, name, user_path=user_path("", asked_path))
    key = resolver.caller(key_id)
    if key is None:
        raise ProblemError(f"There is no client key {key_id}.")
    if not key.is_valid_at(time.time()):
        raise ProblemError("The client key is switched off or has expired; no request of it gets this far.")
    return Caller(who, name, user_path=user_path(key.user_path, asked_path), models=key.models)


def _pretended(texts: list[str]) -> dict[str, Failure]:
    """The failures to pretend, by selector."""
    found: dict[str, Failure] = {}
    for text in texts[:50]:
        if not text:
            continue
        try:
            assumption = parse_assumption(text)
        except ValueError as error:
            raise ProblemError(str(error)) from error
        failure = assumption.failure()
        if failure is None:
            raise ProblemError(
                f"{text!r} is no failure: only failures can be pretended of a request that is sent."
            )
        found[assumption.selector] = failure
    return found
