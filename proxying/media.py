"""One upstream call for sound, pictures or a transcript: the answer's head says how it is relayed."""

from __future__ import annotations

from typing import Final

from proxying.adapters.base import ClientBody, Target, UpstreamRequest
from proxying.adapters.openai_media import BytesRelay, relay_of
from proxying.attempt import STREAM_HEADERS, Call, Response
from proxying.errors import GatewayError
from proxying.http import Answer, AnswerCutError, Headers

_UNBUFFERED: Final = (b"x-accel-buffering", b"no")
_ANY_BYTES: Final = "application/octet-stream"


class MediaCall(Call):
    """See ``Call``. Sound goes on piece by piece with its own content type; it has no words for an error."""

    __slots__ = ("is_sound",)

    async def whole(self, request: UpstreamRequest, body: ClientBody, deadline: float) -> Answer:
        """The answer, whole as a rule; a transcript may come as events whatever was seen of the request."""
        return await self._answer(await self._send(request, deadline), body)

    async def stream(
        self, request: UpstreamRequest, body: ClientBody, target: Target, deadline: float
    ) -> Answer:
        """The answer, piece by piece as a rule; its first bytes are in hand."""
        return await self._answer(await self._send(request, deadline), body)

    async def _answer(self, response: Response, body: ClientBody) -> Answer:
        translator = relay_of(body, response.headers)
        self.exchange.streamed = translator is not None
        self.is_sound = isinstance(translator, BytesRelay)
        if translator is None:
            return await self._whole(response, body)
        headers = list(STREAM_HEADERS)
        if self.is_sound:
            headers = _sound_headers(response)
        return await self._begun(response, translator, body.dialect, headers)

    def _told(self, error: GatewayError, dialect: str) -> bytes:
        """Sound that broke off must not end as if it were whole."""
        if self.is_sound:
            raise AnswerCutError(error.message) from error
        return super()._told(error, dialect)


def _sound_headers(response: Response) -> Headers:
    kind = response.headers.get("content-type", _ANY_BYTES)
    return [(b"content-type", kind.encode("latin-1", "replace")), _UNBUFFERED]
