"""A whole answer's bytes as the JSON object that every wire format sends."""

from __future__ import annotations

from typing import Any

import orjson

from proxying.errors import UpstreamProtocolError
from proxying.sse import BOM


def object_of(body: bytes) -> dict[str, Any]:
    """The object.

    Raises:
        UpstreamProtocolError: the body is empty, not JSON, or not an object.
    """
    if not body.strip():
        raise UpstreamProtocolError("The provider's answer is empty.")
    try:
        data = orjson.loads(body.removeprefix(BOM))
    except orjson.JSONDecodeError as error:
        raise UpstreamProtocolError("The provider's answer is not JSON.") from error
    if not isinstance(data, dict):
        raise UpstreamProtocolError("The provider's answer is not a JSON object.")
    return data
