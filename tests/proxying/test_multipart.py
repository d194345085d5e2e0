"""The scanner of forms: the same at every cut, and nothing that parsers read differently gets through."""

from __future__ import annotations

import email.parser
import email.policy

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxying.errors import InvalidRequestError
from proxying.multipart import (
    MAX_FIELD_BYTES,
    MAX_HEADER_BYTES,
    MAX_PARTS,
    Field,
    FormScanner,
    boundary_of,
)

WANTED = frozenset({b"model", b"user", b"stream"})
B = b"7d4a-b"


def part(name: str, value: bytes, *, extra: str = "", headers: str = "") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"{extra}\r\n{headers}\r\n'
    return b"--" + B + b"\r\n" + head.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + B + b"--\r\n"


def file(value: bytes = b"RIFF\x00\r\n--7d4a") -> bytes:
    return part("file", value, extra='; filename="a.wav"', headers="Content-Type: audio/wav\r\n")


def scan(raw: bytes, size: int = 0) -> FormScanner:
    scanner = FormScanner(B, WANTED)
    for at in range(0, len(raw), size or len(raw) or 1):
        scanner.feed(raw[at : at + (size or len(raw))])
    scanner.end()
    return scanner


GOOD = form(part("language", b"en"), file(), part("model", b"whisper"), part("user", b""))


def test_fields_are_found_where_they_stand() -> None:
    scanner = scan(GOOD)
    model, user = scanner.fields[b"model"], scanner.fields[b"user"]
    assert (GOOD[model.start : model.end], model.value, scanner.files) == (b"whisper", b"whisper", 1)
    assert (user.start, user.end, user.value, set(scanner.fields)) == (
        user.start,
        user.start,
        b"",
        {b"model", b"user"},
    )


@pytest.mark.parametrize("size", range(1, len(GOOD) + 1))
def test_every_cut_reads_the_same(size) -> None:
    assert scan(GOOD, size).fields == scan(GOOD).fields


def test_model_is_known_before_the_file_ends() -> None:
    scanner = FormScanner(B, WANTED)
    scanner.feed(part("model", b"m"))
    assert scanner.fields == {}  # its boundary has not come
    scanner.feed(file(b"x" * 1000)[:200])
    assert (scanner.fields[b"model"].value, scanner.files, scanner.ended) == (b"m", 1, False)


def test_long_content_leaves_nothing_behind() -> None:
    scanner = FormScanner(B, WANTED)
    scanner.feed(file(b"")[:-2])
    for _ in range(100):
        scanner.feed(b"\r\n--7d4a-" * 1000)
    assert len(scanner._buffer) < 20


# --- what is refused ---

HOSTILE = {
    "empty": b"",
    "no form": b"hello",
    "not closed": GOOD[: -len(B) - 6],
    "cut in a part": GOOD[:70],
    "cut in the last boundary": GOOD[:-4],
    "something before": b"hi\r\n" + GOOD,
    "something after": GOOD + b"--" + B + b"\r\n",
    "form feed after": GOOD.removesuffix(b"\r\n") + b"\f\n",
    "bare line feeds": GOOD.replace(b"\r\n", b"\n"),
    "boundary after a bare line feed": form(file(b"x\n--" + B + b"\r\n")),
    "boundary at the end of a line": form(file(b"x--" + B + b"\r\n")),
    "boundary inside a line": form(file(b"x\r\n--" + B + b"x")),
    "boundary with padding": GOOD.replace(b"--" + B + b"\r\n", b"--" + B + b" \r\n", 1),
    "two models": form(part("model", b"a"), part("model", b"b")),
    "two models in two spellings": form(
        part("model", b"a"), part("MODEL", b"b").replace(b"MODEL", b"mod\\el")
    ),
    "name by RFC 8187": form(part("x", b"b").replace(b'name="x"', b"name*=utf-8''model")),
    "name in an encoded word": form(part("=?utf-8?Q?model?=", b"b")),
    "two names": form(part("x", b"b", extra='; name="model"')),
    "two dispositions": form(part("x", b"b", headers='Content-Disposition: form-data; name="model"\r\n')),
    "line feed in a header": form(part("x", b"b", headers="A: b\nC: d\r\n")),
    "folded header": form(part("x", b"b", headers="A: b\r\n c\r\n")),
    "header without a colon": form(part("x", b"b", headers="hello\r\n")),
    "header with a blank in its name": form(part("x", b"b", headers="A : b\r\n")),
    "header with letters of any kind": form(part("x", b"b", headers="A\xe9: b\r\n")),
    "NUL in a header": form(part("x\0", b"b")),
    "escaped quote in a file's name": form(part("file", b"b", extra='; filename="a\\"; name=\\"model"')),
    "malformed parameter": form(part("x", b"b", extra='; filename="a')),
    "model as a file": form(part("model", b"m", extra='; filename="m"')),
    "encoded model": form(part("model", b"bQ==", headers="Content-Transfer-Encoding: base64\r\n")),
    "no disposition": form(b"--" + B + b"\r\n\r\nx\r\n"),
    "another disposition": form(part("x", b"b").replace(b"form-data", b"attachment")),
    "no content": b"--" + B + b'\r\nContent-Disposition: form-data; name="x"\r\n\r\n--' + B + b"--\r\n",
    "content that begins with the boundary": form(part("x", b"--" + B)),
    "long headers": form(part("x" * MAX_HEADER_BYTES, b"")),
    "headers without an end": b"--" + B + b"\r\n" + b"a: b\r\n" * MAX_HEADER_BYTES,
    "many parts": form(*[part("x", b"")] * (MAX_PARTS + 1)),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("size", [0, 1])
def test_hostile_form_is_refused(name, size) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        scan(HOSTILE[name], size)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "raw",
    [
        form(*[part("x", b"")] * MAX_PARTS),
        b"\r\n" + GOOD,
        GOOD.removesuffix(b"\r\n"),
        form(part("x", b"a", extra='; filename="C:\\a b.wav"')),
        form(part("x", b"a", extra="; filename*=UTF-8''a%20b.wav")),
        form(part("x", b"a").replace(b'name="x"', b"NAME=x")),
        form(part("x", b"\r\n" + b"--" + B[:-1])),
    ],
)
def test_unusual_but_clear_form_is_taken(raw) -> None:
    assert scan(raw).ended is True


