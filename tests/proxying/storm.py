"""A provider that fails at random, and what a client makes of the answers."""

from __future__ import annotations

import json
import random
from collections import Counter

from tests.proxying import faults
from tests.proxying.gateway import Got
from tests.upstream import Received, Script, Upstream, stream_pieces


class Random(Upstream):
    """Fails at random with every fault of a request that reached it; else says the request's id."""

    def __init__(self, chance: float, seed: int) -> None:
        super().__init__()
        self.chance = chance
        self.random = random.Random(seed)
        self.seen: list[str] = []
        self.used: set[int] = set()
        self.calls: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.piece_delay_s = 0.0
        self.faults = {name: fault for name, fault in faults.make().items() if fault.calls}
        # A time that ends within the run.
        self.faults["429 in seconds"] = self.faults["429 to a date"] = self.faults["429 in ms"]

    def pick(self, connection: int, *, stream: bool) -> tuple[str, Script] | None:
        """A fault for this request, or none."""
        is_kept = connection in self.used
        self.used.add(connection)
        if self.random.random() >= self.chance:
            return None
        name = self.random.choice([*self.faults])
        script = self.faults[name].script(stream=stream)
        # A request whose kept connection is found closed is sent again: that is another test's.
        return None if script is None or (script.drop and is_kept) else (name, script)

    async def _answer(self, script: Script, request: Received, writer) -> bool:
        request_id = request.headers["x-client-request-id"]
        self.seen.append(request_id)
        self.calls[request_id] += 1
        self.requests.clear()
        stream = request.json.get("stream", False)
        if (picked := self.pick(request.connection, stream=stream)) is not None:
            self.failed[picked[0]] += 1
            script = picked[1]
            if script.status == 429:
                script.headers = {"retry-after-ms": "20"}
        elif stream:
            script = Script(pieces=stream_pieces(["of ", request_id]), piece_delay_s=self.piece_delay_s)
        else:
            choices = [{"index": 0, "message": {"content": f"of {request_id}"}, "finish_reason": "stop"}]
            script = Script(body=json.dumps({"choices": choices}).encode())
        return await super()._answer(script, request, writer)


def judge(request_id: str, stream: bool, got: Got) -> str:
    """``right``, ``honest`` (an error that says so), ``cut`` (an error event) or what is wrong."""
    if got.status != 200:
        return "honest" if got.complete and got.error["message"] else "bad error"
    if not stream:
        whole = got.complete and got.json["choices"][0]["message"]["content"] == f"of {request_id}"
        return "right" if whole else "wrong"
    if got.complete and got.body == b"".join(stream_pieces(["of ", request_id])):
        return "right"
    *_, last, end = got.body.split(b"\n\n")
    return "cut" if end == b"" and b'"error"' in last and got.complete else "wrong"
