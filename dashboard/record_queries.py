"""Reads of request records: narrowed by what stands in the URL, newest first, paged by a cursor."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db.models import Q, QuerySet

from proxying.models import RequestRecord

PAGE_SIZE: Final = 50
SINCE: Final = {"15m": 15, "1h": 60, "6h": 360, "24h": 1_440, "7d": 10_080}
OUTCOMES: Final = ("ok", "error", "cut", "client_gone")
SOURCES: Final = {"api": "clients", "try_it": "Try it"}
STATUSES: Final = ("2xx", "4xx", "5xx")
FILTERS: Final = ("model", "provider", "status", "outcome", "caller", "since", "failover", "source", "id")

# What a list shows; the rest of a row is read with the one record.
_COLUMNS: Final = (
    "request_id",
    "decision_id",
    "started_at",
    "endpoint",
    "requested_model",
    "canonical_model",
    "selected_provider_name",
    "selected_exact_model",
    "attempts",
    "affinity",
    "failover_used",
    "streamed",
    "status",
    "outcome",
    "error_code",
    "latency_ms",
    "first_content_ms",
    "prompt_tokens",
    "completion_tokens",
    "cost_microusd",
    "caller_name",
    "source",
)


def newest(filters: Mapping[str, str], cursor: str = "", size: int = PAGE_SIZE) -> list[RequestRecord]:
    """One page, and one row more when there are more."""
    rows = _narrowed(RequestRecord.objects.only(*_COLUMNS), filters)
    after = read_cursor(cursor)
    if after is not None:
        at, pk = after
        # The first condition bounds the index, the second says where within one instant.
        rows = rows.filter(started_at__lte=at).filter(Q(started_at__lt=at) | Q(pk__lt=pk))
    return list(rows.order_by("-started_at", "-id")[: size + 1])


def last_of_pool(canonical_model: str, size: int = 8) -> list[RequestRecord]:
    """The newest requests of a pool."""
    rows = RequestRecord.objects.only(*_COLUMNS).filter(canonical_model=canonical_model)
    return list(rows.order_by("-started_at", "-id")[:size])


def record(decision_id: str) -> RequestRecord | None:
    """The one record of a decision."""
    return RequestRecord.objects.filter(decision_id=decision_id).first()


def cursor_of(row: RequestRecord) -> str:
    """Where the page after this row begins."""
    return f"{int(row.started_at.timestamp() * 1_000_000)}-{row.pk}"


def read_cursor(text: str) -> tuple[datetime, int] | None:
    """The instant and the id that a cursor names; None when it is none."""
    micros, dash, pk = text.partition("-")
    if not (dash and micros.isdigit() and pk.isdigit() and len(micros) < 18 and len(pk) < 19):
        return None
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(micros)), int(pk)


def _narrowed(rows: QuerySet[RequestRecord], filters: Mapping[str, str]) -> QuerySet[RequestRecord]:
    given = {name: filters.get(name, "").strip() for name in FILTERS}
    columns = {
        "provider": "selected_provider_name",
        "outcome": "outcome",
        "caller": "caller_name",
        "source": "source",
    }
    rows = rows.filter(**{column: given[name] for name, column in columns.items() if given[name]})
    if given["id"]:
        rows = rows.filter(Q(request_id=given["id"]) | Q(decision_id=given["id"]))
    if given["model"]:
        # Both sides begin with an indexed column: no scan of millions of rows.
        exact = Q(canonical_model="", requested_model=given["model"])
        rows = rows.filter(Q(canonical_model=given["model"]) | exact)
    if given["failover"]:
        rows = rows.filter(failover_used=True)
    if given["since"] in SINCE:
        rows = rows.filter(started_at__gte=datetime.now(UTC) - timedelta(minutes=SINCE[given["since"]]))
    status = given["status"]
    if status in {"1xx", "2xx", "3xx", "4xx", "5xx"}:
        rows = rows.filter(status__gte=int(status[0]) * 100, status__lt=int(status[0]) * 100 + 100)
    elif status.isdigit() and len(status) == 3:
        rows = rows.filter(status=int(status))
    return rows
