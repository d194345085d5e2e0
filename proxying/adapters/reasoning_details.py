"""Anthropic's thinking in OpenAI's dialect and back.

Chat completions have no place for signatures, and without them a conversation with tools cannot go on. They
travel in ``reasoning_details``, in the form that OpenRouter made known.
https://openrouter.ai/docs/use-cases/reasoning-tokens
"""

from __future__ import annotations

from typing import Any, Final

CLAUDE: Final = "anthropic-claude-v1"


def detail(block: dict[str, Any], index: int) -> dict[str, Any] | None:
    """A thinking block as one entry; None for a block of another type."""
    if block.get("type") == "thinking":
        return {
            "type": "reasoning.text",
            "text": block.get("thinking") or "",
            "signature": block.get("signature") or None,
            "format": CLAUDE,
            "index": index,
        }
    if block.get("type") == "redacted_thinking":
        return {
            "type": "reasoning.encrypted",
            "data": block.get("data") or "",
            "format": CLAUDE,
            "index": index,
        }
    return None


def thinking_blocks(details: Any) -> list[dict[str, Any]]:
    """The thinking blocks that a client sent back. Those without a signature are left out.

    Anthropic takes signed ones only. A stream may have brought a block's text and its signature as entries
    of the same index.
    """
    gathered: dict[int, dict[str, Any]] = {}
    for entry in details if isinstance(details, list) else ():
        if not isinstance(entry, dict) or entry.get("format") != CLAUDE:
            continue
        index = entry.get("index")
        known = gathered.setdefault(index if isinstance(index, int) else len(gathered), {})
        if entry.get("type") == "reasoning.encrypted":
            known.update(type="redacted_thinking", data=entry.get("data") or "")
        else:
            known["type"] = "thinking"
            known["thinking"] = known.get("thinking", "") + str(entry.get("text") or "")
            known["signature"] = entry.get("signature") or known.get("signature")
    return [block for block in gathered.values() if block["type"] != "thinking" or block["signature"]]
