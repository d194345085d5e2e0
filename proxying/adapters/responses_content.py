"""The content of Responses' input items as content of chat messages."""

from __future__ import annotations

from typing import Any, Final

from proxying.adapters.dialects import refuse

_TEXTS: Final = ("input_text", "output_text", "text", "summary_text")
_DETAILS: Final = ("low", "high")
# https://platform.openai.com/docs/guides/pdf-files: files are data URLs; some clients leave the head out.
_PDF_HEAD: Final = "data:application/pdf;base64,"


def content_parts(content: Any, where: str) -> list[dict[str, Any]]:
    """A text or a list of Responses' parts as chat parts.

    Raises:
        InvalidRequestError: a part has no place in chat completions.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise refuse(where, "A text or a list of parts is expected.")
    return [_part(part, f"{where}[{number}]") for number, part in enumerate(content)]


def simplest(parts: list[dict[str, Any]]) -> Any:
    """Texts alone are sent as one text: every vendor takes that, of every role."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def joined_text(parts: list[dict[str, Any]]) -> str:
    """The texts among chat parts, put together."""
    return "".join(part["text"] for part in parts if part["type"] == "text")


def _part(part: Any, where: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXTS and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if kind == "input_image":
        return _image(part, where)
    if kind == "input_file":
        return _file(part, where)
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    raise refuse(where, f"A part of type {kind!r} cannot be sent to this provider.")


def _image(part: dict[str, Any], where: str) -> dict[str, Any]:
    address = part.get("image_url")
    if not isinstance(address, str) or not address:
        raise refuse(f"{where}.file_id", "Files stored at OpenAI cannot be sent to this provider.")
    image = {"url": address}
    if part.get("detail") in _DETAILS:
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}


def _file(part: dict[str, Any], where: str) -> dict[str, Any]:
    data = part.get("file_data")
    if not isinstance(data, str) or not data:
        field = "file_url" if part.get("file_url") else "file_id"
        raise refuse(f"{where}.{field}", "Only files sent along (file_data) can go to this provider.")
    name = part.get("filename")
    return {
        "type": "file",
        "file": {
            "filename": name if isinstance(name, str) and name else "document.pdf",
            "file_data": data if data[:5].lower() == "data:" else _PDF_HEAD + data,
        },
    }
