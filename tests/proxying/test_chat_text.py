"""What answers say, for people."""

from __future__ import annotations

import json

import pytest

from proxying.chat_text import Said, StreamText, whole_text
from tests.upstream import chunk_event, stream_pieces


def test_a_stream_is_read_at_whatever_places_it_is_cut():
    text = StreamText()
    raw = b"".join(stream_pieces(["Hel", "lo ä"]))
    said = [one for start in range(len(raw)) for one in text.feed(raw[start : start + 1])]
    assert said == [Said("text", "Hel"), Said("text", "lo ä")]


def test_an_error_in_a_stream_is_said():
    text = StreamText()
    broken = b'data: {"error": {"message": "The provider broke off."}}\n\n'
    assert text.feed(chunk_event("Hel") + broken) == [
        Said("text", "Hel"),
        Said("error", "The provider broke off."),
    ]


def test_thoughts_text_refusals_and_tools_are_told_apart():
    message = {
        "reasoning_content": "hm",
        "content": "Yes.",
        "refusal": "No.",
        "tool_calls": [{"function": {"name": "add", "arguments": '{"a":1}'}}],
    }
    assert whole_text(json.dumps({"choices": [{"message": message}]}).encode()) == [
        Said("thought", "hm"),
        Said("text", "Yes."),
        Said("text", "No."),
        Said("tool", 'add{"a":1}'),
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "No."}}', [Said("error", "No.")]),
        (b'{"error": {}}', [Said("error", "The answer is an error without a message.")]),
        (b"<html>", [Said("error", "The answer is not JSON.")]),
        (b"[1]", []),
        (b'{"choices": [1, {"message": 2}, {"message": {"content": 3, "tool_calls": [4]}}]}', []),
    ],
)
def test_errors_and_nonsense(body, said):
    assert whole_text(body) == said
