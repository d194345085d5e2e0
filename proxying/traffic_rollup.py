"""Sums the workers' slices: into one row per ten seconds, and per minute and pool. One worker of all does it.

Each batch is one transaction in which the summed slices are emptied and marked, so every request is counted
once whatever stops halfway or comes late.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Model, QuerySet

from proxying.models import TrafficMinute, TrafficSlice
from proxying.traffic import SLICE_S, Counts, Key, as_json, from_json, merge, pool_key, pool_name

# Newer ones are left: who reads them wants to know which worker is alive, and more may come.
SETTLED_S: Final = 30
MINUTE_S: Final = 60
SLICES_AT_ONCE: Final = 500
SLICES_KEPT_S: Final = 3_900
ROWS_AT_ONCE: Final = 2_000


def roll_up(now: float | None = None) -> int:
    """Sum what has settled; how many slices that were."""
    now = time.time() if now is None else now
    before = datetime.fromtimestamp((now - SETTLED_S) // MINUTE_S * MINUTE_S, UTC)
    done = 0
    while found := _roll_up_some(before):
        done += found
    return done


def prune(now: float | None = None) -> int:
    """Forget what is older than it is kept, in small batches; how many rows that were."""
    at = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    slices = TrafficSlice.objects.filter(at__lt=at - timedelta(seconds=SLICES_KEPT_S))
    minutes = TrafficMinute.objects.filter(at__lt=at - timedelta(hours=settings.GATEWAY_TRAFFIC_KEEP_HOURS))
    return _delete(slices) + _delete(minutes)


def _roll_up_some(before: datetime) -> int:
    with transaction.atomic():
        rows = list(
            TrafficSlice.objects.select_for_update(skip_locked=connection.features.has_select_for_update)
            .filter(rolled_up=False, at__lte=before)
            .order_by("at", "pk")[:SLICES_AT_ONCE]
        )
        slices: dict[datetime, dict[Key, Counts]] = {}
        minutes: dict[datetime, dict[Key, Counts]] = {}
        for row in rows:
            series = from_json(row.pools)
            merge(slices.setdefault(row.at, {}), series)
            merge(minutes.setdefault(_minute(row.at), {}), series)
        TrafficSlice.objects.bulk_create(
            TrafficSlice(at=at, worker="", pools=as_json(series), rolled_up=True)
            for at, series in slices.items()
        )
        TrafficMinute.objects.bulk_create(
            TrafficMinute(at=at, pool=pool_name(pool), series=found)
            for at, series in minutes.items()
            for pool, found in {pool_key(""): [], **as_json(series)}.items()
        )
        TrafficSlice.objects.filter(pk__in=[row.pk for row in rows]).update(
            rolled_up=True, pools={}, in_flight={}
        )
    return len(rows)


def _minute(at: datetime) -> datetime:
    """The minute in which a slice was counted; ``at`` is its end."""
    return (at - timedelta(seconds=SLICE_S)).replace(second=0, microsecond=0)


def _delete(rows: QuerySet[Model]) -> int:
    deleted = 0
    while ids := list(rows.order_by("at").values_list("pk", flat=True)[:ROWS_AT_ONCE]):
        deleted += rows.model._default_manager.filter(pk__in=ids).delete()[0]
    return deleted
