"""Leaves the replays out where the recordings are not, and says at the end what was replayed and what not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance import recordings

LEFT_OUT = pytest.StashKey[int]()
REPORT = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without recordings their tests are deselected, not failed and not skipped one by one."""
    if recordings.directory() is not None:
        return
    dropped = [item for item in items if item.get_closest_marker("recordings")]
    config.stash[LEFT_OUT] = len(dropped)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for each dialect, one for each recording that was not replayed."""
    if config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line("Recorded traffic is not here (TEST_FIXTURES): its replays are left out.")
    for line in config.stash.get(REPORT, []):
        terminalreporter.write_line(line)


@pytest.fixture
def write_report(pytestconfig: pytest.Config) -> Callable[[list[str]], None]:
    """Call with lines to have them in the summary."""

    def write(lines: list[str]) -> None:
        pytestconfig.stash[REPORT] = lines

    return write
