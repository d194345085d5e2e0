"""What the demo remembers between runs."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from proxying import demo_state
from proxying.demo_state import DemoState


@pytest.fixture(autouse=True)
def var_dir(tmp_path: Path, settings) -> Path:
    settings.VAR_DIR = tmp_path / "var"
    return settings.VAR_DIR


def test_state_is_read_back() -> None:
    demo_state.write(DemoState("key", "password", 1234))
    assert demo_state.read() == DemoState("key", "password", 1234)


def test_state_is_the_owners_alone(var_dir: Path) -> None:
    demo_state.write(DemoState("old"))
    demo_state.write(DemoState("key"))
    assert stat.S_IMODE((var_dir / "demo.json").stat().st_mode) == 0o600
    assert [path.name for path in var_dir.iterdir()] == ["demo.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"provider_port": 1, "of_a_later_version": 2}'])
def test_what_is_not_ours_is_no_failure(var_dir: Path, text: str) -> None:
    var_dir.mkdir()
    (var_dir / "demo.json").write_text(text)
    assert demo_state.read().client_key == ""


def test_secrets_are_not_in_the_repr() -> None:
    assert repr(DemoState("key", "password")) == "DemoState(provider_port=8090)"
