"""Each fault of the feature's first implementation keeps its regression test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
KNOWN = [f"T{number}" for number in range(1, 58)]
# A docstring or comment that begins with one id or several: `"""T4: …`, `# T37, T52: …`.
TAG = re.compile(r'(?:"""|#\s|;\s)((?:T\d{1,2}(?:, )?)+)[:.]')


def tagged() -> dict[str, list[str]]:
    """The ids with the files of their tests."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("*.py")):
        if path == Path(__file__):
            continue
        for ids in TAG.findall(path.read_text()):
            for one in ids.split(", "):
                found.setdefault(one, []).append(str(path.relative_to(TESTS)))
    return found


@pytest.mark.parametrize("trap", KNOWN)
def test_trap_has_a_test(trap: str) -> None:
    assert trap in tagged()


def test_tags_name_known_traps() -> None:
    """A misspelt id would guard nothing."""
    assert set(tagged()) - set(KNOWN) == set()
