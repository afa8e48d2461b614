"""Which IP addresses are the public internet's: unicast, global, and so are the IPv4 addresses inside them.

The lists are IANA's special-purpose registries, written out: what ``ipaddress.is_global`` knows of them changes from
one Python release to the next, and it takes multicast for global.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IP = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC_4 = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # public by registry, and on one large cloud the door to the machine's own metadata
    )
)  # fmt: skip
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20",
    )
)  # fmt: skip
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = 0x0000_5EFE
_ISATAP_BITS = 0xFDFF_FFFF  # all but the universal/local bit


def unmap_ipv4(address: IP) -> IP:
    """An IPv4-mapped address as the IPv4 address that the system will connect to."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped if mapped is not None else address


def embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """IPv4 addresses that a gateway may send this one's packets on to: NAT64, 6to4, Teredo (server and client),
    ISATAP, IPv4-mapped and IPv4-compatible."""
    low = IPv4Address(int(address) & 0xFFFF_FFFF)
    found = [each for each in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if each is not None]
    local_nat64 = address in IPv6Network("64:ff9b:1::/48")
    isatap = (int(address) >> 32) & _ISATAP_BITS == _ISATAP
    compatible = int(address) >> 32 == 0
    if address in _NAT64 or local_nat64 or isatap or compatible:
        found.append(low)
    return tuple(dict.fromkeys(found))


def is_public(address: IP) -> bool:
    """Whether anyone on the internet could reach this address, and nobody but its holder is meant by it."""
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
    """``text`` as an address if it is one in its usual form: four decimal numbers, or IPv6 without a zone."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if isinstance(found, IPv6Address) and found.scope_id is not None else found
