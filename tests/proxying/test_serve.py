"""The real server as a process."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


def test_serve_starts_answers_and_ends_on_sigterm(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    env = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3", "GATEWAY_DRAIN_S": "5"}
    env |= {"SECRET_KEY": "tests", "DJANGO_SETTINGS_MODULE": "gateway_project.settings", "CACHE_URL": ""}
    manage = [sys.executable, "manage.py"]
    early = subprocess.run(
        [*manage, "serve", "--bind", bind], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert (early.returncode, "run `python manage.py migrate` first" in early.stderr) == (1, True)
    many = [*manage, "serve", "--bind", bind, "--workers", "2"]
    refused = subprocess.run(many, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (refused.returncode, "set CACHE_URL" in refused.stderr) == (1, True)
    subprocess.run([*manage, "migrate", "-v0"], cwd=ROOT, env=env, check=True)
    server = subprocess.Popen([*manage, "serve", "--bind", bind], cwd=ROOT, env=env)
    try:
        with httpx.Client(base_url=f"http://{bind}", trust_env=False) as http:
            for _ in range(100):
                try:
                    answer = http.get("/health")
                    break
                except httpx.ConnectError:
                    time.sleep(0.1)
            assert answer.status_code == 200
            assert http.get("/v1/nothing").json()["error"]["code"] == "unknown_url"
            wrong = http.post("/health")
            assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
    finally:
        server.kill()
        server.wait()
