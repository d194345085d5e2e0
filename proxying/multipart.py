"""Reads a multipart form as it passes by: where its fields stand, and that it means one thing only. Pure.

Nothing is decoded or rebuilt. The form goes on to a provider whose parser is not ours, so what parsers read
differently (bare line feeds, a name in two spellings, a boundary inside a line) is refused: the model that
was routed must be the model that the provider reads. RFC 7578, RFC 2046 5.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from proxying.errors import InvalidRequestError

MAX_PARTS: Final = 256
MAX_HEADER_BYTES: Final = 16_384
# Of a field that is read; one that has more is not.
MAX_FIELD_BYTES: Final = 8_192
_BLANK: Final = b"\r\n"
_END_OF_HEADERS: Final = b"\r\n\r\n"
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_PARAMETER: Final = re.compile(
    rb"\s*;\s*(?P<name>" + _TOKEN + rb')\s*=\s*(?:"(?P<quoted>(?:[^"\\\r\n]|\\.)*)"|(?P<plain>[^\s";]+))'
)
_HEADER_NAME: Final = re.compile(_TOKEN)
_UNPRINTABLE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PLAIN_ENCODINGS: Final = frozenset({b"", b"7bit", b"8bit", b"binary"})


@dataclass(frozen=True, slots=True)
class Field:
    """A field that is no file: where its value stands in the body, and the value (None: too long to read)."""

    start: int
    end: int
    value: bytes | None


@dataclass(slots=True)
class _Part:
    """The part that is being read. ``name`` is empty for one that is of no interest."""

    name: bytes
    start: int
    value: bytearray | None


def boundary_of(content_type: str) -> bytes:
    """The boundary that a request's content type names.

    Raises:
        InvalidRequestError: it is no multipart form, or names none, two, or one that is not allowed.
    """
    kind, _, rest = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        raise InvalidRequestError(
            "The body must be multipart/form-data, with its boundary in the content type."
        )
    raw = (";" + rest).encode("latin-1", "replace") if rest.strip() else b""
    found = [value for name, value in _parameters(raw, "the content type") if name == b"boundary"]
    if len(found) != 1:
        raise InvalidRequestError("The content type must name one boundary.")
    if not _BOUNDARY.fullmatch(found[0].decode("latin-1")):
        raise InvalidRequestError("The boundary in the content type is not a valid one.")
    return found[0]


class FormScanner:
    """Fed the body piece by piece; ``fields`` has the wanted ones that were seen whole so far.

    Attributes:
        fields: By name; of other fields than ``model`` the last counts.
        files: How many files have begun; ``files_before_model`` of them before the model.
        ended: Whether the closing boundary has come.
    """

    def __init__(self, boundary: bytes, wanted: frozenset[bytes]) -> None:
        self.fields: dict[bytes, Field] = {}
        self.files = 0
        self.files_before_model = 0
        self.ended = False
        self._wanted = wanted
        self._mark = b"--" + boundary
        # A line end before the body: then its first boundary is like all others.
        self._buffer = bytearray(_BLANK)
        self._offset = -len(_BLANK)  # of the buffer's first byte, in the body
        self._searched = 0
        self._parts = 0
        self._part: _Part | None = None
        self._in_headers = False

    def feed(self, piece: bytes) -> None:
        """Take the next piece, of any size.

        Raises:
            InvalidRequestError: the form is malformed, over a bound, or means different things to parsers.
        """
        self._buffer += piece
        while self._step():
            pass

    def end(self) -> None:
        """The body has ended.

        Raises:
            InvalidRequestError: the form has not.
        """
        if not self.ended:
            raise InvalidRequestError("The form ends before its closing boundary.")

    def _step(self) -> bool:
        """Get on by one part of the grammar; false: more is needed."""
        if self.ended:
            return self._skip_epilogue()
        return self._read_headers() if self._in_headers else self._read_content()

    def _read_content(self) -> bool:
        """Up to the next boundary: what precedes the first part, or a part's content."""
        mark = self._mark
        found = self._buffer.find(mark, max(self._searched - len(mark), 0))
        if found < 0:
            # What may be the beginning of a boundary stays, with the line end before it.
            self._pass_by(max(len(self._buffer) - len(mark) - 1, 0))
            self._searched = len(self._buffer)
            return False
        rest = found + len(mark)
        tail = bytes(self._buffer[rest : rest + 2])
        if len(tail) < 2:
            self._searched = rest
            return False
        # Some parsers take it for a boundary wherever it stands.
        if tail not in {b"--", _BLANK} or self._buffer[max(found - 2, 0) : found] != _BLANK:
            raise InvalidRequestError("The form has its boundary inside a line.")
        self._pass_by(found - len(_BLANK))
        self._finish_part()
        self._drop(len(_BLANK) + len(mark))
        if tail == b"--":
            self._drop(2)
            self.ended = True
        else:
            self._in_headers = (
                True  # the line's end stays: a part without headers has nothing before its blank
            )
        return True

    def _read_headers(self) -> bool:
        end = self._buffer.find(_END_OF_HEADERS, max(self._searched - 3, 0))
        if end < 0 and len(self._buffer) <= MAX_HEADER_BYTES:
            self._searched = len(self._buffer)
            return False
        if end < 0 or end > MAX_HEADER_BYTES:
            raise InvalidRequestError(
                f"A part of the form has more than {MAX_HEADER_BYTES} bytes of headers."
            )
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidRequestError(f"The form has more than {MAX_PARTS} parts.")
        head = bytes(self._buffer[len(_BLANK) : end])
        # The blank line's own end stays: an empty content has its boundary right there.
        self._drop(end + len(_BLANK))
        self._in_headers = False
        self._part = self._begin_part(head)
        return True

    def _begin_part(self, head: bytes) -> _Part:
        name, is_file, encoding = _read_part_headers(head)
        self.files += is_file
        if name == b"model":
            self._check_model(encoding, is_file=is_file)
            self.files_before_model = self.files
        keeps = name in self._wanted and not is_file
        start = self._offset + len(_BLANK)
        return _Part(name if keeps else b"", start, bytearray() if keeps else None)

    def _check_model(self, encoding: bytes, *, is_file: bool) -> None:
        if b"model" in self.fields:
            raise InvalidRequestError(
                "The form has more than one 'model'.", param="model", code="duplicate_model"
            )
        if is_file or encoding not in _PLAIN_ENCODINGS:
            raise InvalidRequestError("The field 'model' must be plain text.", param="model")

    def _pass_by(self, count: int) -> None:
        """Let go of content that was looked through; the part keeps it when it is wanted."""
        part = self._part
        if part is None:
            if self._buffer[:count].strip(_BLANK):
                raise InvalidRequestError("The form has something before its first boundary.")
        elif part.value is not None and count:
            part.value += self._buffer[:count]
            if len(part.value) > MAX_FIELD_BYTES + len(_BLANK):
                part.value = None
        self._drop(count)

    def _finish_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        if self._offset < part.start:
            raise InvalidRequestError("A part of the form has no content, not even an empty one.")
        if not part.name:
            return
        value = None if part.value is None else bytes(part.value[len(_BLANK) :])
        self.fields[part.name] = Field(part.start, self._offset, value)

    def _skip_epilogue(self) -> bool:
        if self._buffer.strip(_BLANK):
            raise InvalidRequestError("The form has something after its closing boundary.")
        self._drop(len(self._buffer))
        return False

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._offset += count
        self._searched = 0


