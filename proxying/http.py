"""What a view sees of a request and hands back as an answer, whichever door the request came through.

Both doors (the fast lane and Django's own handler) satisfy ``GatewayRequest``; views return an ``Answer``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

Headers = list[tuple[bytes, bytes]]
CONTROLS: Final = r"[\x00-\x08\x0a-\x1f\x7f]"
"""A regular expression for what no header may hold."""


class AnswerCutError(Exception):
    """A stream's content broke off and cannot say so: the door is to cut the client's connection."""


class GatewayRequest(Protocol):
    """One client request.

    ``headers`` is keyed by lower-case name; of a repeated header the first counts, and one with control
    characters counts as absent. ``started`` is ``time.perf_counter()`` at arrival.
    """

    method: str
    path: str
    started: float

    @property
    def query_string(self) -> str:
        """What stands after the question mark, undecoded."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """See above."""
        ...

    async def read_body(self, limit: int) -> bytes:
        """Read the whole body.

        Raises:
            RequestTooLargeError: it has more than ``limit`` bytes.
            ClientGoneError: the client left before it was complete.
        """
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body piece by piece, unread; for bodies that are not to be held whole."""
        ...


@dataclass(slots=True)
class Answer:
    """What a view answers: ``body`` whole, or ``stream`` piece by piece (then ``body`` is empty).

    ``stream`` is closed (``aclose``) by the door on every path, the client's leaving included. When it raises
    ``AnswerCutError``, the answer must not end as if it were whole.
    """

    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    stream: AsyncGenerator[bytes, None] | None = None
