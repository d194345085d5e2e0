"""Content of OpenAI's chat messages as Anthropic's content blocks."""

from __future__ import annotations

import re
from typing import Any, Final

from proxying.adapters.dialects import refuse

_DATA_URL: Final = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?)(;base64)?,", re.IGNORECASE)
_MEDIA_TYPES: Final = {"image/jpg": "image/jpeg"}
# Blocks of Anthropic's own that a client may put among OpenAI's parts.
_OWN_BLOCKS: Final = ("image", "document", "search_result")


def content_blocks(content: Any, where: str) -> list[dict[str, Any]]:
    """A message's content as blocks; text without a word in it is left out, as it would be refused.

    Args:
        content: A text, a list of parts, or None.
        where: The message's place, as ``messages[3]``.

    Raises:
        InvalidRequestError: a part has no place in the Messages format.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    if not isinstance(content, list):
        raise refuse(f"{where}.content", "A text or a list of parts is expected.")
    blocks = [_block(part, f"{where}.content[{number}]") for number, part in enumerate(content)]
    return [block for block in blocks if block["type"] != "text" or block["text"].strip()]


def _block(part: Any, where: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _OWN_BLOCKS and ("source" in part or kind == "search_result"):
        return dict(part)
    if kind == "text":
        block: dict[str, Any] = {"type": "text", "text": _text(part.get("text"), f"{where}.text")}
    elif kind == "refusal":
        block = {"type": "text", "text": _text(part.get("refusal"), f"{where}.refusal")}
    elif kind == "image_url":
        block = {"type": "image", "source": _image_source(part.get("image_url"), f"{where}.image_url")}
    elif kind == "file":
        block = _document(part.get("file"), f"{where}.file")
    else:
        raise refuse(where, f"A part of type {kind!r} cannot be sent to an Anthropic provider.")
    if part.get("cache_control") is not None:
        block["cache_control"] = part["cache_control"]
    return block


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise refuse(where, "A text is expected.")
    return value


def _image_source(image: Any, where: str) -> dict[str, str]:
    address = image.get("url") if isinstance(image, dict) else image
    if not isinstance(address, str) or not address:
        raise refuse(f"{where}.url", "An address or a data URL is expected.")
    if address[:5].lower() != "data:":
        return {"type": "url", "url": address}
    media_type, data = _data_of(address, f"{where}.url")
    return {"type": "base64", "media_type": _MEDIA_TYPES.get(media_type, media_type), "data": data}


def _document(file: Any, where: str) -> dict[str, Any]:
    if not isinstance(file, dict):
        raise refuse(where, "An object is expected.")
    address = file.get("file_data")
    if not isinstance(address, str):
        raise refuse(f"{where}.file_id", "Files stored at OpenAI cannot be sent to an Anthropic provider.")
    media_type, data = _data_of(address, f"{where}.file_data")
    if media_type.startswith("image/"):
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    if media_type != "application/pdf":
        raise refuse(f"{where}.file_data", f"Files of type {media_type!r} cannot be sent; PDF files can.")
    document: dict[str, Any] = {
        "type": "document",
        "source": {"type": "base64", "media_type": media_type, "data": data},
    }
    if isinstance(file.get("filename"), str) and file["filename"]:
        document["title"] = file["filename"]
    return document


def _data_of(address: str, where: str) -> tuple[str, str]:
    """Media type and Base64 text of a data URL."""
    found = _DATA_URL.match(address)
    if found is None or not found[3]:
        raise refuse(where, "A data URL with base64 is expected.")
    return found[1].lower(), address[found.end() :]
