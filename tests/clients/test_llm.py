"""The ``llm`` command line, as its users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.gateway import Gateway, pool_of
from tests.clients.pictures import png
from tests.clients.vendors import CHOSEN

FUNCTIONS = """
def weather(place: str) -> str:
    "The weather of a place"
    return f"Sun in {place}"
"""
Run = Callable[..., str]
EVERYWHERE = [
    pytest.param(kind, id=wire, marks=pytest.mark.cell("llm", kind)) for wire, kind in CHOSEN.items()
]


@pytest.fixture(scope="module")
def home(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's settings: the pools as models of an OpenAI-compatible address."""
    path = tmp_path_factory.mktemp("llm")
    models = "".join(
        f"- model_id: {pool_of(kind)}\n  model_name: {pool_of(kind)}\n  api_base: {gateway.openai_url}\n"
        "  api_key_name: sluice\n  supports_schema: true\n  supports_tools: true\n  vision: true\n"
        for kind in CHOSEN.values()
    )
    (path / "extra-openai-models.yaml").write_text(models)
    (path / "keys.json").write_text(json.dumps({"sluice": gateway.key}))
    return path


@pytest.fixture(params=EVERYWHERE)
def llm(request: pytest.FixtureRequest, home: Path) -> Run:
    """Run ``llm -m POOL …``; what it prints."""

    def run(*args: str) -> str:
        command = [sys.executable, "-m", "llm", "-m", pool_of(request.param), *args]
        env = {"PATH": os.environ["PATH"], "LLM_USER_PATH": str(home), "HOME": str(home), "LANG": "C.UTF-8"}
        done = subprocess.run(
            command,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    return run


@pytest.mark.parametrize("how", [[], ["--no-stream"]], ids=["streamed", "whole"])
def test_words(llm: Run, how: list[str]) -> None:
    assert llm(*how, "Good morning") == "You said: Good morning"


@pytest.mark.parametrize("how", [[], ["--no-stream"]], ids=["streamed", "whole"])
def test_tool(llm: Run, how: list[str]) -> None:
    assert "Sun in Oslo" in llm(*how, "--functions", FUNCTIONS, "The weather in 'Oslo'?")


def test_schema(llm: Run) -> None:
    answer = llm("--schema", "name, people int", "Tell of 'Oslo' with 700000 people")
    assert json.loads(answer) == {"name": "Oslo", "people": 700000}


def test_picture(llm: Run, tmp_path: Path) -> None:
    (tmp_path / "dot.png").write_bytes(png())
    answer = llm("-a", str(tmp_path / "dot.png"), "What is in this picture?")
    assert answer == f"You said: What is in this picture? I was shown image/png of {len(png())} bytes."
