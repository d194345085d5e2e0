"""Answers of the OpenAI format that are no chat: sound, transcripts as plain text, and their event streams.

Sources: OpenAI's API reference (audio, images) for the event names and content types; vLLM and Mistral name
some events otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxying import sse
from proxying.adapters.base import ClientBody, ParsedAnswer, StreamTranslator, Usage
from proxying.adapters.json_text import object_of
from proxying.adapters.openai_errors import error_object, read_error_in_answer
from proxying.adapters.openai_stream import refuse_bare_error
from proxying.adapters.openai_usage import read_usage
from proxying.adapters.relay import event_object
from proxying.errors import UpstreamError, UpstreamProtocolError, UpstreamStatusError
from routing.types import Endpoint

MEDIA_PATHS: Final[Mapping[Endpoint, str]] = {
    Endpoint.TRANSCRIPTIONS: "/audio/transcriptions",
    Endpoint.TRANSLATIONS: "/audio/translations",
    Endpoint.SPEECH: "/audio/speech",
    Endpoint.IMAGES: "/images/generations",
    Endpoint.IMAGE_EDITS: "/images/edits",
    Endpoint.IMAGE_VARIATIONS: "/images/variations",
}
EVENT_STREAM: Final = "text/event-stream"
_JSON: Final = "application/json"
_TRANSCRIPTS: Final = frozenset({Endpoint.TRANSCRIPTIONS, Endpoint.TRANSLATIONS})
# The last event of an answer, by its type. What has none of these ends with [DONE] or with its body.
_LAST: Final = frozenset(
    {
        "speech.audio.done",
        "transcript.text.done",
        "transcription.done",  # Mistral
        "image_generation.completed",
        "image_edit.completed",
    }
)
# A stream with events of these kinds is cut when it ends without the last one.
_FAMILIES: Final = ("speech.", "transcript.", "transcription.", "image_generation.", "image_edit.")


def media_type(headers: Mapping[str, str]) -> str:
    """The bare content type of an answer, in lower case; empty when there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def relay_of(request: ClientBody, headers: Mapping[str, str]) -> StreamTranslator | None:
    """What relays a 2xx answer with these headers piece by piece; None: it is to be read whole.

    Raises:
        UpstreamProtocolError: sound was asked for, and this is a page or a text.
    """
    kind = media_type(headers)
    if kind == EVENT_STREAM:
        return EventRelay(request)
    if request.endpoint is not Endpoint.SPEECH or kind == _JSON:
        return None
    if kind.startswith("text/"):
        raise UpstreamProtocolError(f"The provider answered with {kind} instead of sound.")
    return BytesRelay()


def parse_media(headers: Mapping[str, str], body: bytes, request: ClientBody) -> ParsedAnswer | None:
    """Check a whole answer for what is particular to these endpoints; None: a JSON object like all others.

    Raises:
        UpstreamStatusError: an error object in a 2xx answer.
        UpstreamProtocolError: it is not what was asked for.
    """
    if request.endpoint in _TRANSCRIPTS:
        return _transcript(headers, body)
    if request.endpoint is Endpoint.SPEECH:
        refuse_error(object_of(body))
        raise UpstreamProtocolError("The provider answered with JSON instead of sound.")
    if request.wants_stream:
        refuse_error(object_of(body))
        raise UpstreamProtocolError("The provider answered whole where a stream was asked for.")
    return None


def refuse_error(data: dict[str, Any]) -> None:
    """Find an error object in a 2xx answer.

    Raises:
        UpstreamStatusError: there is one.
    """
    error = error_object(data) if data.get("error") or data.get("object") == "error" else None
    if error is not None:
        raise UpstreamStatusError(read_error_in_answer(error))


def _transcript(headers: Mapping[str, str], body: bytes) -> ParsedAnswer:
    """A transcript is an object with ``text``, or plain text (also as subtitles) of any kind.

    Silence may be an empty text. Providers name subtitles as text/plain or by types of their own.
    """
    kind = media_type(headers)
    if kind != _JSON and kind:
        if kind == "text/html" or not (kind.startswith("text/") or kind == "application/x-subrip"):
            raise UpstreamProtocolError(f"The provider answered with {kind} instead of a transcript.")
        refuse_bare_error(body)
        return ParsedAnswer(body=body, usage=Usage(), content_type=headers["content-type"].encode("latin-1"))
    data = object_of(body)
    refuse_error(data)
    if not isinstance(data.get("text"), str):
        raise UpstreamProtocolError("The provider's answer has no 'text'.")
    usage = Usage()
    if isinstance(data.get("usage"), dict):
        read_usage(data["usage"], usage)
    return ParsedAnswer(body=body, usage=usage)


class BytesRelay:
    """Sound: bytes as they come. The end of the body is the only end it has."""

    def __init__(self) -> None:
        self.has_content = False
        self.finished = False
        self.usage = Usage()

    def feed(self, chunk: bytes) -> bytes:
        """Take a piece; it goes on as it is."""
        self.has_content = self.has_content or bool(chunk)
        return chunk

    def end(self) -> bytes:
        """The upstream body ended."""
        if not self.has_content:
            raise UpstreamProtocolError("The provider's answer is empty.")
        self.finished = True
        return b""


class EventRelay:
    """Events of transcripts, sound and pictures for a client of the same dialect, byte for byte."""

    def __init__(self, request: ClientBody) -> None:
        self.has_content = False
        self.finished = False
        self.usage = Usage()
        self._splitter = sse.Splitter()
        self._missing = _answers_of(request)
        self._is_known = False

    def feed(self, chunk: bytes) -> bytes:
        """Take a piece of the upstream body; answer the whole events of it."""
        kept: list[bytes] = []
        try:
            for block in self._splitter.feed(chunk):
                self._read(block)
                kept.append(block)
        except UpstreamError as error:
            error.partial = b"".join(kept)
            raise
        return b"".join(kept)

    def end(self) -> bytes:
        """The upstream body ended."""
        rest = self._splitter.rest()
        closing = b""
        if rest.strip():
            refuse_bare_error(rest)
            closing = rest.rstrip(b"\r\n") + b"\n\n"
            self._read(closing)
        if not self.has_content:
            raise UpstreamProtocolError("The provider's stream ended without any content.")
        if self._is_known and not self.finished:
            raise UpstreamProtocolError("The provider's stream ended before the answer was complete.")
        self.finished = True
        return closing

    def _read(self, block: bytes) -> None:
        event = sse.parse_event(block)
        if event is None:
            return
        if event.data == b"[DONE]":
            self.finished = self.has_content
            return
        data = event_object(event.data)
        if data.get("error") or event.name == b"error" or "error" in {data.get("object"), data.get("type")}:
            raise UpstreamStatusError(read_error_in_answer(error_object(data) or {"message": ""}))
        if isinstance(data.get("usage"), dict):
            read_usage(data["usage"], self.usage)
        self._advance(data.get("type") or event.name.decode(errors="replace"))

    def _advance(self, kind: object) -> None:
        self.has_content = True
        if not isinstance(kind, str):
            return
        self._is_known = self._is_known or kind.startswith(_FAMILIES)
        if kind in _LAST:
            self._missing -= 1
            self.finished = self._missing <= 0


def _answers_of(request: ClientBody) -> int:
    """How many answers the stream has: one, or the pictures that the client asked for."""
    count = request.data.get("n")
    if request.endpoint not in {Endpoint.IMAGES, Endpoint.IMAGE_EDITS} or isinstance(count, bool):
        return 1
    return max(count, 1) if isinstance(count, int) else 1
