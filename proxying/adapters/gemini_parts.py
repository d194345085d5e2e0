"""Pieces of a chat message's content, written as Gemini's parts: text, images, sound, files. Pure."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from proxying.adapters.dialects import refuse

Part = dict[str, Any]

_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)
_FETCHED: Final = frozenset({"http", "https", "gs"})
_MIME_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
}
# The member that holds the piece, and the member of that one that holds its address.
_BY_URL: Final = {"image_url": "url", "video_url": "url"}


def parts_of(content: object, path: str) -> list[Part]:
    """A message's content: a string, a list of pieces, or nothing. Empty texts are left out.

    Raises:
        InvalidRequestError: a piece is not expressible; ``param`` names it below ``path``.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [{"text": content}] if content else []
    if not isinstance(content, list):
        raise refuse(path, "it must be a string or a list of content parts.")
    parts = (_part(piece, f"{path}[{index}]") for index, piece in enumerate(content))
    return [part for part in parts if part is not None]


def text_of(content: object, path: str) -> str:
    """The text of a content that may hold nothing else.

    Raises:
        InvalidRequestError: it holds something else.
    """
    parts = parts_of(content, path)
    if any("text" not in part for part in parts):
        raise refuse(path, "only text can stand here.")
    return "".join(part["text"] for part in parts)


def _part(piece: object, path: str) -> Part | None:
    if isinstance(piece, str):
        return {"text": piece} if piece else None
    if not isinstance(piece, dict):
        raise refuse(path, "a content part must be an object.")
    given = piece.get("type")
    kind = given if isinstance(given, str) else ""
    if kind in {"text", "refusal"}:
        text = piece.get(kind)
        if not isinstance(text, str):
            raise refuse(f"{path}.{kind}", "it must be a string.")
        return {"text": text} if text else None
    if kind in _BY_URL:
        return _from_url(_address(piece, kind, path), f"{path}.{kind}")
    if kind == "input_audio":
        return _audio(piece.get("input_audio"), f"{path}.input_audio")
    if kind == "file":
        return _file(piece.get("file"), f"{path}.file")
    raise refuse(f"{path}.type", f"content of the type {given!r} cannot be sent to this provider.")


def _address(piece: dict[str, Any], kind: str, path: str) -> str:
    """The URL of an image or a video: ``{"url": …}``, or bare as some clients send it."""
    held = piece.get(kind)
    url = held.get(_BY_URL[kind]) if isinstance(held, dict) else held
    if not isinstance(url, str) or not url:
        raise refuse(f"{path}.{kind}", "it needs a 'url'.")
    return url


def _from_url(url: str, path: str) -> Part:
    inline = _inline(url)
    if inline is not None:
        return inline
    address = urlsplit(url[:4096])
    if address.scheme.lower() not in _FETCHED:
        raise refuse(path, "the URL must be a base64 data URL with its media type, or begin with http or gs.")
    data: Part = {"fileUri": url}
    mime = _mime_of(address.path)
    if mime:
        data["mimeType"] = mime
    return {"fileData": data}


def _audio(held: object, path: str) -> Part:
    data = held.get("data") if isinstance(held, dict) else None
    form = held.get("format") if isinstance(held, dict) else None
    if not isinstance(data, str) or not isinstance(form, str):
        raise refuse(path, "it needs 'data' and 'format'.")
    return _inline(data) or {"inlineData": {"mimeType": f"audio/{form}", "data": data}}


def _file(held: object, path: str) -> Part:
    if not isinstance(held, dict):
        raise refuse(path, "it must be an object.")
    data = held.get("file_data")
    name = held.get("filename")
    if isinstance(data, str) and data:
        if data.startswith(("http://", "https://", "gs://")):
            return _from_url(data, f"{path}.file_data")
        mime = _mime_of(name) if isinstance(name, str) else None
        inline = _inline(data, mime)
        if inline is None and (mime is None or data.startswith("data:")):
            raise refuse(
                f"{path}.file_data", "its media type is not told, neither in a data URL nor by name."
            )
        return inline or {"inlineData": {"mimeType": mime, "data": data}}
    file_id = held.get("file_id")
    if isinstance(file_id, str) and file_id.startswith(("https://", "gs://")):
        return _from_url(file_id, f"{path}.file_id")
    raise refuse(f"{path}.file_id", "only files with 'file_data', or the address of one, can be sent.")


def _inline(url: str, mime: str | None = None) -> Part | None:
    """The part of a base64 data URL; None for another URL. ``mime`` is for one that does not say."""
    found = _DATA_URL.match(url)
    if found is None:
        return None
    kind = found[1] or mime
    return {"inlineData": {"mimeType": kind, "data": url[found.end() :]}} if kind else None


def _mime_of(name: str) -> str | None:
    return _MIME_TYPES.get(name.rpartition(".")[2].lower())
