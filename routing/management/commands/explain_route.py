"""``explain_route``: what a request would get now, and why; it changes nothing."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from routing import live
from routing.explain import Assumption, parse_assumption
from routing.inquiry import Question, QuestionError, explain
from routing.types import Endpoint

SEEN: Final = (
    "Seen from the database and the shared cache: what a worker holds in its own memory (calls in flight, "
    "failures it has not shared, and with a per-process cache also pins and tickets) is not part of it."
)


class Command(BaseCommand):
    help = f"Say what a request for a model would get now, and why. It changes nothing. {SEEN}"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", help="the name that the client sends")
        parser.add_argument("--user-path", default="", metavar="/TEAM/A", help="the request's user path")
        parser.add_argument("--session-id", default="", metavar="ID", help="the request's session")
        parser.add_argument("--key", default="", metavar="ID", help="the id of the client key that sends it")
        parser.add_argument("--provider", metavar="NAME", help="the body field provider")
        parser.add_argument(
            "--endpoint",
            default=Endpoint.CHAT.value,
            choices=[one.value for one in Endpoint],
            help="what is asked for",
        )
        parser.add_argument(
            "--assume",
            action="append",
            default=[],
            type=assumption,
            metavar="P/M=429",
            help="what a candidate is assumed to answer: a status, timeout, connect or protocol; repeatable",
        )
        parser.add_argument("--json", action="store_true", help="the answer of the API instead of text")

    def handle(self, *args: Any, **options: Any) -> None:
        question = Question(
            model=options["model"],
            user_path=options["user_path"],
            session_id=options["session_id"],
            api_key_id=options["key"],
            provider=options["provider"],
            endpoint=Endpoint(options["endpoint"]),
            assumptions=tuple(options["assume"]),
        )
        try:
            answer = live.ask(lambda resolver: explain(resolver, question))
        except QuestionError as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False))
            return
        self.stdout.write("\n".join(lines(answer)))
        if not live.is_serving():
            self.stdout.write(f"\n{SEEN}")


def assumption(text: str) -> Assumption:
    """Read one ``--assume``."""
    try:
        return parse_assumption(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def lines(answer: dict[str, Any]) -> list[str]:
    """The explanation for people."""
    decision, outcome = answer["decision"], answer["outcome"]
    shown = [f"{decision['requested_model']}: {outcome_text(outcome)}", ""]
    shown += [f"  {number}. {step}" for number, step in enumerate(decision["steps"], 1)]
    if answer["candidates"]:
        shown += ["", *_candidates(answer)]
    if any(attempt["assumed"] for attempt in decision["attempts"]):
        shown += ["", "Attempts:", *(_attempt(attempt) for attempt in decision["attempts"])]
    if answer["policy"]:
        shown += ["", "Policy:"]
        shown += [
            f"  {name:<32} {_value(rule['value']):<28} from {rule['source']}"
            for name, rule in answer["policy"].items()
        ]
    shown += [
        "",
        f"Affinity: {decision['affinity']}   revision: {decision['revision']}   "
        f"listed in /v1/models: {'yes' if answer['listed'] else 'no'}",
    ]
    if "not_listed_because" in answer:
        shown.append(f"Not listed because: {answer['not_listed_because']}")
    if answer.get("suggestions"):
        shown.append(f"Did you mean: {', '.join(answer['suggestions'])}?")
    return shown


def outcome_text(outcome: dict[str, Any]) -> str:
    """Who would serve, or what the client would be told."""
    if "served_by" in outcome:
        return f"{outcome['served_by']} would serve it ({outcome['status']})."
    text = f"the client would get {outcome['status']}"
    if "code" in outcome:
        text += f" {outcome['code']}"
    if "retry_after_s" in outcome:
        text += f", Retry-After {outcome['retry_after_s']:g} s"
    return f"{text}: {outcome['message']}" if "message" in outcome else f"{text}."


def _candidates(answer: dict[str, Any]) -> list[str]:
    rows = sorted(answer["candidates"], key=lambda one: (one["order"] is None, one["order"] or 0))
    width = max(len(row["selector"]) for row in rows)
    shown = [f"Candidates of {answer['pool']['canonical_model']} ({answer['pool']['status']}):"]
    for row in rows:
        place = f"{row['order']}." if row["order"] is not None else "-"
        share = f", share {row['share']:.1%}" if "share" in row else ""
        primary = ", config primary" if row["is_config_primary"] else ""
        shown.append(
            f"  {place:<3} {row['selector']:<{width}}  {row['status']:<18} "
            f"priority {row['priority']}, weight {row['weight']}{share}{primary}"
        )
        shown += [f"      {reason['code']}: {reason['message']}" for reason in row["reasons"]]
    return shown


def _attempt(attempt: dict[str, Any]) -> str:
    answered = attempt["status"] if attempt["status"] is not None else attempt["error"]
    assumed = " (assumed)" if attempt["assumed"] else ""
    after = {True: ", fails over", False: ", ends here"}.get(attempt.get("fails_over", ""), "")
    return f"  {attempt['candidate']}: {answered}{assumed}{after}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
