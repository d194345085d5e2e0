"""The server's settings, from ``settings.py``."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

from django.conf import settings

wsgi_app = "gateway_project.asgi:application"
worker_class = "asgi"
bind = [settings.GATEWAY_BIND]
workers = settings.GATEWAY_WORKERS
keepalive = 75
graceful_timeout = int(settings.GATEWAY_DRAIN_S)
# A heartbeat of the event loop, not the length of a request.
timeout = 60
asgi_lifespan = "on"
control_socket_disable = True
accesslog = None
forwarded_allow_ips = "127.0.0.1,::1"


def post_worker_init(worker: Any) -> None:
    """Tell the fast lane of SIGTERM as soon as it comes: gunicorn itself ends lifespan last."""
    from gateway_project.asgi import lane
    from proxying import runtime

    stop = worker.handle_exit_signal

    def drain() -> None:
        lane.draining = True
        runtime.drain()
        stop()

    worker.handle_exit_signal = drain
    import signal

    worker.loop.add_signal_handler(signal.SIGTERM, drain)


def child_exit(_server: Any, worker: Any) -> None:
    """Take a dead worker's gauges out of the metrics that the others still show."""
    if settings.PROMETHEUS_MULTIPROC_DIR:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # its own gap
