"""Reasoning items that the gateway made of another provider's thinking: packed, unpacked, taken out again.

Clients of Responses send reasoning items back. In ``encrypted_content`` such an item carries what its
provider wants to see again: ``reasoning_details`` with signatures of thoughts, and the ``extra_content`` of a
call, which is Gemini's signature. Nobody but the gateway can read it, so it must not reach a provider that
speaks Responses itself.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import orjson

from proxying.adapters.base import ClientBody
from proxying.adapters.json_text import answer_text, request_text

MARK: Final = b"gateway-reasoning:"
_MARK_TEXT: Final = MARK.decode()
_SIGNED_CALL: Final = "gateway.call"


def packed(details: list[dict[str, Any]]) -> str:
    """The ``encrypted_content`` of a reasoning item; entries of one index become one."""
    joined: dict[tuple[str, int], dict[str, Any]] = {}
    for number, entry in enumerate(details):
        index = entry.get("index")
        key = (str(entry.get("type")), index if isinstance(index, int) else -1 - number)
        known = joined.setdefault(key, {})
        for name, value in entry.items():
            if name in ("text", "summary") and isinstance(known.get(name), str) and isinstance(value, str):
                known[name] += value
            elif value is not None or name not in known:
                known[name] = value
    return _MARK_TEXT + base64.b64encode(answer_text(list(joined.values()))).decode()


def unpacked(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The ``reasoning_details`` that an item carries; none when it is not of the gateway's making."""
    if not is_gateway_made(item):
        return []
    try:
        details = orjson.loads(base64.b64decode(item["encrypted_content"][len(_MARK_TEXT) :], validate=True))
    except (binascii.Error, orjson.JSONDecodeError):  # a client may have cut it
        return []
    return [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []


def signed_call(call_id: str, extra: dict[str, Any]) -> dict[str, Any]:
    """The entry that keeps what a call carried beside its function."""
    return {"type": _SIGNED_CALL, "call_id": call_id, "extra_content": extra}


def signature_of(entry: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The call's id and what it carried; None for an entry of another type."""
    call_id, extra = entry.get("call_id"), entry.get("extra_content")
    if entry.get("type") != _SIGNED_CALL or not isinstance(call_id, str) or not isinstance(extra, dict):
        return None
    return call_id, extra


def is_gateway_made(item: Any) -> bool:
    """Whether an input item is a reasoning item of the gateway's own."""
    content = item.get("encrypted_content") if isinstance(item, dict) else None
    return isinstance(content, str) and content.startswith(_MARK_TEXT)


def without_gateway_reasoning(body: ClientBody) -> ClientBody:
    """The body without such items; the same object when it has none."""
    items = body.data.get("input")
    if not isinstance(items, list) or not any(map(is_gateway_made, items)):
        return body
    data = {**body.data, "input": [item for item in items if not is_gateway_made(item)]}
    return ClientBody(raw=request_text(data), data=data, endpoint=body.endpoint, dialect=body.dialect)
