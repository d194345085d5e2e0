"""A fake provider of every wire format with ready-made answers, made by the scripts of ``tests/clients``.

Run as ``python -m bench.wires PORT``. An answer has ``WORDS`` words, about 1 KB; streamed an event for each.
"""

from __future__ import annotations

import asyncio
from typing import Final

from bench import upstream
from bench.upstream import CHUNKS, STREAM_HEAD, Upstream, framed, response
from tests.clients.mind import Asked, Said
from tests.clients.vendors import CHOSEN, VENDORS, WIRES
from tests.clients.wires.base import Wire
from tests.clients.wires.responses import Responses

WORDS: Final = CHUNKS
SAID: Final = Said("word " * WORDS, prompt_tokens=250, completion_tokens=WORDS)
# The end of an address (in small letters, without its query) and who answers there.
ADDRESSES: Final[dict[bytes, tuple[str, Wire]]] = {
    b"/chat/completions": ("openai", WIRES["openai"]),
    b"/messages": ("anthropic", WIRES["anthropic"]),
    b"/responses": ("openai", Responses()),
    b":generatecontent": ("gemini", WIRES["gemini"]),
    b":streamgeneratecontent": ("gemini", WIRES["gemini"]),
    b"/converse": ("bedrock", WIRES["bedrock"]),
    b"/converse-stream": ("bedrock", WIRES["bedrock"]),
}


def answers(wire: str, script: Wire) -> tuple[bytes, bytes]:
    """The whole and the streamed answer as bytes of HTTP."""
    model = VENDORS[CHOSEN[wire]].model
    whole = script.write(SAID, Asked(model))
    streamed = script.write(SAID, Asked(model, stream=True))
    pieces = b"".join(framed(piece) for piece in streamed.pieces or ())
    kind = streamed.headers.get("content-type", "text/event-stream").encode()
    return response(whole.body), STREAM_HEAD.replace(b"text/event-stream", kind) + pieces + b"0\r\n\r\n"


READY: Final = {end: answers(*found) for end, found in ADDRESSES.items()}


class Wires(Upstream):
    """One connection."""

    def answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get "):
            super().answer(head, body)
            return
        assert self.transport is not None
        path = head.split(b" ", 2)[1].partition(b"?")[0]
        whole, burst = next(ready for end, ready in READY.items() if path.endswith(end))
        is_streamed = b"stream" in path or b'"stream":true' in body
        Upstream.requests += 1
        Upstream.chunks += WORDS if is_streamed else 0
        self.transport.write(burst if is_streamed else whole)


if __name__ == "__main__":
    asyncio.run(upstream.main(Wires))
