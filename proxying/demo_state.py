"""What the demo remembers between runs: ``var/demo.json``, readable by its owner only."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings


@dataclass(slots=True)
class DemoState:
    """The demo's client key, the operator's first password, and where the demo provider listens."""

    client_key: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    provider_port: int = 8090


def path() -> Path:
    """Where it is kept."""
    return Path(settings.VAR_DIR) / "demo.json"


def read() -> DemoState:
    """What the last run left; the defaults when there was none, or when the file is not ours."""
    try:
        data = json.loads(path().read_text())
    except (FileNotFoundError, ValueError):
        return DemoState()
    if not isinstance(data, dict):
        return DemoState()
    known = {row.name for row in dataclasses.fields(DemoState)}
    return DemoState(**{name: value for name, value in data.items() if name in known})


def write(state: DemoState) -> None:
    """Keep it for the next run, mode 0600 from the first byte on."""
    path().parent.mkdir(parents=True, exist_ok=True)
    fresh = path().with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(dataclasses.asdict(state), file)
    fresh.replace(path())
