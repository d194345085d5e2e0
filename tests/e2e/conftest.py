"""One running gateway for most tests, with a pool of fresh providers for each of them."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import PASSED_ON, ROOT, Server, serving
from tests.e2e.upstreams import FAST, NAMES, Providers, config, providers
from tests.upstream import Upstream

POOLS = 100
UPSTREAM_KEY = "sk-of-the-upstream-0123456789"


@dataclass
class Pool:
    """A canonical model nobody else uses, and its candidates' upstreams in order of priority."""

    name: str
    providers: tuple[str, ...]
    upstreams: tuple[Upstream, ...]

    @property
    def calls(self) -> list[int]:
        """How many requests each upstream saw."""
        return [len(one.requests) for one in self.upstreams]


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file."""
    import os

    path = tmp_path_factory.mktemp("migrated") / "db.sqlite3"
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env |= {"DATABASE_URL": f"sqlite:///{path}", "SECRET_KEY": "tests", "CACHE_URL": ""}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=env, check=True)
    return path


@pytest.fixture(scope="session")
def upstreams() -> Iterator[Providers]:
    """Scripted providers."""
    with providers() as held:
        yield held


Serve = Callable[..., Server]


@pytest.fixture
def server(tmp_path: Path, empty: Path) -> Iterator[Serve]:
    """Starts servers: ``server(config=…, workers=…, cache_url=…, database_url=…, GATEWAY_…=…)``."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def start(**options: Any) -> Server:
            made: AbstractContextManager[Server] = serving(
                tmp_path / f"server{next(numbers)}", empty, UPSTREAM_KEY=UPSTREAM_KEY, **options
            )
            return stack.enter_context(made)

        yield start


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, empty: Path, upstreams: Providers
) -> Iterator[tuple[Server, Iterator[Pool]]]:
    """The one server of most tests, and its unused pools. Providers listen as soon as they are taken."""
    made: dict[str, list[tuple[str, Upstream, dict[str, int]]]] = {}
    for number in range(POOLS):
        made[f"pool-{number}"] = [
            (f"{name}{number}", upstreams.start(), {"priority": place})
            for place, name in enumerate(NAMES, start=1)
        ]
    pools = iter(
        [
            Pool(name, tuple(one[0] for one in shapes), tuple(one[1] for one in shapes))
            for name, shapes in made.items()
        ]
    )
    home = tmp_path_factory.mktemp("shared")
    extra = "aliases:\n  short: pool-0"
    with serving(
        home,
        empty,
        config=config(made, timeouts=FAST, extra=extra),
        UPSTREAM_KEY=UPSTREAM_KEY,
        GATEWAY_METRICS_OPEN="true",
        GATEWAY_MAX_BODY_BYTES=str(6 * 1024 * 1024),
    ) as running:
        yield running, pools


@pytest.fixture
def gateway(shared: tuple[Server, Iterator[Pool]]) -> Server:
    """The one server of most tests."""
    return shared[0]


@pytest.fixture
def pool(shared: tuple[Server, Iterator[Pool]]) -> Pool:
    """A pool of three candidates with nothing wrong."""
    return next(shared[1])


@pytest.fixture
def two_pools(upstreams: Providers) -> Callable[..., tuple[str, Upstream, Upstream]]:
    """A configuration with the pool ``pool`` of providers ``a`` and ``b``, and their upstreams."""

    def make(**weights: int) -> tuple[str, Upstream, Upstream]:
        first, second = upstreams.start(), upstreams.start()
        shapes = [{"weight": value} for value in weights.values()] or [{"priority": 1}, {"priority": 2}]
        pair = zip("ab", (first, second), shapes, strict=True)
        return config({"pool": list(pair)}), first, second

    return make
