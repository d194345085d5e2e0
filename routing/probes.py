"""Model discovery: calls the providers' models lists and keeps what they say.

``discover`` is the whole for synchronous code (commands, the admin, the API); ``routing.background`` does
the same steps on schedule. What is asked and how an answer is read is ``routing.discovery``.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import httpx
from django.conf import settings

from routing import discovery, live, services, snapshot
from routing.discovery import ProbeResult
from routing.egress import AddressRefusedError
from routing.guarded_transport import GuardedTransport
from routing.health_log import log_discovery
from routing.live_health import LiveHealth
from routing.provider_status import provider_status
from routing.resolver import Resolver
from routing.types import DiscoveryState, Provider, RoutingTable

TIMEOUT_S: Final = 10.0  # for the whole list of one provider
MOST_BYTES: Final = 8 * 2**20  # of one page
_MOST_PAGES: Final = 20
_AT_ONCE: Final = 8
_SERVING_S: Final = 120.0  # a key that live calls used so recently is not refused, whatever its list says

logger = logging.getLogger(__name__)


class UnknownProviderError(LookupError):
    """A name that no usable provider has; the message says so to people."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One provider and what asking it gave; ``result`` is None where it was not asked, ``why`` says why."""

    provider: Provider
    result: ProbeResult | None = None
    why: str = ""
    latency_ms: float | None = None

    @property
    def outcome(self) -> str:
        """One word: ``ok``, ``failed``, ``unsupported`` or ``not_asked``."""
        return self.result.state.value if self.result is not None else "not_asked"

    @property
    def message(self) -> str:
        """One sentence for people."""
        if self.result is None:
            return self.why
        if self.result.state is DiscoveryState.OK:
            count = len(self.result.models)
            return f"It lists {count} model{'' if count == 1 else 's'}."
        return self.result.error or self.result.note


def discover(names: Iterable[str] | None = None) -> list[Probe]:
    """Discover the models of all providers, or of those named, and keep what was found; sorted by name.

    For a thread without a running event loop.

    Raises:
        UnknownProviderError: before anybody was asked.
    """
    probes = asyncio.run(_ask_table(snapshot.load(), names))
    record(probes)
    if any(probe.result is not None for probe in probes):
        try:
            live.ask(lambda resolver: _tell(resolver, probes))
        except TimeoutError:
            logger.warning("The worker's event loop did not take the news of %s probes.", len(probes))
    return probes


def check_connections(names: Iterable[str] | None = None) -> list[Probe]:
    """As ``discover``, but keep nothing."""
    return asyncio.run(_ask_table(snapshot.load(), names))


def described(found: Iterable[Probe]) -> list[dict[str, Any]]:
    """Probes as the API and the command show them, with the status that routing gives each provider now.

    For a thread without a running event loop.
    """
    report = live.ask(Resolver.health_report)
    # A worker sees its own writes only with its next table; here they are read.
    report = replace(report, table=snapshot.load())
    rows = []
    for probe in found:
        provider = report.table.providers.get(probe.provider.name, probe.provider)
        listed = probe.result if probe.outcome == DiscoveryState.OK else None
        rows.append(
            {
                "provider_name": provider.name,
                "type": provider.kind,
                "result": probe.outcome,
                "models": None if listed is None else len(listed.models),
                "latency_ms": None if probe.latency_ms is None else round(probe.latency_ms),
                "status": provider_status(provider, report)["status"],
                "message": probe.message,
            }
        )
    return rows


def chosen(table: RoutingTable, names: Iterable[str] | None) -> list[Provider]:
    """The providers of these names, each once, sorted; without names all.

    Raises:
        UnknownProviderError: a name is not known, or its row cannot be used.
    """
    wanted = sorted(table.providers if names is None else set(names))
    problems = {row.object: row.problem for row in table.skipped}
    for name in wanted:
        if name not in table.providers:
            problem = problems.get(f"provider/{name}")
            text = (
                f"The provider {name} cannot be used: {problem}"
                if problem
                else f"There is no provider {name}."
            )
            raise UnknownProviderError(text)
    return [table.providers[name] for name in wanted]


