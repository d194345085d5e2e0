"""Other gateways of the package registries: installed into ``.venv-peers/``, started like their manuals say.

Each is set up as little as it takes to relay a chat completion to the fake provider: with a client key where
it has such keys, without request logs to a database. None of them is a dependency of Sluice.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from bench.contenders import MEASURED_CORE, Contender, free_port, process, wait_for
from bench.machine import ROOT

HOME = ROOT / ".venv-peers"
LITELLM = """\
model_list:
  - model_name: priority-pool
    litellm_params: {{model: openai/bench-model, api_base: "{upstream}/v1", api_key: none}}
general_settings: {{master_key: sk-bench}}
litellm_settings: {{telemetry: false}}
"""
LM_PROXY = """\
host = "127.0.0.1"
port = {port}
[connections.bench]
api_type = "open_ai"
api_base = "{upstream}/v1/"
api_key = "none"
[routing]
"*" = "bench.bench-model"
[groups.default]
api_keys = ["sk-bench"]
"""
BEARER = ["Authorization: Bearer sk-bench"]

Start = Callable[[Path, str], AbstractContextManager[Contender]]


def python_package(requirement: str, program: str) -> Path:
    """A program of a package from PyPI, in a virtual environment of its own."""
    home = HOME / program
    found = home / "bin" / program
    if not found.exists():
        _run(sys.executable, "-m", "venv", str(home))
        _run(str(home / "bin/pip"), "install", "--quiet", requirement)
    return found


def node_package(package: str, program: str) -> Path:
    """A program of a package from npm, in a folder of its own."""
    home = HOME / program
    found = home / "node_modules/.bin" / program
    if not found.exists():
        home.mkdir(parents=True, exist_ok=True)
        npm = shutil.which("npm") or sys.exit("Not installed: npm. On Debian: apt install npm")
        _run(npm, "install", "--prefix", str(home), "--no-audit", "--no-fund", "--silent", package)
    return found


def versions() -> dict[str, str]:
    """What is installed of them, by the peers' own words."""
    found = {}
    for metadata in sorted(HOME.glob("*/lib/python3*/site-packages/*.dist-info")):
        package, _, version = metadata.name.removesuffix(".dist-info").partition("-")
        if package in {"litellm", "lm_proxy", "sglang_router"}:
            found[package] = version
    for metadata in HOME.glob("*/node_modules/@portkey-ai/gateway/package.json"):
        line = next(line for line in metadata.read_text().splitlines() if '"version"' in line)
        found["portkey"] = line.split('"')[3]
    return found


@contextlib.contextmanager
def litellm(work: Path, upstream_url: str) -> Iterator[Contender]:
    """LiteLLM's proxy: FastAPI."""
    program = python_package("litellm[proxy]", "litellm")
    config = work / "litellm.yaml"
    config.write_text(LITELLM.format(upstream=upstream_url))
    words = ["--config", str(config), "--host", "127.0.0.1", "--num_workers", "1"]
    with _serving([str(program), *words, "--port"], work, "/health/liveliness", "LiteLLM") as peer:
        peer.headers = BEARER
        yield peer


@contextlib.contextmanager
def lm_proxy(work: Path, upstream_url: str) -> Iterator[Contender]:
    """LM-Proxy: FastAPI."""
    program, port, log = python_package("lm-proxy", "lm-proxy"), free_port(), work / "lm-proxy.log"
    config = work / "lm-proxy.toml"
    config.write_text(LM_PROXY.format(port=port, upstream=upstream_url))
    with process([str(program), "--config", str(config)], MEASURED_CORE, log, _environment()) as running:
        wait_for(f"http://127.0.0.1:{port}/docs", log, 180)
        yield Contender("LM-Proxy", f"http://127.0.0.1:{port}", running.pid, headers=BEARER)


@contextlib.contextmanager
def sglang_router(work: Path, upstream_url: str) -> Iterator[Contender]:
    """SGLang's model gateway: Rust; balances over workers of one model, without keys of clients here."""
    program = python_package("sglang-router", "smg")
    words = [str(program), "launch", "--worker-urls", upstream_url, "--policy", "round_robin"]
    words += ["--prometheus-port", str(free_port()), "--log-level", "warn", "--port"]
    with _serving(words, work, "/v1/models", "SGLang gateway") as peer:
        peer.model = "bench-model"
        yield peer


@contextlib.contextmanager
def portkey(work: Path, upstream_url: str) -> Iterator[Contender]:
    """Portkey's gateway: Node.js; the provider stands in the request's headers."""
    program = node_package("@portkey-ai/gateway", "gateway")
    port, log = free_port(), work / "portkey.log"
    env = {**_environment(), "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    with process([str(program), f"--port={port}", "--headless"], MEASURED_CORE, log, env) as running:
        wait_for(f"http://127.0.0.1:{port}/", log, 180)
        headers = ["x-portkey-provider: openai", f"x-portkey-custom-host: {upstream_url}/v1"]
        headers.append("Authorization: Bearer none")
        yield Contender("Portkey", f"http://127.0.0.1:{port}", running.pid, headers=headers)


@contextlib.contextmanager
def _serving(argv: list[str], work: Path, ready: str, name: str) -> Iterator[Contender]:
    """A program whose last option takes the port."""
    port, log = free_port(), work / f"{name.lower().replace(' ', '-')}.log"
    with process([*argv, str(port)], MEASURED_CORE, log, _environment()) as running:
        wait_for(f"http://127.0.0.1:{port}{ready}", log, 180)
        yield Contender(name, f"http://127.0.0.1:{port}", running.pid)


def _environment() -> dict[str, str]:
    """Without a developer's keys and proxies."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")


PEERS: dict[str, Start] = {
    "sglang": sglang_router,
    "portkey": portkey,
    "lm-proxy": lm_proxy,
    "litellm": litellm,
}
