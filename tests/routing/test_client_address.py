import pytest

from routing.client_address import client_address

PROXY = "10.0.0.1"
NEAR = "127.0.0.1,10.0.0.0/8"


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "found"),
    [
        # Nobody in front, or somebody who is not believed.
        ("203.0.113.7", "", NEAR, "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", NEAR, "203.0.113.7"),
        (PROXY, "198.51.100.1", "", PROXY),
        # One proxy, which adds to what the client has sent.
        (PROXY, "198.51.100.1", NEAR, "198.51.100.1"),
        (PROXY, "1.1.1.1, 198.51.100.1", NEAR, "198.51.100.1"),
        (PROXY, "198.51.100.1:4711", NEAR, "198.51.100.1"),
        # Two of them.
        (PROXY, "1.1.1.1, 198.51.100.1, 10.2.2.2", NEAR, "198.51.100.1"),
        # Nothing to be read in it.
        (PROXY, "", NEAR, PROXY),
        (PROXY, "unknown", NEAR, PROXY),
        (PROXY, "198.51.100.1, unknown", NEAR, PROXY),
        # Whoever connects is believed, and only of whom it heard itself.
        ("203.0.113.7", "1.1.1.1, 198.51.100.1", "*", "198.51.100.1"),
        # Over a unix socket nobody but the proxy connects.
        ("", "1.1.1.1, 198.51.100.1", NEAR, "198.51.100.1"),
        ("", "", NEAR, None),
        # Of IPv6 a client has a network.
        ("2001:db8:1:2:3:4:5:6", "", NEAR, "2001:db8:1:2::"),
        (PROXY, "[2001:db8:1:2::9]:4711", NEAR, "2001:db8:1:2::"),
        ("::ffff:10.0.0.1", "198.51.100.1", NEAR, "198.51.100.1"),
    ],
)
def test_the_client_is_whom_believed_proxies_name(peer, forwarded, trusted, found):
    assert client_address(peer, forwarded, trusted) == found
