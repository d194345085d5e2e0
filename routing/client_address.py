"""Whose request it is: the client's address behind the proxies that are believed. Pure."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address


def client_address(peer: str, forwarded: str, trusted: str) -> str | None:
    """The client's address, of IPv6 the first address of its /64: who has one has all of them.

    ``peer`` is who connected, empty over a unix socket. Of ``forwarded``, the list in ``X-Forwarded-For``,
    counts what the proxies in ``trusted`` (networks with commas between, or ``*``: the nearest, whoever it
    is) have put at its end; the rest may be anybody's invention. None when nothing is known.
    """
    found, hops = _address(peer), forwarded.split(",")
    is_proxy = not peer or trusted == "*" or _is_among(found, trusted)
    while hops and is_proxy:
        hop = _address(hops.pop())
        if hop is None:
            break
        found, is_proxy = hop, trusted != "*" and _is_among(hop, trusted)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, 64), strict=False).network_address)
    return None if found is None else str(found)


def _address(text: str) -> Address | None:
    """The address, also with a port behind it; IPv4 in IPv6's clothes is IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_among(address: Address | None, networks: str) -> bool:
    return address is not None and any(address in one for one in _networks(networks))


@lru_cache(maxsize=4)
def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part) for part in text.split(",") if part not in {"", "*"})
