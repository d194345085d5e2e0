"""The home page with every pool, and the page of one."""

from __future__ import annotations

from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from dashboard import board, chart, numbers, queries, record_queries
from dashboard.access import common, is_part, page
from dashboard.providers import provider_rows
from dashboard.snippets import sdk_chat, stub_curl
from dashboard.traces import traces
from dashboard.views.requests import RECORDS
from proxying.traffic import WINDOWS
from routing.policies import policy_values
from routing.shapes import failover

# Problems come first, so that what is left out of a long list can wait; a page of hundreds of pools cannot.
SHOWN: Final = 60
STATES = ("problem", "OK", "Failed over", "Degraded", "Unavailable", "Disabled")


@page()
def pools(request: HttpRequest) -> HttpResponse:
    """Which pools are not serving as configured, why, and since when."""
    survey = queries.survey()
    rows = board.pool_rows(survey)
    filters = {name: request.GET.get(name, "")[:300] for name in ("q", "state", "provider")}
    if request.GET.get("problems"):
        filters["state"] = filters["state"] or "problem"
    matching = board.only(rows, text=filters["q"], state=filters["state"], provider=filters["provider"])
    shown = matching if request.GET.get("all") else matching[:SHOWN]
    providers = provider_rows(survey)
    found = queries.traffic()
    its = numbers.of_pools(found, (row.name for row in shown))
    context = {
        **common(request, "pools"),
        "numbers": numbers.overall(found),
        "by_pool": numbers.by_pool(its),
        "by_candidate": numbers.by_candidate(its),
        "rows": shown,
        "total": len(rows),
        "left_out": len(matching) - len(shown),
        "all_url": "?" + urlencode({**{name: value for name, value in filters.items() if value}, "all": "1"}),
        "all": bool(request.GET.get("all")),
        "seen": survey.table.revision,
        "now": survey.now,
        "filters": filters,
        "states": STATES,
        "provider_names": sorted(survey.table.providers),
        "problems": board.problems(rows),
        "sick_providers": [row for row in providers if row.mark.tone == "bad"],
        "skipped": survey.table.skipped,
    }
    return render(request, "dashboard/_pools.html" if is_part(request) else "dashboard/pools.html", context)


@page()
def pool(request: HttpRequest, name: str) -> HttpResponse:
    """One pool: what it does now and why, its candidates with all reasons, its policy, its history."""
    survey = queries.survey({name})
    row = next(iter(board.pool_rows(survey)), None)
    if row is None:
        raise Http404(f"There is no pool {name}.")
    found, base_url = queries.traffic(name), request.build_absolute_uri("/v1")
    context = {
        **common(request, "pools"),
        "numbers": numbers.by_pool(found)[name],
        "by_candidate": numbers.by_candidate(found),
        "row": row,
        "row_id": queries.pool_id(name),
        "sentence": board.sentence(row),
        "seen": survey.table.revision,
        "now": survey.now,
        "policy": policy_values(row.pool),
        "failover": failover(row.pool.policy),
        **_over_time(request, row),
        "curl": stub_curl(base_url, "chat_completions", name),
        "sdk": sdk_chat(base_url, name),
    }
    return render(request, "dashboard/_pool.html" if is_part(request) else "dashboard/pool.html", context)


def _over_time(request: HttpRequest, row: board.PoolRow) -> dict[str, Any]:
    """What happened to a pool in the window that the address names, and last."""
    changes = queries.changes_of_pool(row.name, {one.candidate.provider for one in row.candidates})
    window = WINDOWS.get(request.GET.get("window", ""), WINDOWS["15m"])
    candidates = [(one.candidate.provider, one.candidate.model) for one in row.candidates]
    may_see_requests = request.user.has_perm(RECORDS)
    history = queries.history(row.name, window)
    return {
        "changes": changes[:8],
        "chart": chart.draw(history, candidates, (one.revision for one in changes)),
        "windows": WINDOWS,
        "may_see_requests": may_see_requests,
        "last": traces(record_queries.last_of_pool(row.name)) if may_see_requests else [],
    }
