"""Answers to a script that changed something: a note with its undo, and the sign to read the page again."""

from __future__ import annotations

import json
from collections.abc import Sequence

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def changed(
    request: HttpRequest, text: str, *, revision: int | None, warnings: Sequence[str] = (), ok: bool = True
) -> HttpResponse:
    """Say what changed; with ``revision`` offer to undo it."""
    context = {"text": text, "revision": revision, "warnings": warnings, "ok": ok}
    response = render(request, "dashboard/_toast.html", context)
    response["HX-Retarget"] = "#toasts"
    response["HX-Reswap"] = "beforeend"
    # T50: whatever depends on it is read again.
    response["HX-Trigger-After-Swap"] = json.dumps({"sluice:changed": {"revision": revision}})
    return response
