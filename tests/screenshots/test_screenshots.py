"""The documentation's pictures can still be taken, and what they are to show is on them."""

from __future__ import annotations

import pytest

from tests.screenshots.camera import take_all
from tests.screenshots.shots import FRESH, LIVELY

pytestmark = [pytest.mark.browser, pytest.mark.looks]


def test_every_picture_can_be_taken_without_a_fault(tmp_path):
    """A demo of its own is broken, switched and looked at; nothing is written into the checkout."""
    home, into = tmp_path / "home", tmp_path / "images"
    home.mkdir()
    into.mkdir()
    faults = take_all(home, into, seconds=12)
    assert faults == {shot.name: [] for shot in (*FRESH, *LIVELY)}
    assert {path.stem for path in into.iterdir()} == set(faults)
