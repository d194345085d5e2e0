"""The shape of a client's JSON body: what must be there before anything is routed; the rest passes."""

from __future__ import annotations

from typing import Final

import orjson

from proxying import splice
from proxying.adapters.base import ClientBody
from proxying.errors import InvalidJSONError, InvalidRequestError, NoCandidateError
from routing.matching import LONGEST_NAME, unknown_model
from routing.types import Endpoint

_DIALECTS: Final = {
    Endpoint.MESSAGES: "anthropic",
    Endpoint.COUNT_TOKENS: "anthropic",
    Endpoint.RESPONSES: "responses",
}


def parse_body(raw: bytes, endpoint: Endpoint) -> ClientBody:
    """Read a client's body. ``data["model"]`` is trimmed; ``raw`` stays as sent.

    Raises:
        InvalidJSONError: it is empty, malformed (with the place), or not an object.
        InvalidRequestError: ``model`` is missing, blank, not a string, or stands twice.
        NoCandidateError: ``model`` is longer than any name.
    """
    if not raw.strip():
        raise InvalidJSONError("The body is empty; a JSON object is expected.")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidJSONError(
            f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from error
    if not isinstance(data, dict):
        raise InvalidJSONError("The body is valid JSON but not an object.")
    data["model"] = _model_of(data.get("model"))
    if not splice.is_plain(raw):
        splice.refuse_duplicates(list(splice.scan_members(raw, raw.index(b"{"))))
    return ClientBody(raw=raw, data=data, endpoint=endpoint, dialect=_DIALECTS.get(endpoint, "openai"))


def _model_of(value: object) -> str:
    if value is None:
        raise InvalidRequestError("The field 'model' is required.", param="model", code="missing_model")
    if not isinstance(value, str):
        raise InvalidRequestError("The field 'model' must be a string.", param="model", code="missing_model")
    model = value.strip()
    if not model:
        raise InvalidRequestError("The field 'model' must not be blank.", param="model", code="missing_model")
    if len(model) > LONGEST_NAME:  # nothing has it, and records and logs need not hold it
        raise NoCandidateError(unknown_model(model))
    return model
