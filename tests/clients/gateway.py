"""The running gateway: a provider of every kind, and for each kind a pool that it comes first in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from routing.kinds import KINDS
from tests.clients.upstream import KEY, Provider
from tests.clients.vendors import CHOSEN, PREFIXES, VENDORS
from tests.e2e.server import PASSED_ON, ROOT, Server, serving
from tests.e2e.upstreams import providers

# Nothing here is slow on purpose: a busy machine must not look like a provider that is away.
TIMEOUTS = "{connect: 30s, first_byte: 30s, idle: 30s, total: 60s}"
# The gateway has an environment of its own: what the clients need is not installed there.
PYTHON = str(ROOT / os.environ.get("TEST_GATEWAY_PYTHON", ".venv/bin/python"))


@dataclass
class Gateway:
    """A server and its providers, by kind."""

    server: Server
    providers: dict[str, Provider]

    @property
    def openai_url(self) -> str:
        """What clients of OpenAI's dialect are given."""
        return f"{self.server.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """What clients of Anthropic's dialect are given."""
        return self.server.url

    @property
    def key(self) -> str:
        """The client key."""
        return self.server.key

    def calls(self) -> dict[str, int]:
        """How many requests each provider has had."""
        return {kind: len(provider.requests) for kind, provider in self.providers.items()}


def pool_of(kind: str) -> str:
    """The canonical model that leads to a provider of this kind."""
    return f"at-{kind}"


def configuration(upstreams: dict[str, Provider]) -> str:
    """Each pool is mixed: behind its first candidate stand those of the other wires."""
    lines = ["providers:"]
    for kind, upstream in upstreams.items():
        address = f"http://127.0.0.1:{upstream.port}{PREFIXES[KINDS[kind].wire]}"
        lines += [
            f"  {kind}:",
            f"    type: {kind}",
            f"    base_url: {address}",
            "    api_key: ${VENDOR_KEY}",
            f"    models: ['{VENDORS[kind].model}']",
            f"    timeouts: {TIMEOUTS}",
        ]
    lines += ["models:", "  configured_provider_models_mode: allowlist", "routing:", "  model_pools:"]
    for kind in upstreams:
        others = [one for wire, one in CHOSEN.items() if wire != KINDS[kind].wire]
        lines += [f"    {pool_of(kind)}:", "      candidates:"]
        lines += [
            f"        - {{provider: {name}, model: '{VENDORS[name].model}', priority: {place}}}"
            for place, name in enumerate([kind, *others], start=1)
        ]
    return "\n".join([*lines, ""])


@contextmanager
def running(home: Path) -> Iterator[Gateway]:
    """The gateway for a while."""
    empty = home / "empty.sqlite3"
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env |= {"DATABASE_URL": f"sqlite:///{empty}", "SECRET_KEY": "tests", "CACHE_URL": ""}
    subprocess.run([PYTHON, "manage.py", "migrate", "-v0"], cwd=ROOT, env=env, check=True)
    with providers() as held:
        upstreams = {kind: held.run(Provider(KINDS[kind].wire, VENDORS[kind])) for kind in KINDS}
        config = configuration(upstreams)
        with serving(home / "server", empty, config=config, python=PYTHON, VENDOR_KEY=KEY) as server:
            yield Gateway(server, upstreams)
