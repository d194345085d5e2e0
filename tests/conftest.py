"""What all tests share: the tiers, the event loop, the private Redis of a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import settings

from proxying import traffic_reads
from tests import people as who
from tests.effort import LONG
from tests.upstream import Upstream, running

# What a tier needs. Without it the tier's tests are left out, and the summary says so; with CI set they fail.
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TIERS = {
    "postgres": (bool(os.environ.get("TEST_DATABASE_URL")), "TEST_DATABASE_URL is not set"),
    "redis": (bool(os.environ.get("TEST_CACHE_URL")), "TEST_CACHE_URL is not set"),
    "browser": (CHROMIUM is not None, "Chromium is not installed"),
}
settings.register_profile("long", max_examples=5_000, deadline=None)
if LONG:
    settings.load_profile("long")
LEFT_OUT = pytest.StashKey[dict[str, int]]()
# With TEST_STORES_ONLY a second run on other stores leaves out what would do exactly the same again.
STORES_ONLY = bool(os.environ.get("TEST_STORES_ONLY"))
SAME_AGAIN = pytest.StashKey[int]()
STORE_FIXTURES = {"db", "transactional_db", "django_db_setup", "redis_url"}
SERVER_ROOMS = {"e2e", "dashboard", "long", "gateway_project"}


def _meets_a_store(item: pytest.Item) -> bool:
    """Whether a test reads or writes a database or a cache, itself or through a server that it starts."""
    marks = {mark.name for mark in item.iter_markers()}
    if "looks" in marks:
        return False
    if marks & {*TIERS, "django_db"} or STORE_FIXTURES & set(getattr(item, "fixturenames", ())):
        return True
    return bool(SERVER_ROOMS & set(item.path.parts))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests whose service is not there."""
    absent = {tier for tier, (present, _) in TIERS.items() if not present}
    if os.environ.get("CI"):
        absent.discard("browser")
    left_out = dict.fromkeys(sorted(absent), 0)
    kept, dropped = [], []
    for item in items:
        lacking = absent & {mark.name for mark in item.iter_markers()}
        for tier in lacking:
            left_out[tier] += 1
        (dropped if lacking else kept).append(item)
    config.stash[LEFT_OUT] = left_out
    config.stash[SAME_AGAIN] = 0
    if STORES_ONLY:
        same = [item for item in kept if not _meets_a_store(item)]
        config.stash[SAME_AGAIN] = len(same)
        dropped += same
        kept = [item for item in kept if _meets_a_store(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which tests were left out, and what they need."""
    for tier, count in config.stash.get(LEFT_OUT, {}).items():
        if count:
            terminalreporter.write_line(f"{count} tests of {tier} left out: {TIERS[tier][1]}.")
    if same := config.stash.get(SAME_AGAIN, 0):
        terminalreporter.write_line(f"{same} tests that meet no store left out: TEST_STORES_ONLY is set.")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker) -> Iterator[None]:
    """The test database; at the end PostgreSQL closes what threads of the tests still hold open in it.

    A thread that a library keeps (asgiref's, asyncio's) ends with the process, after the database is dropped.
    """
    yield
    with django_db_blocker.unblock():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    # Waits for the end of each, ten seconds at most: on a busy machine it takes its time.
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    """Each test's tables are its own, with the numbers of rows that were another test's."""
    traffic_reads.forget()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, like the gateway."""
    return "asyncio"


@pytest.fixture
def redis_url() -> Iterator[str]:
    """The URL of a Redis database that is empty now and emptied afterwards (only with the mark ``redis``)."""
    import redis

    url = os.environ["TEST_CACHE_URL"]
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    parts = url.rsplit("/", 1)
    if parts[-1].isdigit():
        url = f"{parts[0]}/{(int(parts[-1]) + worker) % 16}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture
async def upstream() -> AsyncIterator[Callable[..., Awaitable[Upstream]]]:
    """Starts scripted providers: ``await upstream(**script of the default answer)``; stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(**default: object) -> Upstream:
            return await stack.enter_async_context(running(**default))

        yield start


@pytest.fixture
def ada(db):
    """The operator's browser."""
    return who.signed_in(who.operator())


@pytest.fixture
def ben(db):
    """The browser of one who may look and change nothing."""
    return who.signed_in(who.reader())


@pytest.fixture
def mallory(db):
    """The browser of one who has an account and no permission."""
    return who.signed_in(User.objects.create_user("mallory", password="mallory", is_staff=True))
