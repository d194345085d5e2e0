"""JSON between bytes and objects, with the errors of its two directions: a client's and a provider's.

Text that can be read may be nested too deeply to be written again (254 levels), so writing fails as well.
"""

from __future__ import annotations

from typing import Any

import orjson

from proxying.errors import InvalidRequestError, UpstreamProtocolError
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


def request_text(value: object) -> bytes:
    """Write what a client's request became.

    Raises:
        InvalidRequestError: it is nested too deeply.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError("The body is nested too deeply for this provider's format.") from error


def answer_text(value: object) -> bytes:
    """Write what a provider's answer became.

    Raises:
        UpstreamProtocolError: it is nested too deeply.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise UpstreamProtocolError("The provider's answer is nested too deeply.") from error
