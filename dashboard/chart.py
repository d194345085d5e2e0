"""Requests of a pool over time, as a picture of stacked columns with marks where something was changed. Pure.

Horizontal places are percentages or steps, vertical ones units of a plot ``HEIGHT`` high: the page stretches
it to any width without stretching its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Final

from dashboard.words import moment
from proxying.traffic import Counts, History, Key, percentile, total

HEIGHT: Final = 150
LANE: Final = 20
# More candidates than colours: the rest share the last.
COLOURS: Final = 8
MARKS: Final = 40
_GAP: Final = 0.08
_TIMES: Final = 4


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate in the legend, with its totals; without a provider those that reached none."""

    name: str
    provider: str
    colour: int
    requests: int
    share: float | None
    attempts: int
    attempts_failed: float | None
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Area:
    """All columns' parts of one candidate: an SVG path in steps and units."""

    colour: int
    path: str


@dataclass(frozen=True, slots=True)
class Step:
    """One column in words. ``values`` are in the legend's order; None in all of it: nobody reported."""

    at: datetime
    label: str
    known: bool
    values: tuple[int, ...]
    requests: int
    failed: int
    failovers: int
    attempts_failed: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A revision on the time axis. Its words open to the side that has room."""

    revision: Any
    left: float
    opens_left: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that the template draws."""

    window: Any
    steps: tuple[Step, ...]
    rows: tuple[Row, ...]
    areas: tuple[Area, ...]
    unknown: str
    failed: str
    failovers: str
    marks: tuple[Mark, ...]
    times: tuple[tuple[float, datetime], ...]
    top: int
    whole: Step

    @property
    def known(self) -> bool:
        """Whether any worker reported anything."""
        return any(step.known for step in self.steps)

    @property
    def middle(self) -> int:
        """Requests per step at half the height."""
        return self.top // 2

    @property
    def step_text(self) -> str:
        """How long a step is."""
        seconds = self.window.step_s
        return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"


def draw(history: History, candidates: Sequence[tuple[str, str]], revisions: Iterable[Any]) -> Chart:
    """The picture; ``candidates`` are (provider, model) in the pool's order, ``revisions`` are its own."""
    sums = _sums(history)
    keys = _ordered(sums, candidates)
    colours = {key: min(place, COLOURS - 1) for place, key in enumerate(keys)}
    step_s = history.window.step_s
    steps = tuple(
        _step(history.start_s + place * step_s, step, keys, history)
        for place, step in enumerate(history.steps)
    )
    highest = _round_up(max((step.requests for step in steps), default=0))
    return Chart(
        window=history.window,
        steps=steps,
        rows=tuple(_row(key, sums.get(key, Counts()), colours[key], sums) for key in keys),
        areas=_areas(steps, keys, colours, highest),
        unknown=_columns([0 if step.known else HEIGHT for step in steps], HEIGHT),
        failed=_lane([step.failed for step in steps]),
        failovers=_lane([step.failovers for step in steps]),
        marks=_marks(history, revisions),
        times=_times(history),
        top=highest,
        whole=_step(history.start_s, sums, keys, history),
    )


def _sums(history: History) -> dict[Key, Counts]:
    found: dict[Key, Counts] = {}
    for step in history.steps:
        for key, counts in (step or {}).items():
            found.setdefault(key, Counts()).add(counts)
    return found


def _ordered(sums: Mapping[Key, Counts], candidates: Sequence[tuple[str, str]]) -> list[Key]:
    """The pool's candidates in its order, then those that it had, then requests that reached none."""
    pool = next(iter(sums), ("", "", ""))[0]
    own = [(pool, provider, model) for provider, model in candidates]
    former = sorted(key for key in sums if key not in own and key[1])
    return [*own, *former, *(key for key in sums if not key[1])]


def _row(key: Key, one: Counts, colour: int, sums: Mapping[Key, Counts]) -> Row:
    requests = sum(each.requests for each in sums.values())
    attempts = one.attempts if key[1] else 0
    return Row(
        name=f"{key[1]}/{key[2]}" if key[1] else "no candidate was called",
        provider=key[1],
        colour=colour,
        requests=one.requests,
        share=one.requests / requests if requests else None,
        attempts=attempts,
        attempts_failed=one.attempts_failed / attempts if attempts else None,
        p50_ms=percentile(one.latency, 0.5),
        p95_ms=percentile(one.latency, 0.95),
    )


def _step(at_s: int, counted: Mapping[Key, Counts] | None, keys: Sequence[Key], history: History) -> Step:
    found = counted or {}
    whole = total(found.values())
    at = datetime.fromtimestamp(at_s, UTC)
    label = f"{at:%H:%M:%S}" if history.window.step_s < 60 else f"{at:%H:%M}"
    is_current = at_s + history.window.step_s > history.now_s
    return Step(
        at=at,
        label=f"{label}, so far" if is_current and counted is not None else label,
        known=counted is not None,
        values=tuple(found[key].requests if key in found else 0 for key in keys),
        requests=whole.requests,
        failed=whole.failed,
        failovers=whole.failovers,
        attempts_failed=whole.attempts_failed,
    )


def _areas(
    steps: Sequence[Step], keys: Sequence[Key], colours: Mapping[Key, int], highest: int
) -> tuple[Area, ...]:
    """The first candidate at the bottom; those that share a colour are one area."""
    paths: dict[int, list[str]] = {}
    for place, step in enumerate(steps):
        ends = [round(HEIGHT * value / highest, 2) for value in accumulate(step.values)]
        begin = 0.0
        for key, end in zip(keys, ends, strict=True):
            if end > begin:
                paths.setdefault(colours[key], []).append(_column(place, HEIGHT - begin, end - begin))
            begin = end
    return tuple(Area(colour, "".join(parts)) for colour, parts in sorted(paths.items()))


def _lane(values: Sequence[int]) -> str:
    """Small columns with a scale of their own; one is never too small to be seen."""
    highest = max(values, default=0)
    return _columns([max(LANE * value / highest, 3) if value else 0 for value in values], LANE)


def _columns(heights: Sequence[float], bottom: int) -> str:
    return "".join(_column(place, bottom, round(height, 2)) for place, height in enumerate(heights) if height)


def _column(place: int, bottom: float, height: float) -> str:
    width = round(1 - 2 * _GAP, 2)
    return f"M{place + _GAP:g} {bottom:g}v-{height:g}h{width:g}v{height:g}z"


def _round_up(value: int) -> int:
    """The next of 2, 4, 10, 20, 40, 100 …: the top of the scale, whose half is a round number too."""
    top = 2
    while top < value:
        top = top * 2 if str(top)[0] != "4" else top // 4 * 10
    return top


def _marks(history: History, revisions: Iterable[Any]) -> tuple[Mark, ...]:
    length = history.window.length_s
    marks = []
    for revision in revisions:
        place = (revision.created_at.timestamp() - history.start_s) / length
        if 0 <= place <= 1:
            marks.append(Mark(revision, round(place * 100, 2), opens_left=place > 0.5))
    return tuple(reversed(marks[:MARKS]))


def _times(history: History) -> tuple[tuple[float, datetime], ...]:
    """Where the axis is labelled, in per cent; the ends are the window's."""
    found = []
    for number in range(_TIMES):
        share = number / (_TIMES - 1)
        at = moment(history.start_s + share * history.window.length_s)
        if at is not None:
            found.append((round(share * 100, 1), at))
    return tuple(found)
