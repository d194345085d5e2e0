"""How log lines look: one JSON object each, or text for people. Standard logging and structlog alike."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

import orjson
import structlog

FORMATS: Final = ("json", "text")


def _dumps(value: Any, default: Any = None, **_: Any) -> str:
    return orjson.dumps(value, default=default or str).decode()


def _processors() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def one_line(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what is not printable in a message: a client's words must not look like lines of the log."""
    text = str(event.get("event", ""))
    if not text.isprintable():
        event["event"] = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return event


def configure(log_format: str) -> dict[str, Any]:
    """Set structlog up and answer what Django's ``LOGGING`` must be for lines to go to standard error.

    Raises:
        ValueError: the format is neither ``json`` nor ``text``.
    """
    if log_format not in FORMATS:
        raise ValueError(f"GATEWAY_LOG_FORMAT must be one of {', '.join(FORMATS)}, not {log_format!r}.")
    renderer: Any = structlog.processors.JSONRenderer(serializer=_dumps)
    if log_format == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = {
        "()": "structlog.stdlib.ProcessorFormatter",
        "foreign_pre_chain": [*_processors(), structlog.stdlib.ExtraAdder()],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([structlog.processors.format_exc_info] if log_format == "json" else [one_line]),
            renderer,
        ],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"sluice": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "sluice"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "sluice": {"level": "INFO"},
            "django.server": {"level": "INFO"},
        },
    }
