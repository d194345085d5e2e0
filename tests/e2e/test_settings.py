"""A wrong setting, command line or file stops with a line that names it; nothing is served or changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.server import PASSED_ON, ROOT, Server

SURROUNDINGS = {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def run(path: Path, *args: str, **env: str) -> tuple[int, str]:
    """A management command's exit status and what it says on standard error."""
    surroundings = SURROUNDINGS | {"DATABASE_URL": f"sqlite:///{path}", "SECRET_KEY": "tests", **env}
    done = subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=ROOT,
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_WORKERS", "two"),
        ("GATEWAY_MAX_BODY_BYTES", "-1"),
        ("GATEWAY_REFRESH_INTERVAL_S", "fast"),
        ("GATEWAY_DRAIN_S", "0"),
        ("GATEWAY_LOG_FORMAT", "xml"),
        ("GATEWAY_EGRESS_DENY_PRIVATE", "ture"),
        ("GATEWAY_BIND", "8000"),
        ("GATEWAY_SESSION_HEADER", "X Session"),
        ("GATEWAY_ENCRYPTION_KEYS", "short"),
        ("GATEWAY_FORWARDED_ALLOW_IPS", "proxy"),
        ("CACHE_URL", "memcached://localhost"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("TIME_ZONE", "Mars/Olympus"),
        ("SECRET_KEY_FILE", "/nowhere/secret"),
    ],
)
def test_wrong_setting_stops_the_start(empty: Path, name: str, value: str) -> None:
    status, said = run(empty, "serve", "--bind", "127.0.0.1:0", **{name: value})
    assert (status, name in said, "Traceback" in said) == (1, True, False)


@pytest.mark.parametrize(
    ("args", "env", "says"),
    [
        (["--bind", "nonsense"], {}, "--bind takes an address with a port, such as 127.0.0.1:8000"),
        (["--workers", "0"], {}, "--workers must be at least 1"),
        (["--workers", "2"], {}, "2 workers need a shared cache: set CACHE_URL, or use one worker."),
        (["--bind", "0.0.0.0:0"], {"GATEWAY_ALLOW_ANONYMOUS": "true"}, "turn it off and make keys"),
        (
            [],
            {"DATABASE_URL": "sqlite:////nowhere/x.sqlite3"},
            "The database cannot be reached; see DATABASE_URL.",
        ),
    ],
)
def test_serve_refuses_what_cannot_work(empty: Path, args: list[str], env: dict[str, str], says: str) -> None:
    status, said = run(empty, "serve", *args, **env)
    assert (status, said.startswith("CommandError: "), says in said) == (1, True, True)


def test_anonymous_requests_are_for_this_machine_whoever_starts_gunicorn(empty: Path) -> None:
    """``--bind`` of gunicorn itself does not get around the setting either."""
    command = [sys.executable, "-m", "gunicorn", "--config", "gateway_project/gunicorn.conf.py"]
    env = SURROUNDINGS | {"DATABASE_URL": f"sqlite:///{empty}", "GATEWAY_ALLOW_ANONYMOUS": "true"}
    done = subprocess.run(
        [*command, "--bind", "0.0.0.0:0"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, "GATEWAY_ALLOW_ANONYMOUS" in done.stderr) == (1, True)


def test_wrong_file_names_every_place_and_changes_nothing(gateway: Server, tmp_path: Path) -> None:
    """T41."""
    before = gateway.manage("export_config").stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        "providers:\n"
        "  p: {type: openai_compatible, base_url: 'http://127.0.0.1:9/v1', colour: red}\n"
        "routing:\n"
        "  defaults:\n"
        "    failover: {max_attempts: 0, retry_on_statuses: [42]}\n"
        "  model_pools:\n"
        "    fresh:\n"
        "      candidates: [{provider: nobody, model: m}]\n"
    )
    done = gateway.manage("import_config", str(wrong), check=False)
    said = [line.strip() for line in done.stderr.splitlines()]
    assert (done.returncode, "nothing was written" in said[0]) == (1, True)
    places = {line.partition(":")[0]: line.rpartition("(")[2] for line in said[1:-1]}
    assert places == {
        "providers.p.colour": "line 2)",
        "routing.defaults.failover.max_attempts": "line 5)",
        "routing.defaults.failover.retry_on_statuses[0]": "line 5)",
        "routing.model_pools.fresh.candidates[0].provider": "line 8)",
    }
    assert gateway.manage("export_config").stdout == before


@pytest.mark.parametrize(
    "content", [b"a: [", b"\xff\xfe\x00", b"- a\n- b\n", b"providers: 7\n", b"&a [*a]\n"]
)
def test_file_that_is_no_configuration_is_refused(gateway: Server, tmp_path: Path, content: bytes) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_bytes(content)
    done = gateway.manage("import_config", str(wrong), check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert done.stderr.startswith(f"CommandError: {wrong}")


@pytest.mark.parametrize(("value", "warnings"), [("true", []), ("false", ["security.W012", "security.W016"])])
def test_cookies_are_for_tls_only_where_it_is_said(tmp_path: Path, value: str, warnings: list[str]) -> None:
    _, said = run(tmp_path / "db", "check", "--deploy", COOKIES_SECURE=value)
    assert [one for one in ("security.W012", "security.W016") if one in said] == warnings
