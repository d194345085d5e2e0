"""Content of OpenAI's chat messages as Converse's blocks: text, pictures, documents, sound, video. Pure.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

from __future__ import annotations

import re
from typing import Any, Final

from proxying.adapters.dialects import refuse

Block = dict[str, Any]

_DATA_URL: Final = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?)(;base64)?,", re.IGNORECASE)
# Blocks of Converse's own that a client may put among OpenAI's parts; these have no "type".
_OWN_BLOCKS: Final = frozenset(
    {"image", "document", "video", "audio", "guardContent", "cachePoint", "searchResult"}
)
_SHEET: Final = "application/vnd.openxmlformats-officedocument"
# What a block holds, and the format's name, by media type.
_FORMATS: Final = {
    "image/png": ("image", "png"),
    "image/jpeg": ("image", "jpeg"),
    "image/jpg": ("image", "jpeg"),
    "image/gif": ("image", "gif"),
    "image/webp": ("image", "webp"),
    "application/pdf": ("document", "pdf"),
    "text/csv": ("document", "csv"),
    "application/msword": ("document", "doc"),
    f"{_SHEET}.wordprocessingml.document": ("document", "docx"),
    "application/vnd.ms-excel": ("document", "xls"),
    f"{_SHEET}.spreadsheetml.sheet": ("document", "xlsx"),
    "text/html": ("document", "html"),
    "text/plain": ("document", "txt"),
    "text/markdown": ("document", "md"),
    "video/mp4": ("video", "mp4"),
    "video/quicktime": ("video", "mov"),
    "video/webm": ("video", "webm"),
    "video/x-matroska": ("video", "mkv"),
    "video/x-flv": ("video", "flv"),
    "video/mpeg": ("video", "mpeg"),
    "video/x-ms-wmv": ("video", "wmv"),
    "video/3gpp": ("video", "three_gp"),
    "audio/mpeg": ("audio", "mp3"),
    "audio/mp3": ("audio", "mp3"),
    "audio/wav": ("audio", "wav"),
    "audio/x-wav": ("audio", "wav"),
    "audio/flac": ("audio", "flac"),
    "audio/ogg": ("audio", "ogg"),
    "audio/aac": ("audio", "aac"),
    "audio/mp4": ("audio", "m4a"),
}
# The same by the ending of a name.
_ENDINGS: Final = {
    **{form: (kind, form) for kind, form in _FORMATS.values()},
    "jpg": ("image", "jpeg"),
    "htm": ("document", "html"),
    "3gp": ("video", "three_gp"),
}
_AUDIO_FORMATS: Final = frozenset(
    {"mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "m4a", "mpeg", "mpga", "pcm", "webm"}
)
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9()\[\]-]+")
_LONGEST_NAME: Final = 180


class Contents:
    """Writes the content of one request's messages; documents need names that differ within it."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def blocks(self, content: Any, where: str) -> list[Block]:
        """A message's content as blocks; text of white space alone is left out, as it would be refused.

        Args:
            content: A text, a list of parts, or None.
            where: The message's place, as ``messages[3]``.

        Raises:
            InvalidRequestError: a part has no place in Converse's format.
        """
        if content is None:
            return []
        if isinstance(content, str):
            return [{"text": content}] if content.strip() else []
        if not isinstance(content, list):
            raise refuse(f"{where}.content", "a text or a list of parts is expected.")
        blocks: list[Block] = []
        for number, part in enumerate(content):
            block = self._block(part, f"{where}.content[{number}]")
            if "text" not in block or block["text"].strip():
                blocks.append(block)
                blocks += cache_points(part)
        return blocks

    def _block(self, part: Any, where: str) -> Block:
        if isinstance(part, str):
            return {"text": part}
        if not isinstance(part, dict):
            raise refuse(where, "a content part must be an object.")
        kind = part.get("type")
        if kind in ("text", "refusal"):
            text = part.get(kind)
            if not isinstance(text, str):
                raise refuse(f"{where}.{kind}", "a text is expected.")
            return {"text": text}
        if kind in ("image_url", "video_url"):
            return _at_address(part.get(kind), kind.removesuffix("_url"), f"{where}.{kind}")
        if kind == "input_audio":
            return _audio(part.get("input_audio"), f"{where}.input_audio")
        if kind == "file":
            return self._file(part.get("file"), f"{where}.file")
        if kind is None and len(part) == 1 and part.keys() <= _OWN_BLOCKS:
            return dict(part)
        raise refuse(where, f"a part of type {kind!r} cannot be sent to this provider.")

    def _file(self, file: Any, where: str) -> Block:
        if not isinstance(file, dict):
            raise refuse(where, "an object is expected.")
        name = file.get("filename")
        named = name if isinstance(name, str) else ""
        stored = file.get("file_id")
        if isinstance(stored, str) and stored.startswith("s3://"):
            kind, form = _by_ending(stored, f"{where}.file_id")
            return self._held(kind, form, named or stored, _in_bucket(stored))
        data = file.get("file_data")
        if not isinstance(data, str) or not data:
            raise refuse(f"{where}.file_id", "only files with 'file_data', or s3:// addresses, can be sent.")
        if data[:5].lower() == "data:":
            kind, form, data = _from_data_url(data, named, f"{where}.file_data")
        else:
            kind, form = _by_ending(named, f"{where}.filename")
        return self._held(kind, form, named, {"bytes": data})

    def _held(self, kind: str, form: str, name: str, source: dict[str, Any]) -> Block:
        held: dict[str, Any] = {"format": form, "source": source}
        if kind == "document":
            held["name"] = self._name(name)
        return {kind: held}

    def _name(self, given: str) -> str:
        """A document's name in the letters that Bedrock takes, and one that no other document here has."""
        stem = given.rpartition("/")[2].rpartition(".")[0] or given.rpartition("/")[2]
        plain = _NOT_IN_NAMES.sub(" ", stem).strip()[:_LONGEST_NAME].rstrip() or "document"
        name, number = plain, 1
        while name in self._names:
            number += 1
            name = f"{plain} {number}"
        self._names.add(name)
        return name