async def _ask_table(table: RoutingTable, names: Iterable[str] | None) -> list[Probe]:
    return await ask_all(chosen(table, names), table)


async def ask_all(providers: Sequence[Provider], table: RoutingTable) -> list[Probe]:
    """Ask several providers, a few at once; nobody is asked whom the rules forbid to call."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(provider: Provider) -> Probe:
        why = discovery.why_not_asked(provider, table.inventory_mode, time.time())
        if why:
            return Probe(provider, why=why)
        result = discovery.without_asking(provider)
        if result is not None:
            return Probe(provider, result)
        async with gate:
            started = time.perf_counter()
            result = await ask(provider)
            return Probe(provider, result, latency_ms=(time.perf_counter() - started) * 1000)

    return list(await asyncio.gather(*(one(provider) for provider in providers)))


async def ask(provider: Provider) -> ProbeResult:
    """Ask one provider for its models; whatever goes wrong is in the result."""
    try:
        async with asyncio.timeout(TIMEOUT_S), _client(provider) as client:
            return await _list(client, provider)
    except httpx.ConnectTimeout:
        return discovery.failed(provider, "It did not accept a connection before the connect timeout.")
    except (TimeoutError, httpx.TimeoutException):
        return discovery.failed(provider, f"It did not list its models within {TIMEOUT_S:g} s.")
    except AddressRefusedError as error:
        return discovery.failed(provider, f"It is not called: {error}.")
    except httpx.ConnectError as error:
        return discovery.failed(provider, f"It cannot be reached: {_first_line(error)}.")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return discovery.failed(provider, f"Its answer cannot be read: {_first_line(error)}.")


async def _list(client: httpx.AsyncClient, provider: Provider) -> ProbeResult:
    page = await _page(client, provider, discovery.models_url(provider))
    result = page.result
    for _ in range(_MOST_PAGES):
        if page.next_url is None or result.state is not DiscoveryState.OK:
            break
        page = await _page(client, provider, page.next_url)
        result = discovery.joined(provider, result, page.result)
    return result


async def _page(client: httpx.AsyncClient, provider: Provider, url: str) -> discovery.Page:
    body = bytearray()
    async with client.stream("GET", url, headers=discovery.request_headers(provider)) as response:
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > MOST_BYTES:
                return discovery.Page(discovery.failed(provider, f"Its list has over {MOST_BYTES} bytes."))
    return discovery.read_page(provider, response.status_code, bytes(body))


def record(probes: Iterable[Probe]) -> None:
    """Keep what was found; a change of health is logged and reaches every worker with the next table."""
    for probe in probes:
        if probe.result is None:
            continue
        try:
            services.record_probe(provider=probe.provider.name, result=probe.result)
        except services.NotFound:
            continue  # deleted meanwhile
        log_discovery(probe.provider.name, probe.provider.discovery, probe.result)


def tell_health(health: LiveHealth, probes: Iterable[Probe]) -> None:
    """Tell live health what probes say of credentials: an accepted one is tried again at once."""
    for probe in probes:
        name = probe.provider.name
        accepted = probe.result.credential_accepted if probe.result is not None else None
        if accepted:
            health.credential_accepted(name)
        # Some keys may be used but not list models: what live calls say counts more.
        elif accepted is False and not health.served_since(name, time.time() - _SERVING_S):
            health.credential_refused(name, probe.message)


async def _tell(resolver: Resolver, probes: Sequence[Probe]) -> None:
    tell_health(resolver.live_health, probes)
    if not live.is_serving():
        await resolver.live_health.sync()  # a worker's own task does this by itself


def _client(provider: Provider) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=GuardedTransport(
            deny_private=settings.GATEWAY_EGRESS_DENY_PRIVATE, verify=tls_context(), trust_env=False
        ),
        timeout=httpx.Timeout(TIMEOUT_S, connect=min(provider.timeouts.connect_s, TIMEOUT_S)),
        follow_redirects=False,
        trust_env=False,
    )


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """The system's trust, as on the data plane; made once, since that reads files."""
    return ssl.create_default_context()


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