def test_long_field_is_not_read() -> None:
    long = form(part("user", b"u" * (MAX_FIELD_BYTES + 1)), part("model", b"m" * MAX_FIELD_BYTES))
    for size in (0, 7):
        fields = scan(long, size).fields
        assert (fields[b"user"].value, fields[b"model"].value) == (None, b"m" * MAX_FIELD_BYTES)


NAMES = st.sampled_from(["model", "user", "stream", "file", "x"])
VALUES = st.binary(max_size=40) | st.sampled_from(
    [b"\r\n--7d4a-", b"--" + B, b"\r", b"\n", b"\r\n\r\n", b"--"]
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.integers(min_value=1, max_value=60))
@example([("model", b"\r\n")], 1)
def test_any_form_is_read_as_it_was_written_or_refused(parts, size) -> None:
    """At every cut; and the standard library's parser reads the same fields."""
    raw = form(*[part(name, value) for name, value in parts])
    clear = all(b"--" + B not in value for _, value in parts)
    models = sum(name == "model" for name, _ in parts)
    if not clear or models > 1:
        with pytest.raises(InvalidRequestError):
            scan(raw, size)
        return
    fields = scan(raw, size).fields
    written = {name.encode(): value for name, value in parts if name.encode() in WANTED}
    assert {name: field.value for name, field in fields.items()} == written
    assert {name: raw[field.start : field.end] for name, field in fields.items()} == written


@given(st.binary(max_size=200), st.integers(min_value=1, max_value=50))
def test_any_bytes_are_read_or_refused(noise, size) -> None:
    for raw in (noise, GOOD[:100] + noise + GOOD[100:]):
        try:
            whole = scan(raw).fields
        except InvalidRequestError:
            with pytest.raises(InvalidRequestError):
                scan(raw, size)
        else:
            assert scan(raw, size).fields == whole


def test_another_parser_reads_the_same_model() -> None:
    head = b"Content-Type: multipart/form-data; boundary=" + B + b"\r\n\r\n"
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + GOOD)
    names = {one.get_param("name", header="content-disposition"): one for one in message.iter_parts()}
    start = GOOD.index(b"whisper")
    assert scan(GOOD).fields[b"model"] == Field(start, start + 7, b"whisper")
    assert names["model"].get_payload(decode=True) == b"whisper"


# --- the boundary ---


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data;charset=utf-8; Boundary="a b:c"', b"a b:c"),
        ("multipart/form-data; boundary=----WebKitFormBoundaryx;", b"----WebKitFormBoundaryx"),
    ],
)
def test_boundary_is_read(content_type, boundary) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data;",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="a',
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a\xe9",
        'multipart/form-data; boundary="a "',
        "multipart/form-data; boundary=" + "a" * 71,
        "multipart/mixed; boundary=a",
    ],
)
def test_unclear_boundary_is_refused(content_type) -> None:
    with pytest.raises(InvalidRequestError):
        boundary_of(content_type)
