"""``expire_switches``: write back the switches whose time is over, as a worker does every few seconds."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from routing import services


class Command(BaseCommand):
    help = (
        "Write back the switches whose time is over. They count as over anyway; a running worker does this "
        "within 5 seconds."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        count = services.expire_due_switches()
        self.stdout.write(f"{count} switch{'' if count == 1 else 'es'} written back.")
