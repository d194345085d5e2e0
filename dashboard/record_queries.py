"""Reads of request records: narrowed by what stands in the URL, newest first, paged by a cursor."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import OperationalError, connection, transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, QuerySet

from proxying.models import RequestRecord

PAGE_SIZE: Final = 50
# How long PostgreSQL may walk along the newest rows, and then gather all that match.
WALK_MS: Final = 100
GATHER_MS: Final = 1_000
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


class SearchTooLongError(Exception):
    """The database gave up: nothing narrows the search enough."""


def newest(filters: Mapping[str, str], cursor: str = "", size: int = PAGE_SIZE) -> list[RequestRecord]:
    """One page, and one row more when there are more.

    Raises:
        SearchTooLongError: millions of rows match each filter, and hardly one all of them.
    """
    rows = _narrowed(RequestRecord.objects.only(*_COLUMNS), filters)
    after = read_cursor(cursor)
    if after is not None:
        at, pk = after
        # The first condition bounds the index, the second says where within one instant.
        rows = rows.filter(started_at__lte=at).filter(Q(started_at__lt=at) | Q(pk__lt=pk))
    model = filters.get("model", "").strip()
    if not model:
        return _first(rows, size + 1)
    # Two searches, each along an index of its own: with OR between them there is none.
    found = _first(rows.filter(canonical_model=model), size + 1)
    found += _first(rows.filter(canonical_model="", requested_model=model), size + 1)
    return sorted(found, key=lambda row: (row.started_at, row.pk), reverse=True)[: size + 1]


def _first(rows: QuerySet[RequestRecord], count: int) -> list[RequestRecord]:
    """The newest so many.

    PostgreSQL takes filters for independent of each other, and walks along the newest rows until it has seen
    enough; of two filters that never meet it would read everything. So it may not for long, and then has to
    find all matches first, which is quick where they are few.
    """
    ordered = rows.order_by("-started_at", "-id")
    if connection.vendor != "postgresql":
        return list(ordered[:count])
    found = _within(WALK_MS, ordered[:count])
    if found is None:
        at = ExpressionWrapper(F("started_at") + timedelta(0), DateTimeField())
        found = _within(GATHER_MS, rows.order_by(at.desc(), "-id")[:count])
    if found is None:
        raise SearchTooLongError
    return found


def _within(limit_ms: int, rows: QuerySet[RequestRecord]) -> list[RequestRecord] | None:
    """The rows, or None when the database needs longer."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(limit_ms)])
            found = list(rows)
            if connection.savepoint_ids:  # else it ends with the transaction
                cursor.execute("SELECT set_config('statement_timeout', '0', true)")
            return found
    except OperationalError as error:
        if type(error.__cause__).__name__ != "QueryCanceled":
            raise
        return None


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
