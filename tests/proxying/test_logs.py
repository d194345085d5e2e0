"""Log lines: one event, one line, whatever a client put into it."""

from __future__ import annotations

import json
import logging
import logging.config
from datetime import UTC, datetime

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


def lines_of(log_format: str, events: list[dict[str, object]]) -> list[str]:
    """What goes to standard error in one write each."""
    before = structlog.get_config()
    try:
        (formatter,) = logs.configure(log_format)["formatters"].values()
    finally:
        structlog.configure(**before)
    writes: list[str] = []
    handler = logging.StreamHandler()
    handler.setFormatter(formatter.pop("()")(**formatter))
    handler.emit = lambda record: writes.append(handler.format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("sluice.lines")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        log = logs.LineLog("sluice.lines", log_format)
        for values in events:
            log.add("request", values)
        log.flush()
        log.flush()
    finally:
        logger.removeHandler(handler)
    return writes


def test_many_lines_take_few_writes_that_a_pipe_takes_whole() -> None:
    writes = lines_of("json", [{"number": number, "text": "é" * 400} for number in range(20)])
    assert [json.loads(line)["number"] for text in writes for line in text.split("\n")] == list(range(20))
    assert {len(text.split("\n")) for text in writes} == {4}
    assert max(len(text.encode()) + 1 for text in writes) <= 4096


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_line_says_event_level_logger_and_time_and_stays_one_line(log_format: str) -> None:
    (text,) = lines_of(log_format, [{"error_message": "a\nforged"}])
    assert "\n" not in text
    assert all(word in text for word in ("request", "info", "sluice.lines", "forged"))
    if log_format == "json":
        values = json.loads(text)
        at = datetime.fromisoformat(values.pop("timestamp"))
        assert abs((datetime.now(UTC) - at).total_seconds()) < 60
        expected = {"error_message": "a\nforged", "event": "request", "level": "info"}
        assert values == {**expected, "logger": "sluice.lines"}


def test_silenced_logger_costs_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "sluice.quiet")
    log = logs.LineLog("sluice.quiet", "json")
    log.add("request", {})
    log.flush()
    assert caplog.records == []