def cache_points(holder: Any) -> list[Block]:
    """The cache point that ``cache_control`` of a part, a message or a tool asks for, behind it."""
    control = holder.get("cache_control") if isinstance(holder, dict) else None
    if not isinstance(control, dict):
        return []
    point = {"type": "default"}
    if control.get("ttl") in ("5m", "1h"):
        point["ttl"] = control["ttl"]
    return [{"cachePoint": point}]


def _at_address(held: Any, kind: str, where: str) -> Block:
    """A picture or video: ``{"url": …}``, or the bare address as some clients send it."""
    address = held.get("url") if isinstance(held, dict) else held
    if not isinstance(address, str) or not address:
        raise refuse(f"{where}.url", "an address is expected.")
    if address.startswith("s3://"):
        found, form = _by_ending(address, f"{where}.url")
        source = _in_bucket(address)
    elif address[:5].lower() == "data:":
        found, form, data = _from_data_url(address, "", f"{where}.url")
        source = {"bytes": data}
    else:
        raise refuse(f"{where}.url", "Bedrock fetches nothing: send a base64 data URL or an s3:// address.")
    if found != kind:
        raise refuse(f"{where}.url", f"it holds no {kind}.")
    return {kind: {"format": form, "source": source}}


def _audio(held: Any, where: str) -> Block:
    data = held.get("data") if isinstance(held, dict) else None
    form = held.get("format") if isinstance(held, dict) else None
    if not isinstance(data, str) or not data:
        raise refuse(f"{where}.data", "sound in base64 is expected.")
    if not isinstance(form, str) or form not in _AUDIO_FORMATS:
        raise refuse(f"{where}.format", f"it must be one of {', '.join(sorted(_AUDIO_FORMATS))}.")
    return {"audio": {"format": form, "source": {"bytes": data}}}


def _from_data_url(address: str, name: str, where: str) -> tuple[str, str, str]:
    """What a data URL holds, its format, and its base64 text; its name counts where it tells no type."""
    found = _DATA_URL.match(address)
    if found is None or not found[3]:
        raise refuse(where, "a data URL with base64 is expected.")
    media_type = found[1].lower()
    if media_type in _FORMATS:
        kind, form = _FORMATS[media_type]
    elif media_type in ("", "application/octet-stream") and name:
        kind, form = _by_ending(name, where)
    else:
        raise refuse(where, f"files of type {media_type!r} cannot be sent to this provider.")
    return kind, form, address[found.end() :]


def _by_ending(name: str, where: str) -> tuple[str, str]:
    known = _ENDINGS.get(name.rpartition(".")[2].lower())
    if known is None:
        raise refuse(where, "its format is not known: neither by a data URL nor by the ending of its name.")
    return known


def _in_bucket(address: str) -> dict[str, Any]:
    return {"s3Location": {"uri": address}}
