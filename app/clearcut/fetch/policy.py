"""What may be fetched, and from where: the settings, read once."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from clearcut.errors import StartupError, UrlRefused
from clearcut.settings import Settings

from .ip_ranges import IP, Network, embedded_ipv4, is_public, parse_ip, unmap_ipv4
from .url import parse_url

PORTS = (80, 443, 8080, 8443)
"""What an address may name unless it is allow-listed: anything else speaks another protocol more often than HTTP."""
MAX_REDIRECTS = 3
MAX_HEAD_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of the allow-list or of the deny-list."""

    host: str = ""
    """A name; with a dot in front all names below it. Empty where ``network`` is given."""
    network: Network | None = None
    port: int | None = None
    """None: on the allow-list any of the usual ports, on the deny-list every port."""

    def names(self, host: str) -> bool:
        return bool(self.host) and (host.endswith(self.host) if self.host.startswith(".") else host == self.host)

    def holds(self, address: IP) -> bool:
        return self.network is not None and address.version == self.network.version and address in self.network

    def allows(self, port: int) -> bool:
        return port in PORTS if self.port is None else port == self.port


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    allow: tuple[HostRule, ...] = ()
    """Exempt from the rules on addresses, ports and https."""
    deny: tuple[HostRule, ...] = ()
    """Refused, whatever else holds."""
    only_allowed: bool = False
    """Whether everything that is not on the allow-list is refused."""
    http: bool = False
    """Whether plain http is taken from anywhere."""
    max_bytes: int = 20 * 1024 * 1024
    timeout_s: float = 15.0
    """For a fetch as a whole: names, connections, redirects and bytes."""

    def refusal(self, scheme: str, host: str, port: int, addresses: Sequence[IP] | None) -> str | None:
        """Why this may not be reached; None when it may. ``addresses``: all that the name has, None before it is
        resolved, when only what is certain already is refused."""
        if self._denied(host, port, addresses or ()):
            return "a host that this service may reach"
        allow = [entry for entry in self.allow if entry.allows(port)]
        named = any(entry.names(host) for entry in allow)
        if addresses is None:
            exempt = named or any(entry.network is not None for entry in allow)
        else:
            held = [any(entry.holds(unmap_ipv4(address)) for entry in allow) for address in addresses]
            exempt = named or (bool(held) and all(held))
        if exempt:
            return None
        if self.only_allowed:
            return "a host that this service may reach"
        if scheme != "https" and not self.http:
            return "an https:// address"
        if port not in PORTS:
            return f"an address on port {', '.join(map(str, PORTS[:-1]))} or {PORTS[-1]}"
        if addresses is not None and not (addresses and all(map(is_public, addresses))):
            return NOT_PUBLIC
        return None

    def _denied(self, host: str, port: int, addresses: Sequence[IP]) -> bool:
        forms = [form for address in addresses for form in _forms(address)]
        return any(
            entry.names(host) or any(map(entry.holds, forms)) for entry in self.deny if entry.port in (None, port)
        )


NOT_PUBLIC = "a host with a public IP address"
"""Said of a private address and of a name that does not exist alike: the difference is nobody's business."""


def _forms(address: IP) -> tuple[IP, ...]:
    return (unmap_ipv4(address), *(embedded_ipv4(address) if isinstance(address, IPv6Address) else ()))


def fetch_policy(settings: Settings) -> FetchPolicy:
    """The rules that the settings ask for.

    Raises:
        StartupError: an entry of a list is no host, address or network; names the variable.
    """
    denied = _entries("CLEARCUT_FETCH_DENY", settings.fetch_deny, star=True)
    return FetchPolicy(
        allow=tuple(_entries("CLEARCUT_FETCH_ALLOW", settings.fetch_allow)),
        deny=tuple(entry for entry in denied if entry.host != "*"),
        only_allowed=any(entry.host == "*" for entry in denied),
        http=settings.fetch_http,
        max_bytes=settings.max_bytes,
        timeout_s=settings.fetch_timeout_s,
    )


def _entries(variable: str, text: str, *, star: bool = False) -> list[HostRule]:
    entries: list[HostRule] = []
    for word in filter(None, (each.strip() for each in text.split(","))):
        if word == "*" and star:
            entries.append(HostRule("*"))
            continue
        found = _entry(word)
        if not found:
            raise StartupError(
                f"{variable}: {word!r} is no host, host:port, .domain or network such as 10.0.0.0/8 or [fd00::]:8080"
            )
        entries += found
    return entries


def _entry(word: str) -> list[HostRule]:
    """The entries of one word: an IP address is a host and a network of one."""
    try:
        network = ipaddress.ip_network(word)
    except ValueError:
        pass
    else:
        alone = network.num_addresses == 1 and "/" not in word
        return [HostRule(network=network), *([HostRule(str(network.network_address))] if alone else [])]
    below = word.startswith((".", "*."))
    try:
        found = parse_url(f"http://{word.removeprefix('*').removeprefix('.')}", "host")
    except UrlRefused:
        return []
    if found.target != "/" or "/" in word:
        return []
    port = found.port if word.endswith(f":{found.port}") else None
    literal = parse_ip(found.host)
    if literal is not None:
        return [HostRule(found.host, port=port), HostRule(network=ipaddress.ip_network(literal), port=port)]
    return [HostRule(f".{found.host}" if below else found.host, port=port)]
