"""``serve`` and gunicorn itself as processes: what they refuse, and how they say it."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from gateway_project import metrics_dir
from proxying.lifespan import serve_lifespan
from tests.proxying.deployed import CHAT, ROOT, deployed, environment, free_port

SERVE = ("manage.py", "serve")
GUNICORN = ("-m", "gunicorn", "--config", "gateway_project/gunicorn.conf.py")


async def cannot_start(scope, receive, send):
    """An application for gunicorn whose start fails."""

    async def start():
        raise RuntimeError("the table is upside down")

    async def stop():
        sys.stderr.write("closed all the same\n")

    await serve_lifespan(receive, send, start, stop)


def run(tmp_path, *arguments, **settings):
    """Exit code and everything that was printed."""
    done = subprocess.run(
        [sys.executable, *arguments, "--bind", settings.pop("bind", f"127.0.0.1:{free_port()}")],
        cwd=ROOT,
        env=environment(tmp_path, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout


def test_serve_refuses_a_database_without_tables(tmp_path):
    code, said = run(tmp_path, *SERVE)
    assert (code, "run `python manage.py migrate` first" in said) == (1, True)


def test_serve_refuses_a_database_that_is_not_there(tmp_path):
    code, said = run(tmp_path, *SERVE, DATABASE_URL=f"sqlite:///{tmp_path}/none/db.sqlite3")
    assert code == 1
    assert "The database cannot be reached; see DATABASE_URL. It says: unable to open database file" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ((*SERVE, "--workers", "2"), {}),
        ((*GUNICORN, "--workers", "2"), {}),
        (GUNICORN, {"GATEWAY_WORKERS": "2"}),
    ],
)
def test_workers_without_a_shared_cache_are_refused(tmp_path, command, settings):
    """However they are asked for."""
    code, said = run(tmp_path, *command, **settings)
    refusal = "2 workers need a shared cache: set CACHE_URL, or use one worker."
    assert (code, refusal in said, "Traceback" in said) == (1, True, False)


@pytest.fixture
def without_var(tmp_path):
    """Runs ``manage.py`` of a checkout whose ``var`` cannot be a directory."""
    shutil.copytree(ROOT / "gateway_project", tmp_path / "gateway_project")
    shutil.copy(ROOT / "manage.py", tmp_path)
    for room in ("routing", "proxying", "dashboard", "templates"):
        (tmp_path / room).symlink_to(ROOT / room)
    (tmp_path / "var").touch()

    def manage(*arguments, **settings):
        env = {**environment(tmp_path, **settings), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={name: value for name, value in env.items() if value},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return manage


def test_nothing_is_kept_in_var_where_everything_has_its_own_place(without_var):
    """In a container whose file system is read-only."""
    done = without_var("check", DATABASE_URL="postgres://nobody@127.0.0.1:1/none", SECRET_KEY="s" * 60)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_a_secret_key_that_cannot_be_kept_is_told(without_var):
    done = without_var("check", SECRET_KEY="")
    assert done.returncode == 1
    assert done.stderr.startswith("Wrong setting: SECRET_KEY is not set, and a key of this checkout's own")
    assert "Traceback" not in done.stderr


def test_a_database_that_is_away_is_one_line_for_every_command(tmp_path):
    """At night nobody reads fifty lines of Python to learn that the database is down."""
    env = environment(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/none/db.sqlite3")
    command = [sys.executable, "manage.py", "list_api_keys"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30, check=False)
    told = "The database cannot be used; see DATABASE_URL. It says: unable to open database file\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_serve_refuses_a_port_that_another_process_has(tmp_path):
    env = environment(tmp_path)
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=env, check=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = run(tmp_path, *SERVE, bind=bind)
    refusal = f"{bind} cannot be used (Address already in use); choose another with --bind or GATEWAY_BIND."
    assert (code, refusal in said, "Traceback" in said) == (1, True, False)


def test_worker_that_cannot_start_stops_the_server(tmp_path):
    """T22: no restart loop; everything is closed, and the log says why."""
    code, said = run(tmp_path, *GUNICORN, f"{__name__}:cannot_start")
    assert code == 3
    assert "closed all the same" in said
    assert "RuntimeError: the table is upside down" in said


@pytest.mark.anyio
async def test_every_line_of_the_log_is_json(tmp_path, upstream):
    """gunicorn's too: what collects the log reads one format."""
    up = await upstream()
    async with deployed(tmp_path, up.base_url, GATEWAY_LOG_FORMAT="json") as gateway:
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended(10) == 0
        lines = [json.loads(line) for line in gateway.log.splitlines()]
    assert "gunicorn.error" in {line["logger"] for line in lines}
    assert "Shutting down: Master" in [line["event"] for line in lines]


@pytest.mark.redis
@pytest.mark.anyio
async def test_workers_put_their_metrics_together(tmp_path, upstream, redis_url):
    """Whichever worker is asked; the counts of one that died stay."""
    up = await upstream()
    settings = {"CACHE_URL": redis_url, "GATEWAY_METRICS_OPEN": "true"}
    async with deployed(tmp_path, up.base_url, "--workers", "2", **settings) as gateway:
        assert gateway.process is not None
        directory = ROOT / "var" / f"metrics-{gateway.process.pid}"

        async def counted():
            async with httpx.AsyncClient(base_url=gateway.base_url, trust_env=False) as http:
                text = (await http.get("/metrics")).text
            return sum(map(float, re.findall(r"^sluice_requests_total\{.*\} (\S+)$", text, re.MULTILINE)))

        for _ in range(20):
            async with httpx.AsyncClient(base_url=gateway.base_url, trust_env=False) as http:
                answer = await http.post("/v1/chat/completions", json=CHAT, headers=gateway.headers)
            assert answer.status_code == 200
        assert [await counted() for _ in range(6)] == [20.0] * 6
        os.kill(gateway.workers()[0], signal.SIGKILL)
        await gateway.wait_for_log("was sent SIGKILL")
        await asyncio.sleep(0.5)
        await gateway.wait_until_ready()
        assert [await counted() for _ in range(6)] == [20.0] * 6
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended(10) == 0
        assert not directory.exists()


def test_metrics_directory_is_fresh_and_the_dead_ones_go(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getpid(), os.getppid()):
        (tmp_path / f"metrics-{pid}").mkdir()
        (tmp_path / f"metrics-{pid}" / "counter_1.db").touch()

    made = metrics_dir.prepare(tmp_path, "")

    assert made == str(tmp_path / f"metrics-{os.getpid()}")
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["counter_1.db", f"metrics-{os.getpid()}", f"metrics-{os.getppid()}"]
    )
    inherited = str(tmp_path / f"metrics-{os.getppid()}")
    assert metrics_dir.prepare(tmp_path, inherited) == made
    metrics_dir.remove(tmp_path, made)
    assert [path.name for path in tmp_path.iterdir()] == [f"metrics-{os.getppid()}"]


def test_metrics_directory_of_the_operator_is_emptied_and_stays(tmp_path):
    own = tmp_path / "prometheus"
    own.mkdir()
    (own / "counter_1.db").touch()
    (own / "note").touch()
    assert metrics_dir.prepare(tmp_path / "var", str(own)) == str(own)
    metrics_dir.remove(tmp_path / "var", str(own))
    assert [path.name for path in own.iterdir()] == ["note"]
