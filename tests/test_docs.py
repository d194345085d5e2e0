"""What an operator can set, call or meet is written down in ``docs/``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from routing.kinds import KINDS
from routing.types import Reason, Strategy, WhenAllBlocked

ROOT = Path(__file__).resolve().parent.parent
OURS = {"routing", "proxying", "dashboard", "gateway_project"}


@pytest.fixture(scope="module")
def docs() -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("**/*.md")))


def settings_read() -> list[str]:
    """The variables that the settings read, from their source."""
    source = (ROOT / "gateway_project" / "settings.py").read_text()
    return sorted(set(re.findall(r'(?:env\.\w+|positive|whole)\(\s*"([A-Z_]+)"', source)))


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
