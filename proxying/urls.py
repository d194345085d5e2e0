"""The one table of data-plane routes, for both doors: methods of a path to views.

A path that ends in ``/{name}`` takes everything after the slash as ``name``. ``/metrics`` is not here: it
reads the database, so it comes through Django.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from django.urls import path

from proxying.doors import django_view
from proxying.fastlane import Routes
from proxying.views.audio import speech, transcriptions, translations
from proxying.views.chat import chat_completions
from proxying.views.completions import completions
from proxying.views.embeddings import embeddings
from proxying.views.health import health, ready
from proxying.views.images import edits, generations, variations
from proxying.views.messages import count_tokens, messages
from proxying.views.metrics import metrics
from proxying.views.models import model, models
from proxying.views.moderations import moderations
from proxying.views.rerank import rerank
from proxying.views.responses import responses, stored_response

FAST_ROUTES: Final[Routes] = MappingProxyType(
    {
        "/v1/chat/completions": {"POST": chat_completions},
        "/v1/completions": {"POST": completions},
        "/v1/embeddings": {"POST": embeddings},
        "/v1/moderations": {"POST": moderations},
        "/v1/rerank": {"POST": rerank},
        "/v1/audio/speech": {"POST": speech},
        "/v1/audio/transcriptions": {"POST": transcriptions},
        "/v1/audio/translations": {"POST": translations},
        "/v1/images/generations": {"POST": generations},
        "/v1/images/edits": {"POST": edits},
        "/v1/images/variations": {"POST": variations},
        "/v1/messages": {"POST": messages},
        "/v1/messages/count_tokens": {"POST": count_tokens},
        "/v1/responses": {"POST": responses},
        "/v1/responses/{response_id}": dict.fromkeys(("GET", "POST", "DELETE"), stored_response),
        "/v1/models": {"GET": models},
        "/v1/models/{model_id}": {"GET": model},
        "/health": {"GET": health},
        "/health/ready": {"GET": ready},
    }
)

urlpatterns = [
    *(
        path(route.removeprefix("/").replace("{", "<path:").replace("}", ">"), django_view(methods))
        for route, methods in FAST_ROUTES.items()
    ),
    path("metrics", metrics),
]
