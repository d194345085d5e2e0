"""Leases in the database: which process may do a background task. Whoever dies loses it when it ends.

Ends are clock times, so machines that share a database need synchronised clocks, as for health.
"""

from __future__ import annotations

import os
import socket
import uuid
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from routing.models import Lease

LONGEST_NAME = 100


def holder_name() -> str:
    """A name that no other process has: for people the machine and the process, for safety a random tail."""
    tail = f":{os.getpid()}:{uuid.uuid4().hex[:8]}"
    return socket.gethostname()[: LONGEST_NAME - len(tail)] + tail


def take(name: str, holder: str, lease_s: float, now: datetime | None = None) -> bool:
    """Take the lease or prolong it; False while another process holds it.

    One statement decides, so that of several takers one wins. The holder's lease is written anew only in
    its second half.
    """
    now = now or datetime.now(UTC)
    until_at = now + timedelta(seconds=lease_s)
    row = Lease.objects.filter(name=name).first()
    if row is None:
        return _create(name, holder, until_at)
    if row.until_at > now:
        if row.holder != holder:
            return False
        if row.until_at - now > timedelta(seconds=lease_s / 2):
            return True
    free = Q(until_at__lte=now) | Q(holder=holder)
    return Lease.objects.filter(free, name=name).update(holder=holder, until_at=until_at) == 1


def give_back(name: str, holder: str) -> bool:
    """Let the next process begin at once; False when the lease was not this holder's."""
    return Lease.objects.filter(name=name, holder=holder).delete()[0] == 1


def _create(name: str, holder: str, until_at: datetime) -> bool:
    try:
        with transaction.atomic():
            Lease.objects.create(name=name, holder=holder, until_at=until_at)
    except IntegrityError:
        return False  # another process was quicker
    return True
