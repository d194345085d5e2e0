"""Runs foreign suites against the gateway; none of their tests is skipped in silence; shows what ran."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from routing.kinds import KINDS
from tests.clients import gateway as gateway_module
from tests.clients.gateway import Gateway
from tests.clients.not_applicable import ELSEWHERE, SKIPPED
from tests.clients.vendors import CHOSEN, missing

CELLS: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
REASONS: dict[tuple[str, str, str], set[str]] = defaultdict(set)


def cell_of(item: pytest.Item) -> tuple[str, str] | None:
    """Whose client this is, and the kind that it is led to."""
    mark = item.get_closest_marker("cell")
    return (mark.args[0], mark.args[1]) if mark else None


def name_of(item: pytest.Item) -> str:
    return getattr(item, "originalname", item.name)


def pytest_collection_modifyitems() -> None:
    """A kind that nobody scripted stops the run."""
    if missing():
        raise pytest.UsageError(f"No line in tests/clients/vendors.py for: {', '.join(missing())}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that skips itself must be in the list of those that may; one in the list must skip itself."""
    report = yield
    cell = cell_of(item)
    if cell is None or (report.when != "call" and not report.failed and not report.skipped):
        return report
    listed = SKIPPED.get(cell[0], {}).get(name_of(item))
    if report.skipped and listed is None:
        report.outcome, report.longrepr = "failed", f"Skips itself, and is not listed: {report.longrepr[2]}"
    elif report.passed and listed is not None:
        report.outcome, report.longrepr = "failed", "Listed as not applicable, and yet it runs."
    outcome = "not applicable" if report.skipped else report.outcome
    CELLS[cell[0], KINDS[cell[1]].wire][outcome] += 1
    if report.skipped:
        REASONS[cell[0], name_of(item), listed].add(KINDS[cell[1]].wire)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table: clients down, wires across; below it why something does not apply."""
    write = terminalreporter.write_line
    write("")
    clients = sorted({client for client, _ in CELLS})
    write(f"{'client':24}" + "".join(f"{wire:>22}" for wire in CHOSEN))
    for client in clients:
        cells = [CELLS.get((client, wire), Counter()) for wire in CHOSEN]
        write(f"{client:24}" + "".join(f"{_told(cell):>22}" for cell in cells))
    if REASONS:
        write("Not applicable:")
    for (client, test, reason), wires in sorted(REASONS.items()):
        where = "" if wires == set(CHOSEN) else f" ({', '.join(sorted(wires))})"
        write(f"  {client}, {test}{where}: {reason}")
    elsewhere = {key: reason for key, reason in ELSEWHERE.items() if key[:2] in CELLS}
    if elsewhere:
        write("Served by the pool's next candidate:")
    for (client, wire, test), reason in elsewhere.items():
        write(f"  {client}, {test} ({wire}): {reason}")


def _told(cell: Counter[str]) -> str:
    if not cell:
        return "–"
    words = [f"{cell['passed']} passed"]
    words += [f"{cell['failed']} FAILED"] if cell["failed"] else []
    words += [f"{cell['not applicable']} n/a"] if cell["not applicable"] else []
    return ", ".join(words)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The one gateway of all tests."""
    with gateway_module.running(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(autouse=True)
def only_the_first_candidate(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[None]:
    """Nobody but the pool's first candidate is called: a failover would hide what it refused."""
    cell = cell_of(request.node)
    before = gateway.calls()
    for provider in gateway.providers.values():
        provider.complaints.clear()
    yield
    if cell is None:
        return
    complaints = [one for provider in gateway.providers.values() for one in provider.complaints]
    assert complaints == []
    called = {kind for kind, count in gateway.calls().items() if count != before[kind]}
    elsewhere = (cell[0], KINDS[cell[1]].wire, name_of(request.node)) in ELSEWHERE
    assert called - {cell[1]} == (
        {next(one for one in CHOSEN.values() if one != cell[1])} if elsewhere else set()
    )
