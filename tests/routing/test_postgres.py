from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.postgres
@pytest.mark.parametrize(
    "name",
    [
        "test_services.py",
        "test_snapshot.py",
        "test_admin.py",
        "test_queries.py",
        "test_leases.py",
        "test_background.py",
        "test_probes.py",
    ],
)
def test_storage_behaves_the_same_on_postgresql(name):
    """Locks, consistent reads and constraints: the same tests, in a process of their own."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTEST_", "TEST_DATABASE_URL"))
    }
    environment["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / name)],
        env=environment,
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
