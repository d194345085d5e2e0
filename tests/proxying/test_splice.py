"""What is spliced changes; every other byte stays."""

from __future__ import annotations

import json
import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxying import splice
from proxying.errors import InvalidRequestError


def spliced(raw: bytes, *, ask_usage: bool = False) -> bytes:
    return splice.splice(raw, orjson.loads(raw), model="up/m", ask_usage=ask_usage)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"model":"a"}', b'{"model":"up/m"}'),
        (b' {"n": 1.00, "model" : "a\\"b" , "x": 1e5} \n', b' {"n": 1.00, "model" : "up/m" , "x": 1e5} \n'),
        (b'{"mod\\u0065l":"a","z":{"model":"b"}}', b'{"mod\\u0065l":"up/m","z":{"model":"b"}}'),
        (b'{"x":[{"model":"b"}],"model":"a"}', b'{"x":[{"model":"b"}],"model":"up/m"}'),
        (b'{"x":"a \\"model","model":"a"}', b'{"x":"a \\"model","model":"up/m"}'),
        (b'{"x":"]}","y":["{",[]],"model":"model"}', b'{"x":"]}","y":["{",[]],"model":"up/m"}'),
        (b'{"model":"a","provider":"p"}', b'{"model":"up/m"}'),
        (b'{"provider":"p","model":"a"}', b'{"model":"up/m"}'),
        (b'{"provider":"p", "model":"a","provider":"q" }', b'{"model":"up/m" }'),
        (b'{"a":1,"provider":"p","model":"a","b":2}', b'{"a":1,"model":"up/m","b":2}'),
        (b'{"model":"a","provider":{"order":["x"]}}', b'{"model":"up/m","provider":{"order":["x"]}}'),
        (b'{"model":"a","x":{"provider":"p"}}', b'{"model":"up/m","x":{"provider":"p"}}'),
    ],
)
def test_splice_changes_the_model_and_drops_a_string_provider(raw, expected):
    assert spliced(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"model":"a","options":{}}', b'{"model":"up/m"}'),
        (b'{"options":{"a":[1]},"model":"a"}', b'{"model":"up/m"}'),
        (
            b'{"provider":"p","options":1,"model":"a","x":{"options":1}}',
            b'{"model":"up/m","x":{"options":1}}',
        ),
        (b'{"model":"a", "x":1}', b'{"model":"up/m", "x":1}'),
    ],
)
def test_splice_leaves_out_what_it_is_told(raw, expected):
    assert splice.splice(raw, orjson.loads(raw), model="up/m", without=("options",)) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"model":"a"}', b'{"model":"up/m","stream_options":{"include_usage":true}}'),
        (b'{"model":"a" \n} ', b'{"model":"up/m","stream_options":{"include_usage":true} \n} '),
        (
            b'{"model":"a","provider":"p"}',
            b'{"model":"up/m","stream_options":{"include_usage":true}}',
        ),
        (
            b'{"stream_options":null,"model":"a"}',
            b'{"stream_options":{"include_usage":true},"model":"up/m"}',
        ),
        (
            b'{"stream_options":{ },"model":"a"}',
            b'{"stream_options":{"include_usage":true},"model":"up/m"}',
        ),
        (
            b'{"stream_options":{"include_usage": false,"x":1},"model":"a"}',
            b'{"stream_options":{"include_usage": true,"x":1},"model":"up/m"}',
        ),
        (
            b'{"stream_options":{"include_obfuscation":false },"model":"a"}',
            b'{"stream_options":{"include_obfuscation":false,"include_usage":true },"model":"up/m"}',
        ),
    ],
)
def test_splice_asks_for_usage(raw, expected):
    assert spliced(raw, ask_usage=True) == expected


@pytest.mark.parametrize(
    "raw", [b'{"model":"a","model":"b"}', b'{"model":"a","x":1,"\\u006d\\u006fdel":"b"}']
)
def test_duplicate_model_is_refused(raw):
    with pytest.raises(InvalidRequestError) as caught:
        splice.refuse_duplicates(list(splice.scan_members(raw, 0)))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "duplicate_model", "model")
    with pytest.raises(InvalidRequestError):
        spliced(raw)


TEXT = st.text(alphabet=st.characters(codec="utf-8"))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FLOATS
TRAPS = st.sampled_from(["model", '"model":', "provider", "\\", 'q"', "]"])
JSON = st.recursive(
    SCALARS | TEXT | TRAPS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRAPS | TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    members=st.dictionaries(st.text(alphabet=st.characters(codec="utf-8"), max_size=6), JSON, max_size=5),
    provider=st.none() | st.text(alphabet=st.characters(codec="utf-8")) | st.just({"order": []}),
    options=st.sampled_from(
        ["absent", None, {}, {"include_usage": False}, {"a": [1], "include_usage": True}]
    ),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    ask_usage=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_splice_equals_the_edited_object(members, provider, options, indent, ascii_only, ask_usage, order):
    body = {**members, "model": "m", "provider": provider}
    if options == "absent":
        body.pop("stream_options", None)
    else:
        body["stream_options"] = options
    items = list(body.items())
    order.shuffle(items)
    raw = json.dumps(dict(items), indent=indent, ensure_ascii=ascii_only).encode()
    out = splice.splice(raw, orjson.loads(raw), model="up/m", ask_usage=ask_usage)

    expected = {key: value for key, value in items if key != "provider" or not isinstance(value, str)}
    expected["model"] = "up/m"
    if ask_usage:
        expected["stream_options"] = {**(expected.get("stream_options") or {}), "include_usage": True}
    assert json.loads(out) == expected
    kept_order = [key for key in dict(items) if key in expected]
    assert [key for key in json.loads(out) if key in dict(items)] == kept_order


@settings(deadline=None)
@given(before=JSON, after=JSON, space=st.sampled_from([b"", b" ", b"\r\n\t"]))
def test_splice_leaves_every_other_byte(before, after, space):
    head = (
        b"{" + space + b'"b":' + json.dumps(before, ensure_ascii=False).encode() + b',"model"' + space + b":"
    )
    tail = space + b',"a":' + json.dumps(after).encode() + b"}" + space
    assert spliced(head + b'"m"' + tail) == head + b'"up/m"' + tail


def best_of(runs, call):
    times = []
    for _ in range(runs):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.parametrize(
    "filler",
    [
        b'"' + b"model \\u006d " * 300_000 + b'"',
        b"[" + b'{"model":"x"},' * 200_000 + b"0]",
        b"[" * 1 + b'"a","b",' * 400_000 + b"0]",
        b'[{"a":[[1]]},"x",' * 250 + b'"y",' * 500_000 + b"0" + b"]" * 250,
        b"[" * 500 + b"1," * 1_000_000 + b"0" + b"]" * 500,
    ],
    ids=["long string", "many objects", "many strings", "deep and wide", "nested numbers"],
)
def test_splice_takes_linear_time(filler):
    raw = b'{"x":' + filler + b',"mod\\u0065l":"m","provider":"p"}'
    data = {"model": "m", "provider": "p"}
    assert best_of(2, lambda: splice.splice(raw, data, model="u")) < 0.5


def test_splice_takes_linear_time_with_many_members():
    raw = b'{"model":"m",' + b",".join(b'"provider":"p","k%d":1' % n for n in range(50_000)) + b"}"
    data = {"model": "m", "provider": "p"}
    assert best_of(1, lambda: splice.splice(raw, data, model="u")) < 2
