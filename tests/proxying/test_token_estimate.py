"""Token counts without a tokenizer: about right, never zero, whatever was sent."""

from __future__ import annotations

import pytest

from proxying.token_estimate import estimated_tokens


def of(content) -> int:
    return estimated_tokens({"messages": [{"role": "user", "content": content}]})


BARE = of("")


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ("word " * 80, 100),
        ("語" * 30, 20),
        ([{"type": "image", "source": {"type": "base64", "data": "a" * 100_000}}], 1600),
        ([{"type": "document", "source": {"type": "base64", "data": "a" * 330_000}}], 10_000),
        ([{"type": "document", "source": {"type": "text", "data": "a" * 400}}], 108),
    ],
)
def test_content_counts_by_what_it_is(content, tokens):
    assert of(content) == pytest.approx(BARE + tokens, abs=3)


def test_tools_and_instructions_count():
    tool = {"name": "f", "input_schema": {"type": "object", "description": "d" * 400}}
    assert estimated_tokens({"tools": [tool], "system": "s" * 40}) == pytest.approx(122, abs=3)


def test_nesting_is_no_limit():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert estimated_tokens({"messages": deep}) == 4


def test_nothing_is_one_token():
    assert estimated_tokens({}) == 1
