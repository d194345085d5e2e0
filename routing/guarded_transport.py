"""The egress rules for httpx: the address that is connected to is checked, whatever a name resolves to."""

from __future__ import annotations

import asyncio
import socket
import ssl

import httpx

from routing.egress import AddressRefusedError, check_address


class GuardedTransport(httpx.AsyncHTTPTransport):
    """Looks a name up itself and connects to addresses that the gateway may call, one after the other."""

    def __init__(self, *, deny_private: bool, verify: ssl.SSLContext, trust_env: bool) -> None:
        super().__init__(verify=verify, trust_env=trust_env)
        self._deny_private = deny_private

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to the first allowed address that takes the connection.

        Raises:
            AddressRefusedError: the host has no other addresses.
        """
        name = request.url.raw_host.decode("ascii")
        request.extensions = {**request.extensions, "sni_hostname": name}
        problem: Exception | None = None
        for address in await self._addresses(name, request.url.port):
            try:
                check_address(address, deny_private=self._deny_private)
                request.url = request.url.copy_with(host=address)
                return await super().handle_async_request(request)
            except (AddressRefusedError, httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = error
        raise problem or httpx.ConnectError("its host name has no address")

    async def _addresses(self, host: str, port: int | None) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise httpx.ConnectError("its host name is not known") from error
        return list(dict.fromkeys(str(where[0]) for *_, where in found))
