from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from routing.egress import AddressRefusedError
from routing.guarded_transport import GuardedTransport
from tests.certificates import self_signed

pytestmark = pytest.mark.anyio


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.headers["host"].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def certificate(tmp_path):
    """A certificate for ``localhost`` alone, and its key, in one file."""
    return self_signed(tmp_path)


@pytest.fixture
def port(certificate):
    """An HTTPS server on 127.0.0.1."""
    server = HTTPServer(("127.0.0.1", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join(5)
    server.server_close()


def client(trust, **options):
    transport = GuardedTransport(
        verify=ssl.create_default_context(cafile=trust), trust_env=False, **{"deny_private": False, **options}
    )
    return httpx.AsyncClient(transport=transport, trust_env=False, timeout=5)


async def test_the_certificate_is_checked_for_the_name_though_the_address_is_called(port, certificate):
    async with client(certificate) as http:
        response = await http.get(f"https://localhost:{port}/")

    assert (response.status_code, response.text) == (200, f"localhost:{port}")


async def test_a_certificate_for_another_name_is_refused(port, certificate):
    async with client(certificate) as http:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await http.get(f"https://127.0.0.1:{port}/")


async def test_an_address_that_is_refused_is_not_connected_to(port, certificate):
    async with client(certificate, deny_private=True) as http:
        with pytest.raises(AddressRefusedError):
            await http.get(f"https://localhost:{port}/")


async def test_the_next_address_is_tried_when_one_does_not_answer(port, certificate, monkeypatch):
    """A name may lead to an address that is refused, and one where nobody listens, before the right one."""

    async def found(*args):
        return ["169.254.169.254", "127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr(GuardedTransport, "_addresses", found)
    async with client(certificate) as http:
        response = await http.get(f"https://localhost:{port}/")

    assert response.text == f"localhost:{port}"
