"""The arguments of a chat's tool call, for formats that want the object, not JSON in a text. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from proxying.adapters.dialects import refuse


def arguments_of(text: Any, where: str) -> dict[str, Any]:
    """The object; an empty one for a call without arguments.

    Raises:
        InvalidRequestError: it is none; ``param`` is ``where``.
    """
    if text is None or (isinstance(text, str) and not text.strip()):
        return {}
    try:
        value = orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError as error:
        raise refuse(where, f"The arguments are not JSON: {error.msg}.") from error
    if not isinstance(value, dict):
        raise refuse(where, "The arguments must be a JSON object.")
    return value
