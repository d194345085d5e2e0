"""Scripted providers over real sockets: each speaks one wire, checks the credential, has the same mind."""

from __future__ import annotations

import asyncio
import json

from tests.clients.mind import RefusedError, answer
from tests.clients.vendors import WIRES
from tests.clients.wires.base import Reply, Vendor
from tests.clients.wires.responses import Responses
from tests.upstream import Received, Script, Upstream

KEY = "sk-of-the-vendor-0123456789"


class Provider(Upstream):
    """One vendor. ``complaints`` are the refusals it has given."""

    def __init__(self, wire: str, vendor: Vendor) -> None:
        super().__init__()
        self._wire = WIRES[wire]
        self._vendor = vendor
        self.complaints: list[str] = []

    async def _answer(self, script: Script, request: Received, writer: asyncio.StreamWriter) -> bool:
        reply = self._reply(request)
        said = Script(
            status=reply.status, headers=reply.headers, body=reply.body or None, pieces=reply.pieces
        )
        return await super()._answer(said, request, writer)

    def _reply(self, request: Received) -> Reply:
        header, scheme = self._vendor.credential
        if request.headers.get(header) != scheme + KEY:
            self.complaints.append(f"no credential in {header}")
            return Reply(b'{"error":{"message":"No such key."}}', status=401)
        wire = Responses() if request.path.endswith("/responses") else self._wire
        try:
            asked = wire.read(request.path, request.headers, request.body, self._vendor)
            if request.path.endswith(("/embeddings", ":batchEmbedContents")):
                return wire.embed(asked)
            said = answer(asked)
            if request.path.endswith("/count_tokens"):
                return wire.count(said)
            return wire.write(said, asked)
        except RefusedError as error:
            self.complaints.append(f"{error}: {_short(request.body)}")
            return wire.refusal(error)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            self.complaints.append(f"{error!r}: {_short(request.body)}")
            return Reply(json.dumps({"error": {"message": repr(error)}}).encode(), status=400)


def _short(body: bytes) -> str:
    return body[:2000].decode(errors="replace")
