"""Which addresses the gateway calls: each socket's own is checked, so that no DNS answer gets around."""

from __future__ import annotations

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NEVER: Final = tuple(
    ipaddress.ip_network(block)
    for block in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32")
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class AddressRefusedError(OSError):
    """The address is one that the gateway never calls, or one that the operator's settings refuse."""


def check_address(host: str, *, deny_private: bool) -> None:
    """Refuse an address of link-local or cloud metadata; with ``deny_private`` all that is not public.

    Raises:
        AddressRefusedError: it is refused.
    """
    address = _plain(ipaddress.ip_address(host.partition("%")[0]))
    if any(address in block for block in _NEVER) or address.is_unspecified or address.is_multicast:
        raise AddressRefusedError("the address is link-local, of cloud metadata or of no host")
    if deny_private and not address.is_global:
        raise AddressRefusedError("the address is private, which GATEWAY_EGRESS_DENY_PRIVATE refuses")


def _plain(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, where there is one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
