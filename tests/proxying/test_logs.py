"""Log lines: one event, one line, whatever a client put into it."""

from __future__ import annotations

import logging
import logging.config

import pytest
import structlog

from proxying import logs


@pytest.mark.parametrize(
    ("log_format", "shown"),
    [("text", "GET /v1/x\\nforged\\x1b[2J é"), ("json", "GET /v1/x\\nforged\\u001b[2J é")],
)
def test_line_breaks_of_a_client_stay_inside_the_line(log_format: str, shown: str) -> None:
    before = structlog.get_config()
    try:
        (formatter,) = logs.configure(log_format)["formatters"].values()
    finally:
        structlog.configure(**before)
    options = {name: value for name, value in formatter.items() if name != "()"}
    record = logging.LogRecord(
        "sluice.x",
        logging.WARNING,
        "x.py",
        1,
        "A view failed: %s %s",
        ("GET", "/v1/x\nforged\x1b[2J é"),
        None,
    )
    line = structlog.stdlib.ProcessorFormatter(**options).format(record)
    assert (line.count("\n"), shown in line) == (0, True)
