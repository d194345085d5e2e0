from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from routing.document import Change, apply, as_json, diff, from_json, object_key, split_key

NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(string.ascii_letters, max_size=3))
DOCUMENTS = st.dictionaries(
    st.sampled_from(["provider/a", "provider/b", "pool/m", "defaults"]),
    st.fixed_dictionaries({"x": VALUES, "y": VALUES}),
)


@given(st.lists(NAMES, max_size=3))
def test_object_key_can_be_taken_apart_again(names):
    """T17, T18: names with slashes, percent signs and colons stay apart."""
    assert split_key(object_key("candidate", *names)) == ("candidate", *names)


def test_object_key_encodes_every_separator():
    assert object_key("candidate", "a/b", "p", "m:1%") == "candidate/a%2Fb/p/m%3A1%25"


@given(DOCUMENTS, DOCUMENTS)
def test_diff_leads_from_one_document_to_the_other_and_back(before, after):
    changes = diff(before, after)

    assert apply(before, changes) == after
    assert apply(after, changes, undo=True) == before
    assert from_json(as_json(changes)) == changes


def test_diff_stands_in_the_order_of_object_and_field():
    before = {"pool/m": {"b": 1, "a": 1}, "provider/p": {"x": 1}}
    after = {"pool/m": {"b": 2, "a": 2}, "alias/s": {"target": "m"}}

    assert diff(before, after) == (
        Change("alias/s", "*", None, {"target": "m"}),
        Change("pool/m", "a", 1, 2),
        Change("pool/m", "b", 1, 2),
        Change("provider/p", "*", {"x": 1}, None),
    )


def test_apply_leaves_its_argument_alone():
    before = {"pool/m": {"a": 1}}

    apply(before, [Change("pool/m", "a", 1, 2)])

    assert before == {"pool/m": {"a": 1}}
