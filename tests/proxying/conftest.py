"""What tests of the data plane's sockets share."""

import ssl

import pytest

from tests.certificates import self_signed


@pytest.fixture
def certificate(tmp_path):
    """A server's certificate that nobody has signed but itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    return context
