"""The one table of data-plane routes, for both doors: methods of a path to views.

A path that ends in ``/{name}`` takes everything after the slash as ``name``. ``/metrics`` is not here: it
reads the database, so it comes through Django.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from proxying.http import Answer
from proxying.views.chat import chat_completions
from proxying.views.completions import completions
from proxying.views.embeddings import embeddings
from proxying.views.health import health, ready
from proxying.views.models import model, models

View = Callable[..., Awaitable[Answer]]

FAST_ROUTES: Final[Mapping[str, Mapping[str, View]]] = MappingProxyType(
    {
        "/v1/chat/completions": {"POST": chat_completions},
        "/v1/completions": {"POST": completions},
        "/v1/embeddings": {"POST": embeddings},
        "/v1/models": {"GET": models},
        "/v1/models/{model_id}": {"GET": model},
        "/health": {"GET": health},
        "/health/ready": {"GET": ready},
    }
)
