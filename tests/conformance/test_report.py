"""No recording is left out in silence: a test replays it, or a line here says why none does.

What replays a recording is found by itself: any test of this room whose parameters hold it. A test whose name
begins with ``test_request`` or ``test_recorded`` replays the recorded request, every other one the answer;
``BOTH`` replay both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.conformance.recordings import Recording, everything

pytestmark = pytest.mark.recordings

# Dialect and end of the path, and why nothing replays such a recording. Everything is replayed at present.
REASONS: dict[tuple[str, str], str] = {}
OF_REQUESTS = ("test_request", "test_recorded")
BOTH = ("test_embeddings_are",)


def replays() -> Iterator[tuple[str, str]]:
    """The name of every recording that is a parameter of a test here, with the test."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path.stem == Path(__file__).stem:
            continue
        for name, test in vars(import_module(f"tests.conformance.{path.stem}")).items():
            marks = getattr(test, "pytestmark", []) if name.startswith("test_") else []
            values = [value for mark in marks if mark.name == "parametrize" for value in mark.args[1]]
            held = [one for value in values for one in getattr(value, "values", (value,))]
            yield from ((one.name, name) for one in held if isinstance(one, Recording))


def reason_of(recording: Recording) -> str | None:
    found = [why for (dialect, end), why in REASONS.items() if _is(recording, dialect, end)]
    return found[0] if found else None


def _is(recording: Recording, dialect: str, end: str) -> bool:
    return recording.dialect == dialect and recording.path.endswith(end)


def ways_of(test: str) -> set[str]:
    """What of a recording a test replays."""
    ways = {"request"} if test.startswith((*OF_REQUESTS, *BOTH)) else set()
    return ways if test.startswith(OF_REQUESTS) else {*ways, "answer"}


def test_every_recording_is_replayed_or_named(write_report):
    replayed: dict[str, set[str]] = defaultdict(set)
    for name, test in replays():
        replayed[name] |= ways_of(test)
    told: dict[str, Counter[str]] = defaultdict(Counter)
    left_out = {}
    for recording in everything():
        wanted = {"answer"} if recording.request is None else {"answer", "request"}
        told[recording.dialect].update([f"all {way}" for way in wanted])
        told[recording.dialect].update(replayed[recording.name])
        for way in sorted(wanted - replayed[recording.name]):
            left_out[f"{way} of {recording.name}"] = reason_of(recording)
    lines = [
        f"{dialect}: {count['answer']} of {count['all answer']} recorded answers replayed,"
        f" {count['request']} of {count['all request']} requests."
        for dialect, count in sorted(told.items())
    ]
    write_report([*lines, *(f"  not the {name}: {reason}" for name, reason in left_out.items())])
    assert [name for name, reason in left_out.items() if reason is None] == []
