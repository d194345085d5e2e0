from __future__ import annotations

import pytest

from routing.document import Change
from routing.summary import change_text, summarize

OFF = Change("provider/p", "enabled", True, False)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ([], ""),
        ([OFF], "Disabled provider p"),
        (
            [OFF, Change("provider/p", "switch_expires_at", None, "2026-01-01T00:00:00Z")],
            "Disabled provider p until 2026-01-01 00:00 UTC",
        ),
        ([Change("pool/m", "switch_reason", "", "x")], "Changed the switch of pool m"),
        (
            [OFF, Change("provider/p", "base_url", "", "x")],
            "Disabled provider p; changed base_url of provider p",
        ),
        ([Change("alias/a%2Fb", "*", {"target": "m"}, None)], "Removed alias a/b"),
        ([Change("defaults", "strategy", "", "x")], "Changed strategy of defaults"),
        ([Change("client_key/7", "enabled", False, True)], "Enabled client key 7"),
        ([Change("candidate/m/p/x", "weight", 1, 2)], "Changed weight of candidate p/x of m"),
        (
            [Change("candidate/m/p/x", "*", None, {}), Change("pool/m", "*", None, {})],
            "Added pool m",
        ),
    ],
)
def test_summary_says_what_happened(changes, text):
    assert summarize(changes) == text


def test_summary_is_cut_to_what_the_column_holds():
    text = summarize([Change(f"alias/{number}", "*", None, {}) for number in range(200)])

    assert len(text) == 500
    assert text.endswith("…")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Change("pool/m", "*", None, {}), "+ pool m"),
        (Change("pool/m", "*", {}, None), "- pool m"),
        (Change("pool/m", "strategy", "", "weighted"), "~ pool m: strategy (nothing) → weighted"),
        (Change("provider/p", "enabled", True, False), "~ provider p: enabled true → false"),
        (Change("provider/p", "configured_models", [], ["a"]), '~ provider p: configured_models [] → ["a"]'),
    ],
)
def test_change_is_one_line_of_a_diff(change, text):
    assert change_text(change) == text
