"""Recorded provider traffic, kept outside the repository.

Each case is ``<provider>/<case>/{meta.json,request.json,response.*}``. They are looked for in
``TEST_FIXTURES``, else in ``shared/fixtures`` beside the checkout (or beside its parent).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Recording:
    name: str
    dialect: str
    path: str
    status: int
    headers: dict[str, str]
    request: bytes | None
    response: bytes
    is_stream: bool
    meta: dict[str, Any]


def directory() -> Path | None:
    """Where the recordings are; None when they are not here."""
    named = os.environ.get("TEST_FIXTURES")
    places = (
        [Path(named)]
        if named
        else [place / "shared" / "fixtures" for place in (ROOT.parent, ROOT.parent.parent)]
    )
    return next((place for place in places if place.is_dir()), None)


def everything() -> list[Recording]:
    """Every recording of every dialect, by name; empty when they are not here."""
    root = directory()
    return [_read(path, root) for path in sorted(root.glob("*/*/meta.json"))] if root else []


def recordings(dialect: str) -> list[Recording]:
    """Every recording of a dialect, by name; empty when they are not here."""
    return [recording for recording in everything() if recording.dialect == dialect]


def _read(path: Path, root: Path) -> Recording:
    meta = json.loads(path.read_bytes())
    request = path.parent / "request.json"
    response = path.parent / meta["files"]["response"]
    return Recording(
        name=path.parent.relative_to(root).as_posix(),
        dialect=meta["dialect"],
        path=meta["path"],
        status=meta["status"],
        headers=meta["response_headers"],
        request=request.read_bytes() if request.exists() else None,
        response=response.read_bytes(),
        is_stream=response.suffix == ".sse",
        meta=meta,
    )
