"""The request path never touches the database: it goes on when there is none."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.e2e.conftest import Serve
from tests.e2e.server import until


def test_traffic_goes_on_without_the_database_file(server: Serve, two_pools: Any) -> None:
    """Chats, streams, sessions, lists and errors, while no new connection to the SQLite file is possible."""
    text, first, second = two_pools()
    running = server(config=text)
    path = running.home / "db.sqlite3"
    for name in ("db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm"):
        (running.home / name).unlink(missing_ok=True)
    path.mkdir()  # so that nobody makes an empty one
    with running.client() as http:
        for number in range(40):
            body = {"model": "pool", "messages": [], "stream": bool(number % 2), "user": f"u{number % 3}"}
            got = http.post("/v1/chat/completions", json=body)
            assert (got.status_code, got.headers["x-gateway-provider"]) == (200, "a")
        listed = [line["id"] for line in http.get("/v1/models").json()["data"]]
        unknown = http.post("/v1/chat/completions", json={"model": "nothing", "messages": []})
        ready = http.get("/health/ready")
    assert (listed, unknown.status_code, ready.status_code) == (["a/m", "b/m", "pool"], 404, 200)
    assert (len(first.requests), len(second.requests)) == (40, 0)


def test_records_of_an_outage_are_stored_after_it(server: Serve, two_pools: Any) -> None:
    """Nothing is lost while another process holds the database for itself."""
    text, _, _ = two_pools()
    running = server(config=text)
    with closing(sqlite3.connect(running.home / "db.sqlite3", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        ids = [running.chat("pool").headers["x-request-id"] for _ in range(10)]
        took_s = time.monotonic() - began
        holder.execute("ROLLBACK")
    assert took_s < 3
    rows = running.records(count=10)
    assert [row["request_id"] for row in rows] == ids


@pytest.mark.postgres
def test_traffic_goes_on_without_postgresql(server: Serve, two_pools: Any) -> None:
    """T21, T22: the database goes and comes back: requests never notice, records wait for it."""
    import psycopg

    parts = urlsplit(os.environ["TEST_DATABASE_URL"])
    name = f"e2e_{uuid.uuid4().hex[:8]}"
    url = urlunsplit(parts._replace(path=f"/{name}"))
    text, first, _ = two_pools()
    with psycopg.connect(urlunsplit(parts._replace(scheme="postgresql")), autocommit=True) as operator:
        operator.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        try:
            running = server(config=text, database_url=url)
            with running.client() as http:

                def ask() -> tuple[int, str]:
                    got = http.post("/v1/chat/completions", json={"model": "pool", "messages": []})
                    return got.status_code, got.headers["x-gateway-provider"]

                assert ask() == (200, "a")
                operator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # type: ignore[arg-type]
                operator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
                )
                assert {ask() for _ in range(30)} == {(200, "a")}
                database = lambda: http.get("/health/ready").json()["components"]["database"]["status"]  # noqa: E731
                until(lambda: database() == "failing", 15)
                assert {ask() for _ in range(10)} == {(200, "a")}
                operator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")  # type: ignore[arg-type]
                until(lambda: database() == "ok", 15)

                def stored() -> int:
                    with psycopg.connect(
                        urlunsplit(parts._replace(scheme="postgresql", path=f"/{name}"))
                    ) as one:
                        return one.execute("SELECT count(*) FROM proxying_requestrecord").fetchone()[0]

                until(lambda: stored() == 41, 15)
            assert len(first.requests) == 41
            running.stop()
        finally:
            operator.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[arg-type]
