"""Model discovery: what to ask of a provider, and how to read its models list. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from zlib import crc32

import orjson

from routing.addresses import leads_to_deployments
from routing.types import DiscoveryState, InventoryMode, ModelInfo, Provider
from routing.upstreams import account_headers, kind_of, scrub, url

LONGEST_ID: Final = 300
MOST_MODELS: Final = 20_000
_LONGEST_EXCERPT: Final = 200
_BOM: Final = b"\xef\xbb\xbf"
_BAD_KEY: Final = b"API_KEY_INVALID"  # Gemini has no 401 for it
_NO_LIST: Final = frozenset({404, 405, 501})
_LATEST_CREATED: Final = 2**53  # beyond it no JSON reader agrees with another


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How one model discovery ended. ``models`` is what an ``ok`` one listed.

    ``credential_accepted`` is None where the answer says nothing about the credential. ``note`` is a word
    for whoever asked, where there is no error.
    """

    state: DiscoveryState
    models: Mapping[str, ModelInfo] = field(default_factory=dict)
    error: str = ""
    credential_accepted: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a models list; ``next_url`` is where it goes on."""

    result: ProbeResult
    next_url: str | None = None


def why_not_asked(provider: Provider, mode: InventoryMode, now: float) -> str:
    """Why a provider is not called for its models; empty when it is."""
    if not provider.switch.value_at(now):
        return "It is switched off: a disabled provider is never called."
    if mode is InventoryMode.ALLOWLIST:
        return "The inventory mode is allowlist: its configured models are taken as given."
    if provider.credential_error:
        return f"It has no usable credential: {provider.credential_error}"
    return ""


def due_at(name: str, probed_at: float | None, interval_s: float) -> float:
    """When a provider is to be asked again: the interval, give or take a tenth so that not all come at once.

    Never asked before, or its address or credential changed since: at once.
    """
    if probed_at is None:
        return 0.0
    spread = crc32(f"{name} {probed_at:.3f}".encode()) / 2**32
    return probed_at + interval_s * (0.9 + 0.2 * spread)


def without_asking(provider: Provider) -> ProbeResult | None:
    """The result that needs no call: the kind or the address has no models list."""
    if not kind_of(provider).lists_models:
        note = f"{kind_of(provider).label} has no models list."
    elif leads_to_deployments(kind_of(provider), provider.base_url):
        note = "Its base URL leads to single models; it has no list of them."
    else:
        return None
    return ProbeResult(DiscoveryState.UNSUPPORTED, note=note)


def models_url(provider: Provider) -> str:
    """Where the provider lists its models."""
    return url(provider, "/models")


def request_headers(provider: Provider) -> dict[str, str]:
    """What the question carries, the credential included: never logged."""
    own = dict(kind_of(provider).headers)
    return {"accept": "application/json", "user-agent": "sluice", **own, **account_headers(provider)}


def failed(provider: Provider, error: str, *, accepted: bool | None = None) -> ProbeResult:
    """A failed discovery; its error is scrubbed of the key and the address."""
    text = scrub(error, provider.api_key, provider.base_url)
    return ProbeResult(DiscoveryState.FAILED, error=text, credential_accepted=accepted)


def read_page(provider: Provider, status: int, body: bytes) -> Page:
    """Read an answer: ``{"data": […]}``, a bare list, or ``{"models": […]}``; anything else has failed."""
    if status in _NO_LIST:
        note = f"There is no models list at its base URL (HTTP {status}): what it has is unknown."
        return Page(ProbeResult(DiscoveryState.UNSUPPORTED, note=note))
    if not 200 <= status <= 299:
        return Page(_refused(provider, status, body))
    try:
        payload = orjson.loads(body.removeprefix(_BOM))
    except orjson.JSONDecodeError:
        return Page(failed(provider, "The models list is not JSON."))
    rows = payload.get("data", payload.get("models")) if isinstance(payload, dict) else payload
    if not isinstance(rows, list):
        return Page(failed(provider, "The answer is not a list of models."))
    models = dict(row for row in map(_model, rows) if row is not None)
    accepted = True if provider.api_key and not kind_of(provider).lists_to_anyone else None
    if kind_of(provider).deployments_version:
        note = "Its list names what could be deployed, not what is: what it has is unknown."
        return Page(ProbeResult(DiscoveryState.UNSUPPORTED, credential_accepted=accepted, note=note))
    result = ProbeResult(DiscoveryState.OK, models, credential_accepted=accepted)
    return Page(result, _next_url(provider, payload))


def joined(provider: Provider, first: ProbeResult, more: ProbeResult) -> ProbeResult:
    """Two pages as one result: as long as it went well, the models of both."""
    if more.state is not DiscoveryState.OK:
        text = more.error or more.note
        return failed(provider, f"A later page of the models list failed: {text}")
    models = {**first.models, **more.models}
    if len(models) > MOST_MODELS:
        return failed(provider, f"It lists more than {MOST_MODELS} models.")
    return ProbeResult(DiscoveryState.OK, models, credential_accepted=first.credential_accepted)


def _refused(provider: Provider, status: int, body: bytes) -> ProbeResult:
    if status == 401 or (status == 400 and _BAD_KEY in body):
        text, accepted = f"It refused the gateway's credential (HTTP {status})", False
    elif status == 403:
        # A key may be good for inference and yet not be allowed to list models.
        text, accepted = "It does not let the gateway's credential list models (HTTP 403)", None
    elif status == 429:
        text, accepted = "It limits the rate of requests (HTTP 429)", None
    elif 300 <= status <= 399:
        text, accepted = f"It redirects (HTTP {status}), which is not followed; check the base URL", None
    else:
        text, accepted = f"It answered HTTP {status}", None
    said = _excerpt(body)
    return failed(provider, f"{text}: {said}" if said else f"{text}.", accepted=accepted)


def _excerpt(body: bytes) -> str:
    """What an error answer says, in one line; nothing when it is not JSON."""
    try:
        payload: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    for name in ("error", "message", "detail"):
        if isinstance(payload, dict) and name in payload:
            payload = payload[name]
    if not isinstance(payload, str):
        return ""
    line = " ".join(payload.split())
    return line if len(line) <= _LONGEST_EXCERPT else line[: _LONGEST_EXCERPT - 1] + "…"


def _model(row: object) -> tuple[str, ModelInfo] | None:
    """One row; None for one without a usable id, which nobody could ask for."""
    if not isinstance(row, dict):
        return None
    name = row.get("id") or row.get("name")
    if not isinstance(name, str):
        return None
    name = name.strip().removeprefix("models/")
    if not name or len(name) > LONGEST_ID or not name.isprintable():
        return None
    owner = row.get("owned_by") or row.get("organization")
    owned_by = owner if isinstance(owner, str) and owner.isprintable() else ""
    return name, ModelInfo(_created(row.get("created", row.get("created_at"))), owned_by[:200])


def _created(value: object) -> int:
    if isinstance(value, str):  # Anthropic's created_at is an RFC 3339 text
        try:
            instant = datetime.fromisoformat(value[:40])
            value = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return int(value) if 0 <= value <= _LATEST_CREATED else 0


def _next_url(provider: Provider, payload: object) -> str | None:
    """Where a list goes on that says so itself, as Anthropic's (``has_more``) and Gemini's own do."""
    if not isinstance(payload, dict):
        return None
    name, mark = "after_id", payload.get("last_id") if payload.get("has_more") is True else None
    if payload.get("nextPageToken"):
        name, mark = "pageToken", payload["nextPageToken"]
    if not isinstance(mark, str) or not mark:
        return None
    address = models_url(provider)
    return f"{address}{'&' if '?' in address else '?'}{name}={quote(mark, safe='')}"
