"""``python -m tests.screenshots [FOLDER]``: the pictures of the documentation, anew; see development.md."""

import os
import sys
import tempfile
from pathlib import Path

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from tests.e2e.server import ROOT  # noqa: E402 - it needs Django's settings
from tests.screenshots.camera import take_all  # noqa: E402

SECONDS = 90


def main(into: Path) -> int:
    """Take them all; 1 when something is wrong with any."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sluice-demo.") as home:
        faults = take_all(Path(home), into, seconds=SECONDS)
    for name, found in faults.items():
        sys.stdout.write("\n    ".join([name, *found]) + "\n")
    return 1 if any(faults.values()) else 0


sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"))
