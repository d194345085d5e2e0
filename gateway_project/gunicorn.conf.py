"""The server's settings, from ``settings.py``."""

import contextlib
import os
import signal
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

from django.conf import settings

from gateway_project import metrics_dir
from gateway_project.worker import LIFESPAN_END_S
from proxying.auth import is_loopback

wsgi_app = "gateway_project.asgi:application"
worker_class = "gateway_project.worker.DrainingWorker"
bind = [settings.GATEWAY_BIND]
workers = settings.GATEWAY_WORKERS
keepalive = 75
# Workers take GATEWAY_DRAIN_S of it for running answers.
graceful_timeout = int(settings.GATEWAY_DRAIN_S) + LIFESPAN_END_S
# A heartbeat of the event loop, not the length of a request.
timeout = 60
asgi_lifespan = "on"
control_socket_disable = True
accesslog = None
logger_class = "gateway_project.server_log.ServerLog"
forwarded_allow_ips = settings.GATEWAY_FORWARDED_ALLOW_IPS


def on_starting(server: Any) -> None:
    """Refuse what ``serve`` refuses, when gunicorn is run directly; make room for metrics."""
    if server.cfg.workers > 1 and not settings.CACHE_URL:
        count = server.cfg.workers
        raise SystemExit(f"{count} workers need a shared cache: set CACHE_URL, or use one worker.")
    if settings.GATEWAY_ALLOW_ANONYMOUS and not all(map(is_loopback, server.cfg.bind)):
        raise SystemExit("GATEWAY_ALLOW_ANONYMOUS is for addresses of this machine only: turn it off.")
    if server.cfg.workers > 1 or settings.PROMETHEUS_MULTIPROC_DIR:
        # Before the first worker: prometheus_client looks at the variable once, when it is imported.
        configured = settings.PROMETHEUS_MULTIPROC_DIR
        try:
            settings.PROMETHEUS_MULTIPROC_DIR = metrics_dir.prepare(settings.VAR_DIR, configured)
        except OSError as problem:
            where = configured or settings.VAR_DIR
            raise SystemExit(
                f"Metrics of several workers cannot be kept in {where} ({problem.strerror}): "
                "set PROMETHEUS_MULTIPROC_DIR to a directory that can be written to."
            ) from None
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = settings.PROMETHEUS_MULTIPROC_DIR


def on_reload(server: Any) -> None:
    """Let the old workers listen until the new ones do: the master stops the old ones at once."""
    for pid in server.WORKERS:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGWINCH)


def child_exit(_server: Any, worker: Any) -> None:
    """Take a dead worker's gauges out of the metrics that the others still show."""
    if settings.PROMETHEUS_MULTIPROC_DIR:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # its own gap


def on_exit(_server: Any) -> None:
    """Remove the metrics of this start."""
    metrics_dir.remove(settings.VAR_DIR, settings.PROMETHEUS_MULTIPROC_DIR)
