"""``prune_records``: delete old request records, in batches that hold no lock for long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from proxying.models import RequestRecord
from routing.durations import parse_duration

BATCH: Final = 5_000


class Command(BaseCommand):
    help = "Delete request records older than a duration."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than", default="30d", help="For example 30d, 12h (default: 30d).")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            age = timedelta(seconds=parse_duration(options["older_than"]))
            before = timezone.now() - age
        except (ValueError, OverflowError) as error:
            raise CommandError(f"--older-than: {error}") from error
        deleted = 0
        while True:
            ids = list(
                RequestRecord.objects.filter(started_at__lt=before)
                .order_by("started_at")
                .values_list("id", flat=True)[:BATCH]
            )
            if not ids:
                break
            deleted += RequestRecord.objects.filter(id__in=ids).delete()[0]
        self.stdout.write(f"Deleted {deleted} request records from before {before:%Y-%m-%d %H:%M:%S %Z}.")
