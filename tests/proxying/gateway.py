"""The gateway's ASGI callable with a table of the test's own: real upstream sockets, no database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from proxying.client import UpstreamClient
from proxying.fastlane import FastLane
from proxying.models import RequestRecord
from proxying.record_store import Values
from proxying.records import Recorder
from proxying.runtime import Runtime
from proxying.urls import FAST_ROUTES
from routing.keys import key_digest
from routing.types import (
    Caller,
    Candidate,
    Discovery,
    DiscoveryState,
    Pool,
    PoolPolicy,
    Provider,
    RoutingTable,
    Timeouts,
)
from tests.upstream import Upstream

SECRET = "sk-sluice-tests"
DEFAULT_POLICY = PoolPolicy()
FAST = Timeouts(connect_s=0.5, first_byte_s=0.4, idle_s=0.3, total_s=2.0)


def caller(secret: str = SECRET, **values: Any) -> Caller:
    """A client key's owner."""
    values = {"id": "1", "name": "tests", **values}
    return Caller(digest=key_digest(secret), **values)


def provider(name: str, upstream: Upstream | str, **values: Any) -> Provider:
    """A provider at a scripted upstream (or any base URL)."""
    base_url = upstream if isinstance(upstream, str) else upstream.base_url
    found = Discovery(state=DiscoveryState.OK, models=frozenset({"m"}))
    values = {"api_key": f"secret-of-{name}", "discovery": found, "timeouts": FAST, **values}
    return Provider(name, values.pop("kind", "openai_compatible"), base_url, **values)


def table(
    upstreams: Mapping[str, Upstream | str],
    *,
    policy: PoolPolicy = DEFAULT_POLICY,
    callers: tuple[Caller, ...] = (),
    providers: Mapping[str, Mapping[str, Any]] | None = None,
) -> RoutingTable:
    """The pool ``pool`` with model ``m`` of each provider, in the order given."""
    made = {name: provider(name, at, **(providers or {}).get(name, {})) for name, at in upstreams.items()}
    candidates = tuple(Candidate("pool", name, "m", priority=n) for n, name in enumerate(made, start=1))
    return RoutingTable(
        revision=7,
        providers=made,
        pools={"pool": Pool("pool", candidates, policy)},
        defaults=policy,
        callers={one.digest: one for one in callers or (caller(),)},
    )


@dataclass
class Got:
    """What the client received. ``complete`` is whether the body ended as HTTP wants it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def gateway(self) -> dict[str, str]:
        """The routing headers, without the one that measures."""
        prefix = "x-gateway-"
        return {
            name.removeprefix(prefix): value
            for name, value in self.headers.items()
            if name.startswith(prefix) and name != "x-gateway-overhead-ms"
        }


class Gateway:
    """A running data plane and its client."""

    def __init__(self, held: RoutingTable) -> None:
        self.table = held
        self.rows: list[RequestRecord] = []
        recorder = Recorder(write=self._write, interval_s=0.01)
        self.runtime = Runtime(UpstreamClient(), table=lambda: self.table, recorder=recorder)
        self.lane = FastLane(FAST_ROUTES, self._rest)

    def _write(self, rows: Sequence[Values]) -> int:
        self.rows += [RequestRecord(**row) for row in rows]
        return 0

    async def _rest(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("this path is Django's")

    def switch(self, name: str, **values: Any) -> None:
        """Change a provider from now on."""
        providers = {**self.table.providers, name: replace(self.table.providers[name], **values)}
        self.table = replace(self.table, providers=providers)

    async def chat(self, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Got:
        """A chat with the pool."""
        body = {"model": "pool", "messages": [{"role": "user", "content": "hi"}], **fields}
        return await self.call("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        leave: asyncio.Event | None = None,
        got: Got | None = None,
    ) -> Got:
        """One request; with ``leave`` the client hangs up when it is set."""
        got = got if got is not None else Got()
        path, _, query = path.partition("?")
        sent = {"authorization": f"Bearer {SECRET}", **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in sent.items()],
        }
        events = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if events:
                return events.pop(0)
            await (leave or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(event: dict[str, Any]) -> None:
            if event["type"] == "http.response.start":
                got.status = event["status"]
                got.headers = {name.decode(): value.decode() for name, value in event["headers"]}
                return
            got.body += event.get("body", b"")
            got.complete = not event.get("more_body", False)

        await self.lane(scope, receive, send)
        # Over a socket the client's next request takes a turn of the loop at least.
        await asyncio.sleep(0.001)
        return got

    async def records(self, count: int = 1) -> list[RequestRecord]:
        """The rows, once there are as many."""
        await until(lambda: len(self.rows) >= count)
        return self.rows


async def until(condition: Callable[[], bool], within_s: float = 2.0) -> None:
    """Wait for something that happens elsewhere in the event loop."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + within_s
    while not condition():
        assert loop.time() < ends_at, "it did not happen in time"
        await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(held: RoutingTable) -> AsyncIterator[Gateway]:
    """A gateway that is open inside the block; nothing of it is left afterwards."""
    from django.core.cache import caches

    gateway = Gateway(held)
    await gateway.runtime.open()
    try:
        yield gateway
    finally:
        await gateway.runtime.close()
        for alias in ("pins", "tickets", "health"):
            caches[alias].clear()
