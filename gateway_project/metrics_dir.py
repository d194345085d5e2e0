"""The directory in which the workers of one start put their metrics together."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

_PREFIX: Final = "metrics-"


def prepare(var_dir: Path, configured: str) -> str:
    """Answer an empty directory: the operator's, or one of this process's own under ``var_dir``."""
    for left in var_dir.glob(f"{_PREFIX}*"):
        if not _is_alive(left.name.removeprefix(_PREFIX)):
            shutil.rmtree(left, ignore_errors=True)
    # A binary upgrade inherits the variable from the master that it replaces, and needs its own.
    if configured and not _is_ours(var_dir, Path(configured)):
        directory = Path(configured)
    else:
        directory = var_dir / f"{_PREFIX}{os.getpid()}"
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob("*.db"):
        file.unlink()
    return str(directory)


def remove(var_dir: Path, directory: str) -> None:
    """Remove this process's own directory; the operator's stays."""
    if Path(directory) == var_dir / f"{_PREFIX}{os.getpid()}":
        shutil.rmtree(directory, ignore_errors=True)


def _is_ours(var_dir: Path, directory: Path) -> bool:
    return directory.parent == var_dir and directory.name.startswith(_PREFIX)


def _is_alive(pid: str) -> bool:
    if not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()
