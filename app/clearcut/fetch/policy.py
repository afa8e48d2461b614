"""The fetch policy: which hosts, ports and IP addresses may be reached, read from the settings."""

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
"""Allowed ports of URLs that are not on the allow-list. Other ports usually serve other protocols than HTTP."""
MAX_REDIRECTS = 3
MAX_HEAD_BYTES = 16 * 1024

ALLOWED_HOST = "a host that this service may reach"
PUBLIC_HOST = "a host with a public IP address"
"""Error text for private addresses and for host names that do not exist, so that callers cannot distinguish them."""


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of the allow-list or the deny-list: a host name or a network."""

    host: str = ""
    """Host name; with a leading dot all its subdomains. Empty for a network."""
    network: Network | None = None
    port: int | None = None
    """Port; None means ``PORTS`` on the allow-list and every port on the deny-list."""

    def matches_host(self, host: str) -> bool:
        """Return whether the entry names this host."""
        return bool(self.host) and (host.endswith(self.host) if self.host.startswith(".") else host == self.host)

    def contains(self, address: IP) -> bool:
        """Return whether the address is in the network of the entry."""
        return self.network is not None and address.version == self.network.version and address in self.network

    def allows_port(self, port: int) -> bool:
        """Return whether an entry of the allow-list applies to this port."""
        return port in PORTS if self.port is None else port == self.port


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """The rules for URLs. ``refusal`` applies them."""

    allow: tuple[HostRule, ...] = ()
    """Hosts and networks exempt from the rules about IP addresses, ports and https."""
    deny: tuple[HostRule, ...] = ()
    """Hosts and networks that are always refused."""
    only_allowed: bool = False
    """Whether all hosts that are not on the allow-list are refused."""
    http: bool = False
    """Whether http:// URLs are allowed for all hosts."""
    max_bytes: int = 20 * 1024 * 1024
    """Maximum bytes of a fetched file."""
    timeout_s: float = 15.0
    """Total timeout of a fetch in seconds: DNS, connections, redirects and body."""

    def refusal(self, scheme: str, host: str, port: int, addresses: Sequence[IP] | None) -> str | None:
        """Check a URL against the rules.

        Args:
            addresses: all IP addresses of the host; None before the host name is resolved. Without them, only URLs
                that no addresses could make valid are refused.

        Returns:
            The expected URL, for ``UrlRefused``; None if the URL is allowed.
        """
        if self._denied(host, port, addresses or ()):
            return ALLOWED_HOST
        allow = [entry for entry in self.allow if entry.allows_port(port)]
        host_listed = any(entry.matches_host(host) for entry in allow)
        if addresses is None:
            exempt = host_listed or any(entry.network is not None for entry in allow)
        else:
            listed = [any(entry.contains(unmap_ipv4(address)) for entry in allow) for address in addresses]
            exempt = host_listed or (bool(listed) and all(listed))
        if exempt:
            return None
        if self.only_allowed:
            return ALLOWED_HOST
        if scheme != "https" and not self.http:
            return "an https:// URL"
        if port not in PORTS:
            return f"a URL with port {', '.join(map(str, PORTS[:-1]))} or {PORTS[-1]}"
        if addresses is not None and not (addresses and all(map(is_public, addresses))):
            return PUBLIC_HOST
        return None

    def _denied(self, host: str, port: int, addresses: Sequence[IP]) -> bool:
        forms = [form for address in addresses for form in _forms(address)]
        entries = [entry for entry in self.deny if entry.port in (None, port)]
        return any(entry.matches_host(host) or any(map(entry.contains, forms)) for entry in entries)


def _forms(address: IP) -> tuple[IP, ...]:
    """Return the address and the IPv4 addresses embedded in it."""
    return (unmap_ipv4(address), *(embedded_ipv4(address) if isinstance(address, IPv6Address) else ()))


def fetch_policy(settings: Settings) -> FetchPolicy:
    """Create the policy from the settings.

    Raises:
        StartupError: an entry of a list is not a host, an IP address or a network. The error names the variable.
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
    for item in filter(None, (part.strip() for part in text.split(","))):
        if item == "*" and star:
            entries.append(HostRule("*"))
            continue
        parsed = _parse_entry(item)
        if not parsed:
            raise StartupError(
                f"{variable}: {item!r} is invalid. Expected a host, host:port, .domain, or a network such as "
                "10.0.0.0/8 or [fd00::]:8080"
            )
        entries += parsed
    return entries


def _parse_entry(text: str) -> list[HostRule]:
    """Parse one item of a list; empty if it is invalid. An IP address is both a host and a network of one address."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        pass
    else:
        single = network.num_addresses == 1 and "/" not in text
        return [HostRule(network=network), *([HostRule(str(network.network_address))] if single else [])]
    subdomains = text.startswith((".", "*."))
    try:
        url = parse_url(f"http://{text.removeprefix('*').removeprefix('.')}", "host")
    except UrlRefused:
        return []
    if url.target != "/" or "/" in text:
        return []
    port = url.port if text.endswith(f":{url.port}") else None
    literal = parse_ip(url.host)
    if literal is not None:
        return [HostRule(url.host, port=port), HostRule(network=ipaddress.ip_network(literal), port=port)]
    return [HostRule(f".{url.host}" if subdomains else url.host, port=port)]
