"""The one table of data-plane routes: the fast lane looks paths up here, Django's URLconf is made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from proxying.errors import NotFoundError
from proxying.http import Answer, GatewayRequest
from proxying.outcome import request_id
from proxying.serving import error_answer
from proxying.views.chat import chat_completions
from proxying.views.completions import completions
from proxying.views.embeddings import embeddings
from proxying.views.health import health, ready
from proxying.views.models import model, models

View = Callable[..., Awaitable[Answer]]

FAST_ROUTES: Final[Mapping[str, View]] = MappingProxyType(
    {
        "/v1/chat/completions": chat_completions,
        "/v1/completions": completions,
        "/v1/embeddings": embeddings,
        "/v1/models": models,
        "/health": health,
        "/health/ready": ready,
    }
)
_MODEL: Final = "/v1/models/"


def find(path: str) -> tuple[View, dict[str, str]] | None:
    """The view of a decoded path with its arguments; None when the path is not the data plane's.

    Everything under ``/v1/`` is: what is unknown there gets an error that SDKs understand.
    """
    view = FAST_ROUTES.get(path)
    if view is not None:
        return view, {}
    if path.startswith(_MODEL) and len(path) > len(_MODEL):
        return model, {"model_id": path[len(_MODEL) :]}
    if path.startswith("/v1/") and path.endswith("/"):
        view = FAST_ROUTES.get(path.rstrip("/"))
    if view is None and path.startswith("/v1/"):
        view = unknown_url
    return None if view is None else (view, {})


async def unknown_url(request: GatewayRequest) -> Answer:
    """There is no such endpoint."""
    given_id = request_id(request.headers)
    dialect = "anthropic" if "anthropic-version" in request.headers else "openai"
    error = NotFoundError(f"There is no {request.method} {request.path}.")
    answer = error_answer(error, dialect, given_id)
    answer.headers.append((b"x-request-id", given_id.encode()))
    return answer
