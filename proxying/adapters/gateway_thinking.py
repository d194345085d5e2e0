"""Thinking blocks that the gateway made of another provider's reasoning: marked, and taken out again.

Clients of Anthropic's dialect send thinking blocks back with their signatures. One that the gateway made
has a signature that no provider accepts, so it must not reach Anthropic.
"""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters.base import ClientBody
from proxying.adapters.json_text import request_text

SIGNATURE: Final = b"gateway:unsigned"
SIGNATURE_TEXT: Final = SIGNATURE.decode()


def is_gateway_made(block: Any) -> bool:
    """Whether a content block is a thinking block of the gateway's own."""
    return (
        isinstance(block, dict)
        and block.get("type") == "thinking"
        and block.get("signature") == SIGNATURE_TEXT
    )


def without_gateway_thinking(body: ClientBody) -> ClientBody:
    """The body without such blocks; the same object when it has none.

    Raises:
        InvalidRequestError: it is nested too deeply to be written again.
    """
    messages = body.data.get("messages")
    if not isinstance(messages, list):
        return body
    kept = [_cleaned(message) for message in messages]
    if all(new is old for new, old in zip(kept, messages, strict=True)):
        return body
    left = [new for new, old in zip(kept, messages, strict=True) if new is old or new["content"]]
    data = {**body.data, "messages": left}
    return ClientBody(raw=request_text(data), data=data, endpoint=body.endpoint, dialect=body.dialect)


def _cleaned(message: Any) -> Any:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or not any(map(is_gateway_made, content)):
        return message
    return {**message, "content": [block for block in content if not is_gateway_made(block)]}
