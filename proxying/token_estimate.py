"""Guesses how many tokens a Messages request has, without any vendor's tokenizer. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

_FIELDS: Final = ("system", "messages", "tools", "tool_choice")
# English prose and JSON have about four characters to a token, other scripts fewer.
_ASCII_PER_TOKEN: Final = 4
_OTHERS_PER_TOKEN: Final = 1.5
_PER_MESSAGE: Final = 4
# A picture of a million pixels: https://platform.claude.com/docs/en/build-with-claude/vision
_PER_PICTURE: Final = 1600
# A page of a PDF is some 50 KB and 2,000 tokens: https://platform.claude.com/docs/en/build-with-claude/pdf-support
_BASE64_PER_DOCUMENT_TOKEN: Final = 33


def estimated_tokens(data: Mapping[str, Any]) -> int:
    """The tokens of instructions, messages and tools, at least 1."""
    messages = data.get("messages")
    total = float(_PER_MESSAGE * len(messages)) if isinstance(messages, list) else 0.0
    left: list[Any] = [data.get(name) for name in _FIELDS]
    while left:
        value = left.pop()
        if isinstance(value, str):
            total += _of_text(value)
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            special = _of_block(value)
            if special is None:
                left += value
                left += value.values()
            else:
                total += special
    return max(1, math.ceil(total))


def _of_text(text: str) -> float:
    others = 0 if text.isascii() else sum(character > "\x7f" for character in text)
    return (len(text) - others) / _ASCII_PER_TOKEN + others / _OTHERS_PER_TOKEN


def _of_block(block: dict[str, Any]) -> float | None:
    """The tokens of a picture or a document; None for what is counted by its texts."""
    if block.get("type") == "image":
        return _PER_PICTURE
    source = block.get("source")
    if block.get("type") == "document" and isinstance(source, dict) and source.get("type") != "text":
        return max(_PER_PICTURE, len(str(source.get("data") or "")) / _BASE64_PER_DOCUMENT_TOKEN)
    return None
