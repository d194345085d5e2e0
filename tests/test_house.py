"""The house's own rules: rooms, words, docstrings, sizes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ["gateway_project", "routing", "proxying", "dashboard"]
BANNED_NAMES = {"utils", "helpers", "common", "misc"}
LONGEST_MODULE = 450
# Words that have no place in what operators and developers read. Put together so that this file passes.
BANNED_WORDS = [r"\bTODO\b", r"\bFIXME\b", r"\bXXX\b", r"\bHACK\b"]


def modules() -> list[Path]:
    """Every module of the source, migrations left out."""
    return sorted(
        path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts
    )


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=named)
def test_module_says_what_it_owns(path: Path) -> None:
    source = path.read_text()
    if source.strip():
        assert ast.get_docstring(ast.parse(source)), f"{named(path)} has no docstring"


@pytest.mark.parametrize("path", modules(), ids=named)
def test_module_is_named_for_what_it_does(path: Path) -> None:
    assert path.stem not in BANNED_NAMES
    assert path.parent.name not in BANNED_NAMES


@pytest.mark.parametrize("path", modules(), ids=named)
def test_module_is_of_readable_size(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= LONGEST_MODULE, f"{named(path)} has {lines} lines: split it"


@pytest.mark.parametrize("path", modules(), ids=named)
def test_module_leaves_nothing_undone(path: Path) -> None:
    found = [word for word in BANNED_WORDS if re.search(word, path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "room",
    [
        *(
            "manage.py",
            "pyproject.toml",
            "README.md",
            "CHANGELOG.md",
            "LICENSE",
            "Makefile",
            ".env.example",
            ".ci/run",
        ),
        *("requirements/base.txt", "requirements/dev.txt", "docs", "bench", "deploy"),
        *APPS,
    ],
)
def test_room_exists(room: str) -> None:
    assert (ROOT / room).exists()


def test_lock_is_hashed_and_names_no_index() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        pins = re.findall(r"^[a-z0-9][^=\n]*==", text, re.MULTILINE)
        assert pins
        assert len(re.findall(r"^[a-z0-9][^\n]*==[^\n]*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(
            pins
        )
        assert not re.search(r"://|--find-links|--index-url", text), lock.name


def test_only_settings_reads_the_environment() -> None:
    allowed = {"gateway_project/settings.py", "gateway_project/gunicorn.conf.py"}
    readers = {named(path) for path in modules() if re.search(r"\bos\.(environ|getenv)\b", path.read_text())}
    assert readers - allowed == set()
