"""OpenAI's embeddings, over Gemini's ``:batchEmbedContents``. Pure."""

from __future__ import annotations

import base64
import struct
from typing import Any, Final

from proxying.adapters.base import Usage
from proxying.adapters.dialects import refuse
from proxying.adapters.gemini_usage import read_usage
from proxying.errors import UpstreamProtocolError

_READ: Final = frozenset({"model", "input", "dimensions", "encoding_format"})
_HARMLESS: Final = frozenset({"user", "provider", "metadata"})
# Gemini's own, in both of its spellings.
_NATIVE: Final = {"taskType": "taskType", "task_type": "taskType", "title": "title"}
_FORMATS: Final = (None, "float", "base64")


def batch_request(data: dict[str, Any], resource: str) -> dict[str, Any]:
    """The body of a batch; ``resource`` is the model's full name.

    Raises:
        InvalidRequestError: it says something that Gemini cannot be told; ``param`` names it.
    """
    for name, value in data.items():
        if name not in _READ and name not in _HARMLESS and name not in _NATIVE and value:
            raise refuse(name, "it cannot be expressed in Gemini's format.")
    if data.get("encoding_format") not in _FORMATS:
        raise refuse("encoding_format", "it must be float or base64.")
    common: dict[str, Any] = {"model": resource}
    if data.get("dimensions") is not None:
        common["outputDimensionality"] = data["dimensions"]
    common.update((_NATIVE[name], data[name]) for name in _NATIVE if data.get(name) is not None)
    texts = inputs_of(data)
    return {"requests": [{**common, "content": {"parts": [{"text": text}]}} for text in texts]}


def inputs_of(data: dict[str, Any]) -> list[str]:
    """The texts to embed.

    Raises:
        InvalidRequestError: there are none, or they are tokens: every vendor counts its own.
    """
    given = data.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise refuse("input", "it must be a string or a list of strings.")
    if not all(isinstance(text, str) for text in texts):
        raise refuse("input", "token ids are another model's; this provider takes strings only.")
    return texts


def embeddings_answer(answer: dict[str, Any], data: dict[str, Any]) -> tuple[dict[str, Any], Usage]:
    """A batch's answer as OpenAI's list.

    Raises:
        UpstreamProtocolError: it has not one embedding for each input.
    """
    rows = answer.get("embeddings")
    if not isinstance(rows, list) or len(rows) != len(inputs_of(data)):
        raise UpstreamProtocolError("The provider's answer has not one embedding for each input.")
    packed = data.get("encoding_format") == "base64"
    usage = Usage()
    if isinstance(answer.get("usageMetadata"), dict):
        read_usage(answer["usageMetadata"], usage)
    tokens = usage.prompt_tokens or 0
    listed = [
        {"object": "embedding", "index": index, "embedding": _values(row, packed=packed)}
        for index, row in enumerate(rows)
    ]
    return {
        "object": "list",
        "data": listed,
        "model": data.get("model") or "",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }, usage


def _values(row: object, *, packed: bool) -> list[float] | str:
    """The numbers, or their bytes (32-bit floats, little-endian) in Base64."""
    values = row.get("values") if isinstance(row, dict) else None
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise UpstreamProtocolError("The provider sent an embedding that is not a list of numbers.")
    if not packed:
        return values
    try:
        return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    except (OverflowError, struct.error) as error:
        raise UpstreamProtocolError(
            "The provider sent an embedding that no 32-bit float can hold."
        ) from error
