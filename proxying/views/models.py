"""``GET /v1/models`` and ``/v1/models/{id}``: every name that a request now would get a candidate for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from proxying.errors import GatewayError, InvalidRequestError, NotFoundError
from proxying.http import Answer, GatewayRequest
from proxying.runtime import Runtime
from proxying.serving import answer_or_error
from routing.router import ListedModel
from routing.types import Caller

_JSON: Final = (b"content-type", b"application/json")
_ANTHROPIC_LIMIT: Final = 20
_ANTHROPIC_MOST: Final = 1000


async def models(request: GatewayRequest) -> Answer:
    """The models list, in Anthropic's shape when ``anthropic-version`` is sent."""
    dialect = _dialect(request)

    def work(runtime: Runtime, caller: Caller) -> Answer:
        listed = runtime.resolver.listed(caller)
        if dialect == "anthropic":
            return _json(_anthropic_page(listed, request.query_string))
        return _json({"object": "list", "data": [_openai_line(line) for line in listed]})

    return await answer_or_error(request, work, dialect=dialect)


async def model(request: GatewayRequest, model_id: str) -> Answer:
    """One line of the list; the id may contain ``/``."""
    dialect = _dialect(request)

    def work(runtime: Runtime, caller: Caller) -> Answer:
        line = next((one for one in runtime.resolver.listed(caller) if one.id == model_id), None)
        if line is None:
            raise _unknown(model_id)
        return _json(_anthropic_line(line) if dialect == "anthropic" else _openai_line(line))

    return await answer_or_error(request, work, dialect=dialect)


def _unknown(model_id: str) -> GatewayError:
    return NotFoundError(
        f"The model {model_id!r} does not exist or is not available now.",
        param="model",
        code="model_not_found",
    )


def _dialect(request: GatewayRequest) -> str:
    return "anthropic" if "anthropic-version" in request.headers else "openai"


def _json(value: Any) -> Answer:
    return Answer(200, [_JSON], orjson.dumps(value))


def _openai_line(line: ListedModel) -> dict[str, Any]:
    return {"id": line.id, "object": "model", "created": line.created, "owned_by": line.owned_by}


def _anthropic_line(line: ListedModel) -> dict[str, Any]:
    created_at = datetime.fromtimestamp(line.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": line.id, "display_name": line.id, "created_at": created_at}


def _anthropic_page(listed: Sequence[ListedModel], query: str) -> dict[str, Any]:
    """Their paging: ``limit`` (20) lines after ``after_id`` or before ``before_id``."""
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    limit = _limit(given.get("limit"))
    lines = listed
    if "after_id" in given:
        lines = listed[_position(listed, given["after_id"], "after_id") + 1 :]
    elif "before_id" in given:
        lines = listed[: _position(listed, given["before_id"], "before_id")]
        page = lines[-limit:]
    if "before_id" not in given or "after_id" in given:
        page = lines[:limit]
    return {
        "data": [_anthropic_line(line) for line in page],
        "first_id": page[0].id if page else None,
        "has_more": len(lines) > len(page),
        "last_id": page[-1].id if page else None,
    }


def _limit(text: str | None) -> int:
    if text is None:
        return _ANTHROPIC_LIMIT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= _ANTHROPIC_MOST:
        raise InvalidRequestError(f"limit must be a number from 1 to {_ANTHROPIC_MOST}.", param="limit")
    return int(text)


def _position(listed: Sequence[ListedModel], wanted: str, param: str) -> int:
    for position, line in enumerate(listed):
        if line.id == wanted:
            return position
    raise InvalidRequestError(f"There is no model {wanted!r} in the list.", param=param)
