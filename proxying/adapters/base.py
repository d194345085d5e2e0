"""What an adapter is: four pure steps between a client's dialect and a provider's wire format.

An adapter never logs, sleeps, retries or reads settings. ``ADAPTERS`` in ``proxying.adapters`` has one line
for each wire format; kinds (``routing.kinds``) name the one they speak.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from proxying.errors import ErrorFacts, GatewayError
from routing.types import Endpoint, Provider

# Looking up a member of an enumeration costs more than everything else that a question like this does.
_SPEECH: Final = Endpoint.SPEECH


class Outgoing(Protocol):
    """A body that is sent piece by piece; see ``proxying.upload``."""

    @property
    def length(self) -> int | None:
        """Its bytes; None when nobody knows."""
        ...

    @property
    def can_be_sent(self) -> bool:
        """Whether it is here from its start and good, as far as it was read."""
        ...

    @property
    def waits(self) -> bool:
        """Whether the client is waited for."""
        ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body from its start; raises the ``GatewayError`` of a client that sends no good one."""
        ...

    def halt(self) -> None:
        """No more of it is wanted."""
        ...


class Form(Protocol):
    """A client's multipart form; see ``proxying.upload``."""

    content_type: str

    def with_model(self, model: str) -> bytes | Outgoing:
        """The form with another model in the place of the client's, every other byte as it was."""
        ...

    @property
    def can_be_sent(self) -> bool:
        """Whether another provider could be sent the same."""
        ...

    @property
    def waited_s(self) -> float:
        """How long the client was waited for before the form could be routed."""
        ...

    def let_go(self) -> None:
        """Somebody serves: no copy is needed for another provider."""
        ...

    def late(self) -> GatewayError | None:
        """The error of a deadline that has passed, when it is the client that was waited for."""
        ...

    async def close(self) -> None:
        """Nobody wants it any more."""
        ...


@dataclass(slots=True)
class ClientBody:
    """A client's JSON request: the bytes as sent, and the top-level object parsed from them.

    ``raw`` is what survives untouched; ``data`` is for reading. ``dialect`` is what the client speaks:
    ``openai``, ``anthropic`` or ``responses``. With a ``form`` ``raw`` is empty, and ``data`` has its fields.
    ``is_plain`` says that ``proxying.splice.is_plain`` holds for ``raw``; what changes ``raw`` leaves it out.
    """

    raw: bytes
    data: dict[str, Any]
    endpoint: Endpoint
    dialect: str = "openai"
    form: Form | None = None
    is_plain: bool = field(default=False, compare=False)

    @property
    def wants_stream(self) -> bool:
        """Whether the client asked for a stream; sound always is one."""
        return self.data.get("stream") is True or self.endpoint is _SPEECH

    @property
    def goes_on_from_stored(self) -> bool:
        """Whether the request goes on from what one provider has stored."""
        return self.dialect == "responses" and any(self.data.get(name) is not None for name in _STORED)


_STORED: Final = ("previous_response_id", "conversation")


@dataclass(frozen=True, slots=True)
class Target:
    """The upstream of one attempt."""

    provider: Provider
    model: str


@dataclass(slots=True)
class UpstreamRequest:
    """One HTTP request for the client to send. ``headers`` hold the credential: never logged.

    With an ``upload`` that is the body.
    """

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    upload: Outgoing | None = field(default=None, repr=False)


# More than any request has; sums of a few such counts still fit a database's 32-bit column.
MOST_TOKENS: Final = 500_000_000


def token_count(value: object) -> int | None:
    """A token count as a provider sent it; None for what is no count, and for more than anybody counts."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
        return value
    return None


@dataclass(slots=True)
class Usage:
    """Tokens of one answer; None where the provider does not say. Prompt includes cached tokens.

    ``pieces`` are the content events of a stream so far: about a token each. They stand in for the completion
    tokens of a stream that broke off before the provider counted.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    pieces: int = field(default=0, compare=False)

    def broke_off(self) -> None:
        """The answer will not be complete: count what was seen of it."""
        if self.completion_tokens is None and self.pieces:
            self.completion_tokens = self.pieces


@dataclass(slots=True)
class ParsedAnswer:
    """A whole answer, in the client's dialect."""

    body: bytes
    usage: Usage
    content_type: bytes = b"application/json"


@dataclass(slots=True)
class Progress:
    """How far a stream of numbered events has come: what an error event must go on from.

    ``response`` is the answer as it was announced; empty before that.
    """

    next_number: int = 0
    response: dict[str, Any] = field(default_factory=dict)


class StreamTranslator(Protocol):
    """A fresh object per stream: fed upstream bytes, it yields bytes in the client's dialect.

    ``has_content`` turns true with the first content event (text, reasoning, tool call, refusal, audio, or
    a finish). ``finished`` turns true when the answer is complete as the wire format defines it.
    """

    @property
    def has_content(self) -> bool:
        """Whether the first content event has come."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the answer is complete."""
        ...

    @property
    def usage(self) -> Usage:
        """The tokens so far: one object, filled as the stream goes."""
        ...

    def feed(self, chunk: bytes) -> bytes:
        """Take a piece of the upstream body of any size; answer what may go to the client now.

        Raises:
            UpstreamStatusError: an error event of the provider.
            UpstreamProtocolError: an event that is not of the format, or one over the bound.
            Both carry in ``partial`` what of this chunk came before the fault.
        """
        ...

    def end(self) -> bytes:
        """The upstream body ended; answer the closing bytes (``[DONE]`` if it lacked).

        Raises:
            UpstreamProtocolError: it ended before the answer was complete.
        """
        ...


class Adapter(Protocol):
    """One wire format."""

    def build_request(self, body: ClientBody, target: Target, headers: Mapping[str, str]) -> UpstreamRequest:
        """Build the upstream request for a client's body.

        ``headers`` are the client's, lower-case names; what of them goes upstream is the adapter's choice.

        Raises:
            InvalidRequestError: the body says something that this wire format cannot express.
        """
        ...

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, request: ClientBody
    ) -> ParsedAnswer:
        """Read a whole 2xx answer.

        Raises:
            UpstreamStatusError: an error object in a 2xx answer.
            UpstreamProtocolError: it is empty, not JSON, or not of the endpoint's shape.
        """
        ...

    def stream(self, request: ClientBody, target: Target) -> StreamTranslator:
        """A fresh translator for one streamed answer."""
        ...

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
        """Read a non-2xx answer. ``now`` (Unix seconds) is for Retry-After dates. Never raises."""
        ...
