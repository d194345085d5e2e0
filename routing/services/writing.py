"""The one way to write: lock the head row, read before, write, read after, keep the difference as a revision.

Every service runs inside ``write()``. Nothing changed: no revision. Services of one process and of many take
the same lock, so revisions are numbered and committed in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Required, TypedDict

from django.conf import settings
from django.db import transaction

from routing import queries, snapshot
from routing.document import Change, Document, as_json, diff
from routing.impact import emptied, impact
from routing.models import RoutingHead, RoutingRevision
from routing.services.errors import Conflict, Invalid, WouldEmptyPool
from routing.summary import object_text, summarize
from routing.types import NO_HEALTH, HealthView, RoutingTable

Confirm = bool | Sequence[str]
"""``True``, or the names of the pools that may be left without a candidate."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who writes; ``kind`` is ``user``, ``token``, ``command`` or ``system``."""

    name: str
    kind: str = "user"


SYSTEM = Actor("system", "system")


class How(TypedDict, total=False):
    """What every service takes besides its own arguments.

    Attributes:
        source: ``admin``, ``api``, ``dashboard``, ``command``, ``import`` or ``system``.
        expected_revision: The revision the caller looked at; a conflict when what it touches changed since.
        confirm: Which pools may be left without a candidate that is switched on.
        dry_run: Do everything, then take it back.
        health: What the impact is computed with; without it, as if all were well.
        report: Is given the write when it is done, before it is kept or taken back.
    """

    actor: Required[Actor]
    source: Required[str]
    reason: str
    expected_revision: int | None
    confirm: Confirm
    dry_run: bool
    health: HealthView
    report: Callable[[Writing], object]


@dataclass(slots=True)
class Writing:
    """One write in progress, and afterwards what became of it.

    ``notes`` are changes that the document cannot show, such as one stored key replaced by another.
    ``changes``, ``impact`` and ``after`` are filled in at the end; ``revision`` is the number in force then.
    """

    actor: Actor
    now: datetime
    before: Document
    table_before: RoutingTable
    revision: int
    unguarded: bool = False
    reverts: int | None = None
    notes: list[Change] = field(default_factory=list)
    changes: tuple[Change, ...] = ()
    table_after: RoutingTable = field(default_factory=RoutingTable)
    health: HealthView = NO_HEALTH

    @property
    def impact(self) -> dict[str, Any]:
        """What the write does to pools and to the models list."""
        return impact(
            self.table_before,
            self.table_after,
            health=self.health,
            now=self.now.timestamp(),
            expose_exact=settings.GATEWAY_EXPOSE_EXACT_MODELS,
        )

    @property
    def emptied(self) -> tuple[str, ...]:
        """The pools that lose their last candidate that is switched on."""
        return emptied(self.table_before, self.table_after, self.now.timestamp())


def lock_head() -> RoutingHead:
    """Take the lock that every write takes first; inside a transaction only."""
    head, _ = RoutingHead.objects.select_for_update().get_or_create(pk=1)
    return head


@contextmanager
def write(**how: Any) -> Iterator[Writing]:
    """Run one service; see ``How`` for the arguments.

    Raises:
        Invalid: what was written cannot be used by the data plane.
        Conflict: what it touches changed since ``expected_revision``.
        WouldEmptyPool: and ``confirm`` does not say that this is meant.
    """
    options = _options(how)
    with transaction.atomic():
        head = lock_head()
        writing = Writing(
            actor=options["actor"],
            now=datetime.now(UTC),
            before=queries.read_document(),
            table_before=snapshot.load(),
            revision=head.revision,
            health=options.get("health", NO_HEALTH),
        )
        yield writing
        writing.changes = tuple(
            sorted((*diff(writing.before, queries.read_document()), *writing.notes), key=_position)
        )
        writing.table_after = snapshot.load()
        if "report" in options:
            options["report"](writing)
        _refuse_unusable(writing)
        _refuse_stale(writing, options.get("expected_revision"))
        if options.get("dry_run"):
            transaction.set_rollback(True)
            return
        _refuse_emptied(writing, options.get("confirm", False))
        if writing.changes:
            _record(writing, head, options)
            transaction.on_commit(_refresh)


def _options(how: dict[str, Any]) -> How:
    unknown = how.keys() - How.__annotations__.keys()
    if unknown or not {"actor", "source"} <= how.keys():
        raise TypeError(f"A service takes {sorted(How.__annotations__)}, not {sorted(unknown)}.")
    options: How = how  # type: ignore[assignment]  # checked above; callers are typed by Unpack[How]
    return options


def _position(change: Change) -> tuple[str, str]:
    return (change.object, change.field)


def _refuse_unusable(writing: Writing) -> None:
    old = set(writing.table_before.skipped)
    problems = [row for row in writing.table_after.skipped if row not in old]
    if problems:
        raise Invalid("; ".join(f"{object_text(row.object)}: {row.problem}" for row in problems))


def _refuse_stale(writing: Writing, expected: int | None) -> None:
    if expected is None:
        return
    if expected > writing.revision:
        raise Invalid(f"There is no revision {expected} yet.", param="expected_revision")
    touched = {change.object for change in writing.changes}
    details = [
        {
            "number": revision.number,
            "actor": revision.actor,
            "created_at": queries.instant_text(revision.created_at),
            "summary": revision.summary,
            "changes": changes,
        }
        for revision, changes in queries.revisions_touching(touched, after=expected)
    ]
    if details:
        last = details[-1]
        raise Conflict(
            f"Changed meanwhile by {last['actor']} in revision {last['number']}: {last['summary']}.",
            param="expected_revision",
            code="stale_revision",
            details=details,
        )


def _refuse_emptied(writing: Writing, confirm: Confirm) -> None:
    if writing.unguarded or confirm is True:
        return
    allowed = frozenset(confirm) if not isinstance(confirm, bool) else frozenset()
    left = [name for name in writing.emptied if name not in allowed]
    if left:
        raise WouldEmptyPool(left, writing.impact)


def _record(writing: Writing, head: RoutingHead, options: How) -> None:
    head.revision += 1
    head.save(update_fields=["revision"])
    RoutingRevision.objects.create(
        number=head.revision,
        actor=options["actor"].name[:150],
        source=options["source"],
        reason=options.get("reason", "")[:500],
        summary=summarize(writing.changes),
        changes=as_json(writing.changes),
        reverts=writing.reverts,
    )
    writing.revision = head.revision


def _refresh() -> None:
    """Let this process see its own write at once; the others poll."""
    if snapshot.is_loaded():
        snapshot.refresh()
