"""The shape of a client's JSON body: what must be there before anything is routed; the rest passes."""

from __future__ import annotations

from typing import Any, Final

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
# The models that the format itself names for requests without one.
_DEFAULT_MODELS: Final = {Endpoint.MODERATIONS: "omni-moderation-latest"}


def parse_body(raw: bytes, endpoint: Endpoint) -> ClientBody:
    """Read a client's body. ``data["model"]`` is trimmed; ``raw`` stays as sent, but for a default model.

    Raises:
        InvalidJSONError: it is empty, malformed (with the place), or not an object.
        InvalidRequestError: ``model`` is missing, blank, not a string, or stands twice; or ``stream`` is
            neither true nor false.
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
    if "model" not in data and endpoint in _DEFAULT_MODELS:
        raw = _with_model(raw, data, _DEFAULT_MODELS[endpoint])
    data["model"] = model_of(data.get("model"))
    if not isinstance(data.get("stream"), bool | None):
        # A lenient provider would stream, which looks like a broken answer where none was expected.
        raise InvalidRequestError("The field 'stream' must be true or false.", param="stream")
    plain = splice.is_plain(raw)
    if not plain:
        splice.refuse_duplicates(list(splice.scan_members(raw, raw.index(b"{"))))
    return ClientBody(raw, data, endpoint, _DIALECTS.get(endpoint, "openai"), is_plain=plain)


def _with_model(raw: bytes, data: dict[str, Any], model: str) -> bytes:
    """Put a model into a body that names none."""
    rest = raw.index(b"{") + 1
    comma = b"," if data else b""
    data["model"] = model
    return b'%b"model":%b%b%b' % (raw[:rest], orjson.dumps(model), comma, raw[rest:])


def model_of(value: object) -> str:
    """The name in the field ``model``, trimmed; see ``parse_body`` for what is raised."""
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
