"""Named reads of the pages, over the live routing and the tables. Nothing here writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from django.conf import settings

from dashboard.feed import Line, lines
from proxying.traffic import History, Window
from proxying.traffic_reads import Traffic, read_history, read_traffic
from routing import live
from routing.document import from_json, object_key
from routing.models import Alias, ClientKey, ModelPool, PoolCandidate, Provider, RoutingRevision
from routing.queries import credential_text, revisions
from routing.resolver import Survey

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class PoolChange:
    """A revision with the lines that are about one pool and the providers that it uses."""

    revision: RoutingRevision
    lines: tuple[Line, ...]


def survey(names: Collection[str] | None = None) -> Survey:
    """Every pool, or those named, as the live routing sees it; from the stores where nothing serves."""
    return live.ask(lambda resolver: resolver.survey(names))


def traffic(pool: str | None = None) -> Traffic:
    """All workers' live numbers of the last five minutes, of every pool or of one."""
    return read_traffic(pool=pool)


def history(canonical_model: str, window: Window) -> History:
    """One pool's numbers over a window."""
    return read_history(canonical_model, window)


def changes(*, before: int | None = None, touching: str = "", size: int = PAGE_SIZE) -> list[RoutingRevision]:
    """Revisions, newest first, from below ``before``; one more than ``size`` when there are more.

    ``touching`` is text that a revision's summary must have.
    """
    rows = revisions()
    if before is not None:
        rows = rows.filter(number__lt=before)
    if touching:
        rows = rows.filter(summary__icontains=touching)
    return list(rows[: size + 1])


def revision(number: int) -> RoutingRevision | None:
    """The revision of this number, or None."""
    return revisions().filter(pk=number).first()


def changes_of_pool(
    canonical_model: str, providers: Iterable[str], *, looked_at: int = 300
) -> list[PoolChange]:
    """What changed the pool, its candidates or their providers, among the last revisions; newest first."""
    name = quote(canonical_model, safe="")
    inside = f"candidate/{name}/"
    own = {f"pool/{name}", *(object_key("provider", provider) for provider in providers)}
    found = []
    for row in revisions()[:looked_at]:
        touched = [
            change
            for change in from_json(row.changes)
            if change.object in own or change.object.startswith(inside)
        ]
        if touched:
            found.append(PoolChange(row, lines(touched)))
    return found


def undone(rows: Sequence[RoutingRevision]) -> dict[int, int]:
    """Which of the revisions were undone, and by which later one."""
    numbers = [row.number for row in rows]
    found = RoutingRevision.objects.filter(reverts__in=numbers).order_by("number")
    return {reverts: number for reverts, number in found.values_list("reverts", "number") if reverts}


def credentials() -> dict[str, tuple[int, str]]:
    """Per provider its row's id, and its credential as people may see it: a reference, a hint, nothing."""
    rows = Provider.objects.values_list(
        "name", "pk", "credential_ref", "credential_encrypted", "credential_hint"
    )
    return {name: (pk, credential_text(ref, stored, hint)) for name, pk, ref, stored, hint in rows}


def pool_id(canonical_model: str) -> int | None:
    """The row's id, for its page in the admin; None when the row has just gone."""
    return ModelPool.objects.filter(canonical_model=canonical_model).values_list("pk", flat=True).first()


def public_names() -> list[str]:
    """What clients may ask for by a name of ours: pools and aliases, sorted."""
    pools = ModelPool.objects.values_list("canonical_model", flat=True)
    return sorted({*pools, *Alias.objects.values_list("name", flat=True)})


def exact_names() -> list[str]:
    """Candidates by their exact names, where clients may use them, sorted; the first 500."""
    if not settings.GATEWAY_EXPOSE_EXACT_MODELS:
        return []
    rows = PoolCandidate.objects.values_list("provider__name", "model").distinct()
    return [f"{provider}/{model}" for provider, model in rows.order_by("provider__name", "model")[:500]]


def client_keys() -> list[tuple[int, str]]:
    """Client keys by name, with their ids."""
    return list(ClientKey.objects.order_by("name", "pk").values_list("pk", "name"))
