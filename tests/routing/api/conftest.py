"""People and tokens who ask the admin API, and a small configuration for them to ask about."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import caches
from django.test import Client

from routing import keys, snapshot
from tests import factories

VIEWER = ("view_modelpool", "view_clientkey", "view_admintoken", "view_requestrecord")
OPERATOR = (*VIEWER, "change_poolcandidate")


class Script:
    """A script with a bearer token: JSON in, JSON out."""

    def __init__(self, secret: str = "", client: Client | None = None) -> None:
        self.client = client or Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        content = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return self.client.generic(
            method, path, headers={"Accept": "application/json", **self.headers, **headers}, **content
        )

    def get(self, path: str) -> Any:
        return self("GET", path).json()


def token(**fields: Any) -> str:
    secret = keys.make_admin_token().secret
    factories.AdminTokenFactory(secret=secret, **fields)
    return secret


def person(name: str, *codenames: str, **fields: Any) -> Script:
    user = User.objects.create_user(name, is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return Script(client=client)


@pytest.fixture(autouse=True)
def _clean() -> Any:
    """No table, pins, tickets or health of another test."""
    snapshot.reset()
    for cache in caches.all(initialized_only=True):
        cache.clear()
    yield
    snapshot.reset()


@pytest.fixture
def ada(db: None) -> Script:
    """The operator, by script."""
    return Script(token(name="ada"))


@pytest.fixture
def ben(db: None) -> Script:
    """Only looks."""
    return Script(token(name="ben", read_only=True))


@pytest.fixture
def expired(db: None) -> Script:
    return Script(token(name="old", expires_at=datetime.now(UTC) - timedelta(seconds=1)))


@pytest.fixture
def client_key(db: None) -> Script:
    """An application with a key for /v1."""
    secret = keys.make_client_key().secret
    factories.ClientKeyFactory(secret=secret)
    return Script(secret)


@pytest.fixture
def nobody(db: None) -> Script:
    return Script()


@pytest.fixture
def pools(db: None) -> None:
    """Two providers, two pools (``shared/x`` is in both), an alias, defaults."""
    east, west = (
        factories.ProviderFactory(name=name, configured_models=[model], probe_state="ok")
        for name, model in (("east", "x"), ("west", "y"))
    )
    for canonical, strategy in (("chat", ""), ("weighted", "weighted_round_robin")):
        pool = factories.ModelPoolFactory(canonical_model=canonical, strategy=strategy)
        factories.PoolCandidateFactory(pool=pool, provider=east, model="x", priority=1, weight=10)
        factories.PoolCandidateFactory(pool=pool, provider=west, model="y", priority=2, weight=6)
    factories.AliasFactory(name="fast", target="chat")
    factories.RoutingHeadFactory(revision=0)
