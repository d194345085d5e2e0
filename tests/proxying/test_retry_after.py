"""How long to wait, however it is said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxying import retry_after

NOW = 1_445_412_420.0  # Wed, 21 Oct 2015 07:27:00 GMT


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "25"}, 25.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 60.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}, 60.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "0", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "0"}, 0.0),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Wed, 99 Oct 99999 07:28:00 GMT"}, None),
    ],
)
def test_headers_give_seconds(headers, expected):
    assert retry_after.from_headers(headers, NOW) == expected


@pytest.mark.parametrize(
    ("error", "message", "expected"),
    [
        ({"details": [{"@type": "x"}, {"retryDelay": "48s"}]}, "", 48.0),
        ({"details": [{"retryDelay": "48.25s"}]}, "", 48.25),
        ({"details": "none"}, "Please try again in 1m26.4s. Visit", 86.4),
        ({}, "Rate limit reached. Please try again in 20s.", 20.0),
        ({}, "Please retry after 13 seconds.", 13.0),
        ({}, "Please try again in 120ms", 0.12),
        ({}, "Please try again in 6m0s", 360.0),
        ({}, "Please try again later", None),
        ({}, "try again with 3 models", None),
        ({}, "", None),
    ],
)
def test_bodies_give_seconds(error, message, expected):
    assert retry_after.from_body(error, message) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h2m3s", 3723.0), ("120ms", 0.12), ("5m", 300.0), ("", None), ("5 apples", None)]
)
def test_durations_are_parsed(text, seconds):
    assert retry_after.parse_duration(text) == seconds


@given(st.text(), st.text(), st.text())
def test_no_text_raises(seconds, milliseconds, message):
    value = retry_after.from_headers({"retry-after": seconds, "retry-after-ms": milliseconds}, NOW)
    assert value is None or (math.isfinite(value) and value >= 0)
    retry_after.from_body({"details": [{"retryDelay": message}]}, message)
