"""Leaves the replays out where the recordings are not, and says at the end what was replayed and what not."""

from __future__ import annotations

import pytest

from tests.conformance import recordings

LEFT_OUT = pytest.StashKey[int]()


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
    for dialect, (total, missing) in getattr(config, "replays", {}).items():
        terminalreporter.write_line(f"{dialect}: {total - len(missing)} of {total} recordings replayed.")
        for name, reason in missing.items():
            terminalreporter.write_line(f"  not {name}: {reason}")


@pytest.fixture(scope="session")
def report_replays(pytestconfig: pytest.Config):
    """Call with (dialect, total, {name: reason}) to have it in the summary."""
    replays: dict[str, tuple[int, dict[str, str]]] = {}
    pytestconfig.replays = replays

    def report(dialect: str, total: int, missing: dict[str, str]) -> None:
        replays[dialect] = (total, missing)

    return report