def _read_part_headers(head: bytes) -> tuple[bytes, bool, bytes]:
    """The name of a part (empty when it has none), whether it is a file, and its transfer encoding."""
    disposition: bytes | None = None
    encoding = b""
    for line in head.split(_BLANK) if head else ():
        if _UNPRINTABLE.search(line) or line[:1] in {b" ", b"\t"}:
            raise InvalidRequestError("A part of the form has a malformed header.")
        key, colon, value = line.partition(b":")
        if not colon or not _HEADER_NAME.fullmatch(key):
            raise InvalidRequestError("A part of the form has a malformed header.")
        name = key.lower()
        if name == b"content-disposition":
            if disposition is not None:
                raise InvalidRequestError("A part of the form has two names.")
            disposition = value.strip()
        elif name == b"content-transfer-encoding":
            encoding = value.strip().lower()
    return (*_read_disposition(disposition or b""), encoding)


def _read_disposition(value: bytes) -> tuple[bytes, bool]:
    kind, semicolon, rest = value.partition(b";")
    parameters = _parameters(semicolon + rest, "a part's name")
    names = [text for name, text in parameters if name == b"name"]
    others = {name for name, _ in parameters}
    # Parsers disagree about escapes, encoded words and RFC 8187: the name could be another to the provider.
    is_odd = any(b"\\" in name or b"=?" in name for name in names)
    is_odd = is_odd or any(b'\\"' in text for _, text in parameters)
    if len(names) > 1 or is_odd or any(name.startswith(b"name*") for name in others):
        raise InvalidRequestError("A part of the form has a name that can be read in more than one way.")
    if kind.strip().lower() != b"form-data":
        raise InvalidRequestError("A part of the form is not form-data.")
    return names[0] if names else b"", any(name.startswith(b"filename") for name in others)


def _parameters(raw: bytes, where: str) -> list[tuple[bytes, bytes]]:
    """The parameters after a header's value, names in lower case."""
    found = []
    position = 0
    while position < len(raw):
        match = _PARAMETER.match(raw, position)
        if match is None:
            if raw[position:].strip(b" \t;"):
                raise InvalidRequestError(f"There is a malformed parameter in {where}.")
            break
        value = match["plain"] if match["quoted"] is None else match["quoted"]
        found.append((match["name"].lower(), value))
        position = match.end()
    return found
