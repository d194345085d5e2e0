"""Starting and stopping what is measured: on 127.0.0.1, with its files in one folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from bench.machine import ROOT

MEASURED_CORE = "0"
OTHER_CORE = "1" if (os.cpu_count() or 1) > 1 else "0"
MANAGE = [sys.executable, str(ROOT / "manage.py")]

CONFIGURATION = """\
providers:
  bench-a: {{type: openai_compatible, base_url: "http://127.0.0.1:{port}/v1", models: [bench-model]}}
  bench-b: {{type: openai_compatible, base_url: "http://127.0.0.1:{port}/v1", models: [bench-model]}}
routing:
  model_pools:
    priority-pool:
      strategy: priority_failover
      candidates:
        - {{provider: bench-a, model: bench-model, priority: 1}}
        - {{provider: bench-b, model: bench-model, priority: 2}}
    weighted-pool:
      strategy: weighted_round_robin
      candidates:
        - {{provider: bench-a, model: bench-model, weight: 10}}
        - {{provider: bench-b, model: bench-model, weight: 6}}
"""
MORE_POOL = """\
    pool-{0:04}:
      candidates:
        - {{provider: bench-a, model: bench-model, priority: 1}}
        - {{provider: bench-b, model: bench-model, priority: 2}}
"""
# Rows alone: the key that is made by its command afterwards makes the revision that brings them in.
MORE_KEYS = """\
from hashlib import sha256
from routing.models import ClientKey
digests = [sha256(str(number).encode()).hexdigest() for number in range({count})]
ClientKey.objects.bulk_create(ClientKey(name=digest, digest=digest) for digest in digests)
"""
NGINX = """\
daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 64m; client_body_buffer_size 1m;
  client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
  keepalive_requests 1000000;
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {scheme}://provider; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(slots=True)
class Contender:
    """Something that answers POST /v1/chat/completions. ``pid`` 0: not measured."""

    name: str
    url: str
    pid: int = 0
    model: str = "priority-pool"
    headers: list[str] = field(default_factory=list)


class More(NamedTuple):
    """What a gateway has that is not called."""

    pools: int = 0
    keys: int = 0


NO_MORE = More()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(
    argv: list[str], core: str, log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on one core; stopped at the end."""
    with log.open("ab") as out:
        running = subprocess.Popen(["taskset", "-c", core, *argv], stdout=out, stderr=out, env=env, cwd=ROOT)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def wait_for(url: str, log: Path, seconds: float = 60) -> None:
    """Wait until the URL answers 200; show the log when it does not."""
    end = time.monotonic() + seconds
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end:
        with contextlib.suppress(OSError), opener.open(url, timeout=2):
            return
        time.sleep(0.1)
    sys.exit(f"{url} does not answer.\n{log.read_text()[-3000:]}")


@contextlib.contextmanager
def upstream(work: Path) -> Iterator[Contender]:
    """The fake provider."""
    port, log = free_port(), work / "upstream.log"
    with process([sys.executable, "-m", "bench.upstream", str(port)], OTHER_CORE, log):
        wait_for(f"http://127.0.0.1:{port}/stats", log)
        yield Contender("direct", f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def redis(work: Path) -> Iterator[str]:
    """A private Redis; its URL."""
    port, log = free_port(), work / "redis.log"
    argv = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with process([*argv, "--dir", str(work)], OTHER_CORE, log):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def gateway(
    work: Path,
    upstream_url: str = "",
    cache_url: str = "",
    model: str = "priority-pool",
    workers: int = 1,
    *,
    configuration: str = "",
    more: More = NO_MORE,
    env: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Contender]:
    """Sluice as `serve` starts it: everything on, nothing of a developer's environment.

    One worker has a core of its own; several share what the machine has with the load. ``more`` is what is
    configured beside the pools that are called; ``configuration`` is another file altogether, and ``env``
    what its environment has besides.
    """
    name = "sluice" if not cache_url else "sluice, weighted pool, Redis"
    folder = work / f"gateway-{free_port()}"
    folder.mkdir()
    env = {
        **env,
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "SECRET_KEY": "bench-" * 10,
        "DATABASE_URL": f"sqlite:///{folder}/bench.sqlite3",
        "CACHE_URL": cache_url,
        "GATEWAY_DRAIN_S": "1",
        "BENCH_KEY": "sk-bench",
    }
    own = configuration or CONFIGURATION.format(port=upstream_url.rpartition(":")[2])
    (folder / "gateway.yaml").write_text(own + "".join(map(MORE_POOL.format, range(more.pools))))

    def command(*words: str) -> str:
        done = subprocess.run(
            [*MANAGE, *words], env=env, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"manage.py {words[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    command("migrate", "--verbosity", "0")
    command("import_config", str(folder / "gateway.yaml"))
    if more.keys:
        command("shell", "--no-imports", "--command", MORE_KEYS.format(count=more.keys))
    key = json.loads(command("create_api_key", "bench", "--json"))["key"]
    port, log = free_port(), folder / "serve.log"
    serve = [*MANAGE, "serve", "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    cores = MEASURED_CORE if workers == 1 else f"{MEASURED_CORE},{OTHER_CORE}"
    with process(serve, cores, log, env) as running:
        wait_for(f"http://127.0.0.1:{port}/health/ready", log)
        headers = [f"Authorization: Bearer {key}"]
        yield Contender(name, f"http://127.0.0.1:{port}", running.pid, model, headers)


@contextlib.contextmanager
def relay(work: Path, upstream_url: str) -> Iterator[Contender]:
    """A relay that decides nothing, under the same server: what Python costs at least."""
    port, log = free_port(), work / "relay.log"
    env = {"PATH": os.environ["PATH"], "UPSTREAM_PORT": upstream_url.rpartition(":")[2]}
    argv = [
        sys.executable,
        "-m",
        "gunicorn",
        "--worker-class",
        "asgi",
        "--workers",
        "1",
        "--keep-alive",
        "75",
    ]
    argv += ["--bind", f"127.0.0.1:{port}", "--no-control-socket", "bench.relay:application"]
    with process(argv, MEASURED_CORE, log, env) as running:
        wait_for(f"http://127.0.0.1:{port}/health", log)
        yield Contender("bare relay", f"http://127.0.0.1:{port}", running.pid)


@contextlib.contextmanager
def nginx(work: Path, upstream_url: str) -> Iterator[Contender]:
    """nginx as a plain proxy: what a hop costs at least."""
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    port, log = free_port(), work / "nginx.log"
    config = work / "nginx.conf"
    scheme, _, upstream = upstream_url.partition("://127.0.0.1:")
    config.write_text(NGINX.format(work=work, port=port, scheme=scheme, upstream=upstream))
    with process([binary, "-e", str(log), "-c", str(config)], MEASURED_CORE, log) as running:
        wait_for(f"http://127.0.0.1:{port}/stats", log)
        yield Contender("nginx, plain proxy", f"http://127.0.0.1:{port}", running.pid)
