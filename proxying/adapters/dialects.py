"""Serves clients of several dialects over one wire format: its own straight, others by translation.

A wire's adapter knows only its own dialect. A ``Translation`` rewrites a client's request into that dialect
and the answer back; whole and streamed answers come out of the native adapter first, checked and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from proxying import sse
from proxying.adapters.base import (
    Adapter,
    ClientBody,
    ParsedAnswer,
    Progress,
    StreamTranslator,
    Target,
    UpstreamRequest,
    Usage,
)
from proxying.errors import ErrorFacts, InvalidRequestError, UpstreamError


class EventWriter(Protocol):
    """Rewrites one stream, event by event; a fresh object per stream."""

    def write(self, event: sse.Event) -> bytes:
        """The client's bytes for one event of the wire's own dialect; often none or several events."""
        ...


class Translation(Protocol):
    """One client dialect, written in a wire's own dialect and back."""

    def request(self, body: ClientBody, target: Target, headers: Mapping[str, str]) -> ClientBody:
        """Rewrite a request.

        Raises:
            InvalidRequestError: it says something that the wire cannot express; ``param`` names it.
        """
        ...

    def outline(self, body: ClientBody) -> ClientBody:
        """What the native adapter must know of the rewritten request to read its answer."""
        ...

    def headers(self, client: Mapping[str, str]) -> Mapping[str, str]:
        """What of the client's headers means something to the wire's own dialect."""
        ...

    def field(self, native: str) -> str:
        """The client's name for a field of the wire's own dialect that the wire had to refuse."""
        ...

    def answer(self, answer: bytes, body: ClientBody) -> bytes:
        """Rewrite a whole answer, which is of the native shape."""
        ...

    def writer(self, body: ClientBody) -> EventWriter:
        """A fresh writer for one stream."""
        ...


@dataclass(frozen=True, slots=True)
class ByDialect:
    """An adapter that asks the native one, through a translation where the client speaks another dialect."""

    native: Adapter
    translations: Mapping[str, Translation]

    def build_request(self, body: ClientBody, target: Target, headers: Mapping[str, str]) -> UpstreamRequest:
        """See ``Adapter.build_request``."""
        translation = self.translations.get(body.dialect)
        if translation is None:
            return self.native.build_request(body, target, headers)
        kept = translation.headers(headers)
        rewritten = translation.request(body, target, headers)
        try:
            return self.native.build_request(rewritten, target, kept)
        except InvalidRequestError as error:
            if error.param:
                name = translation.field(error.param)
                error.message = error.message.replace(f"{error.param}: ", f"{name}: ", 1)
                error.param = name
            raise

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, request: ClientBody
    ) -> ParsedAnswer:
        """See ``Adapter.parse_response``."""
        translation = self.translations.get(request.dialect)
        if translation is None:
            return self.native.parse_response(status, headers, body, request)
        answer = self.native.parse_response(status, headers, body, translation.outline(request))
        return replace(answer, body=translation.answer(answer.body, request))

    def stream(self, request: ClientBody, target: Target) -> StreamTranslator:
        """See ``Adapter.stream``."""
        translation = self.translations.get(request.dialect)
        if translation is None:
            return self.native.stream(request, target)
        native = self.native.stream(translation.outline(request), target)
        return TranslatedStream(native, translation.writer(request))

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
        """See ``Adapter.parse_error``: facts have no dialect."""
        return self.native.parse_error(status, headers, body, now)


class TranslatedStream:
    """A native stream whose events are rewritten for the client."""

    def __init__(self, native: StreamTranslator, writer: EventWriter) -> None:
        self._native = native
        self._writer = writer
        self._splitter = sse.Splitter()

    @property
    def has_content(self) -> bool:
        """Whether the first content event has come."""
        return self._native.has_content

    @property
    def finished(self) -> bool:
        """Whether the answer is complete."""
        return self._native.finished

    @property
    def usage(self) -> Usage:
        """The tokens so far."""
        return self._native.usage

    @property
    def progress(self) -> Progress | None:
        """How far the client's stream has come, where its events are numbered."""
        return getattr(self._writer, "progress", None)

    def feed(self, chunk: bytes) -> bytes:
        """Take a piece of the upstream body; answer what may go to the client now."""
        try:
            relayed = self._native.feed(chunk)
        except UpstreamError as error:
            error.partial = self._rewrite(error.partial)
            raise
        return self._rewrite(relayed) if relayed else b""

    def end(self) -> bytes:
        """The upstream body ended; answer the closing bytes."""
        return self._rewrite(self._native.end())

    def _rewrite(self, relayed: bytes) -> bytes:
        # The native stream lets whole blocks through only.
        events = map(sse.parse_event, self._splitter.feed(relayed))
        return b"".join([self._writer.write(event) for event in events if event is not None])


def refuse(param: str, message: str) -> InvalidRequestError:
    """The refusal of something that the wire cannot express."""
    return InvalidRequestError(f"{param}: {message}", param=param, code="unsupported_value")
