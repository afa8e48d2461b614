"""Which IP addresses belong to the public internet: global unicast addresses, embedded IPv4 addresses included.

The lists are copied from IANA's special-purpose registries. ``ipaddress.is_global`` is not used, because its answers
change between Python releases and it counts multicast as global.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IP = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # public in the registry, and the platform service of Azure
    )
)  # fmt: skip
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, including Teredo
        "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20",
    )
)  # fmt: skip
_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_ISATAP = 0x0000_5EFE
_ISATAP_BITS = 0xFDFF_FFFF  # all but the universal/local bit


def unmap_ipv4(address: IP) -> IP:
    """Convert an IPv4-mapped IPv6 address to the IPv4 address that the system connects to."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped if mapped is not None else address


def embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses to which a gateway may forward packets for this address.

    The forms are NAT64, 6to4, Teredo (server and client), ISATAP, IPv4-mapped and IPv4-compatible.
    """
    low = IPv4Address(int(address) & 0xFFFF_FFFF)
    candidates = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
    embedded = [candidate for candidate in candidates if candidate is not None]
    isatap = (int(address) >> 32) & _ISATAP_BITS == _ISATAP
    compatible = int(address) >> 32 == 0
    if address in _NAT64 or address in _LOCAL_NAT64 or isatap or compatible:
        embedded.append(low)
    return tuple(dict.fromkeys(embedded))


def is_public(address: IP) -> bool:
    """Return whether the address is a unicast address of the public internet."""
    address = unmap_ipv4(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    if not all(is_public(inner) for inner in embedded_ipv4(address)):
        return False
    if address in _NAT64:
        return True
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def parse_ip(text: str) -> IP | None:
    """Parse an IPv4 address of four decimal numbers, or an IPv6 address without a zone. Returns None otherwise."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if isinstance(address, IPv6Address) and address.scope_id is not None else address
