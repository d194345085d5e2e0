"""A client's multipart form, read as far as routing needs it; the rest passes by when a provider takes it."""

from __future__ import annotations

import time
from typing import Any, Final

from proxying.adapters.base import ClientBody
from proxying.errors import InvalidRequestError, RequestTooLargeError
from proxying.http import GatewayRequest
from proxying.multipart import Field, FormScanner, boundary_of
from proxying.runtime import Runtime
from proxying.schemas import model_of, parse_body
from proxying.upload import ClientForm, Upload, UploadLimits
from routing.types import Endpoint

_WANTED: Final = frozenset({b"model", b"stream", b"n", b"user", b"prompt_cache_key"})


async def read_form(request: GatewayRequest, endpoint: Endpoint, runtime: Runtime) -> ClientBody:
    """Read until it is known what model is wanted; a JSON body is taken as such.

    Raises:
        GatewayError: the body is too large, malformed, or says no model where one is looked for.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return parse_body(await request.read_body(runtime.max_body_bytes), endpoint)
    scanner = FormScanner(boundary_of(content_type), _WANTED)
    limits = UploadLimits(runtime.replay_bytes, runtime.max_body_bytes, _declared_bytes(request))
    if limits.declared_bytes is not None and limits.declared_bytes > limits.max_bytes:
        raise RequestTooLargeError(f"The request body has more than {limits.max_bytes} bytes.")
    upload = Upload(request.chunks(), scanner, runtime.replay_memory, limits)
    began = time.perf_counter()
    try:
        model = await upload.read_until_model()
        data = _data_of(scanner, model)
    except BaseException:
        await upload.close()
        raise
    return ClientBody(
        raw=b"",
        data=data,
        endpoint=endpoint,
        form=ClientForm(content_type, upload, model, time.perf_counter() - began),
    )


def _declared_bytes(request: GatewayRequest) -> int | None:
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _data_of(scanner: FormScanner, model: Field) -> dict[str, Any]:
    """The fields that were seen, as a JSON body would have them."""
    texts = {name.decode(): _text_of(field) for name, field in scanner.fields.items()}
    data: dict[str, Any] = {name: text for name, text in texts.items() if text is not None}
    if "model" not in data:
        raise InvalidRequestError("The field 'model' is not text, or is too long.", param="model")
    data["model"] = model_of(data["model"])
    data["stream"] = data.get("stream", "").strip().lower() in {"true", "1"}
    count = data.get("n", "")
    data["n"] = int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 1
    return data


def _text_of(field: Field) -> str | None:
    try:
        return None if field.value is None else field.value.decode()
    except UnicodeDecodeError:
        return None
