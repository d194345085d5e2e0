"""What an operator can set, call or meet is written down in ``docs/``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands

from routing.kinds import KINDS
from routing.types import Reason, Strategy, WhenAllBlocked

ROOT = Path(__file__).resolve().parent.parent
OURS = {"routing", "proxying", "dashboard", "gateway_project"}


# What the demo's fake vendors answer is not the gateway's own.
NOT_OURS = {"demo.py", "demo_server.py"}


@pytest.fixture(scope="module")
def docs() -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("**/*.md")))


def settings_read() -> list[str]:
    """The variables that the settings read, from their source."""
    source = (ROOT / "gateway_project" / "settings.py").read_text()
    return sorted(set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source)))


def test_settings_are_found() -> None:
    assert "GATEWAY_BIND" in settings_read()


@pytest.mark.parametrize("name", settings_read())
def test_setting_is_documented(docs: str, name: str) -> None:
    assert f"`{name}`" in docs


@pytest.mark.parametrize("name", settings_read())
def test_setting_is_in_the_example(name: str) -> None:
    assert re.search(rf"^#?{name}=", (ROOT / ".env.example").read_text(), re.MULTILINE)


@pytest.mark.parametrize("word", [*KINDS, *Strategy, *WhenAllBlocked, *Reason])
def test_word_of_the_configuration_is_documented(docs: str, word: str) -> None:
    assert f"`{word}`" in docs


@pytest.mark.parametrize("command", sorted(name for name, app in get_commands().items() if app in OURS))
def test_command_is_documented(docs: str, command: str) -> None:
    assert re.search(rf"`(manage\.py )?{command}\b", docs)


def literals(node: ast.AST) -> Iterator[str]:
    """The error codes that a piece of source names."""
    if isinstance(node, ast.keyword) and node.arg == "code":
        yield from (leaf.value for leaf in ast.walk(node.value) if is_code(leaf))
    if isinstance(node, ast.ClassDef):
        for line in node.body:
            target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
            if isinstance(target, ast.Name) and target.id == "code" and is_code(line.value):
                yield line.value.value
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal" and len(node.args) > 2:
        yield from (leaf.value for leaf in [node.args[2]] if is_code(leaf))


def is_code(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and bool(
        re.fullmatch(r"[a-z]+(_[a-z]+)+|conflict", str(node.value))
    )


def error_codes() -> list[str]:
    """Every error code of the gateway's own, from the source."""
    paths = [path for app in ("routing", "proxying") for path in (ROOT / app).rglob("*.py")]
    trees = [ast.parse(path.read_text()) for path in paths if path.name not in NOT_OURS]
    return sorted({code for tree in trees for node in ast.walk(tree) for code in literals(node)})


def test_error_codes_are_found() -> None:
    found = {"no_eligible_candidates", "invalid_api_key", "model_disabled", "upstream_error"}
    assert found - set(error_codes()) == set()


@pytest.mark.parametrize("code", error_codes())
def test_error_code_is_documented(docs: str, code: str) -> None:
    assert f"`{code}`" in docs


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def test_pictures_are_there_and_shown() -> None:
    shown = {
        (page.parent / target).resolve()
        for page in pages()
        for target in re.findall(r'(?:\]\(|src(?:set)?=")([^)"\s]+\.(?:png|svg))', page.read_text())
    }
    assert sorted(shown) == sorted((ROOT / "docs" / "images").iterdir())


def test_pictures_say_what_they_show() -> None:
    silent = r'!\[\s*\]\(|<img(?![^>]*\balt="[^"]+")'
    assert [page.name for page in pages() if re.search(silent, page.read_text())] == []


def endpoints() -> list[str]:
    """Every path that the admin API describes."""
    from drf_spectacular.generators import SchemaGenerator

    return sorted(SchemaGenerator().get_schema(request=None, public=True)["paths"])


@pytest.mark.parametrize("path", endpoints())
def test_endpoint_is_documented(docs: str, path: str) -> None:
    collection, _, item = path.rpartition("/")
    assert f"`{path}`" in docs or (f"`{collection}`, `…/{item}`" in docs)
