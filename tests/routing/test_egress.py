from __future__ import annotations

import pytest

from routing.egress import AddressRefusedError, check_address


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "0.0.0.0",
        "224.0.0.1",
    ],
)
def test_check_address_refuses_metadata_and_what_is_no_host(host):
    with pytest.raises(AddressRefusedError):
        check_address(host, deny_private=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.7", "192.168.1.1", "::1", "fd12::1", "::ffff:10.0.0.1"]
)
def test_check_address_refuses_private_ones_only_when_asked_to(host):
    check_address(host, deny_private=False)
    with pytest.raises(AddressRefusedError):
        check_address(host, deny_private=True)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111"])
def test_check_address_lets_public_ones_pass(host):
    check_address(host, deny_private=True)
