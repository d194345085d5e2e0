"""What answers cost, by the kind that sold them."""

from __future__ import annotations

import pytest

from proxying.pricing import cost_microusd


@pytest.mark.parametrize(
    ("kind", "model", "cost"),
    [
        ("anthropic", "claude-3-haiku-20240307", 525),
        ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0", 525),
        ("bedrock", "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/ab12", None),
        ("openai_compatible", "claude-3-haiku-20240307", None),
    ],
)
def test_cost_is_the_sellers_price(kind, model, cost):
    assert cost_microusd(kind, model, 2000, 20, 0) == cost


def test_both_kinds_of_gemini_have_one_price():
    model, tokens = "gemini-2.5-flash", (1_000_000, 1000, 0)
    own, compatible = (cost_microusd(kind, model, *tokens) for kind in ("gemini_native", "gemini"))
    assert own == compatible
    assert own is not None


def test_unknown_usage_has_no_cost():
    assert cost_microusd("bedrock", "anthropic.claude-3-haiku-20240307-v1:0", None, 20, 0) is None
