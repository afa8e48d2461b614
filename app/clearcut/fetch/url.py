"""An address as text becomes its parts, or is refused: one reading of it, used for the check and for the connection.

Address tricks live off two programs reading one text differently. Here the text is taken apart once, by a grammar that
is narrower than the standards; what connects is handed the parts and never sees the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from clearcut.errors import UrlRefused

from .ip_ranges import IP, parse_ip, unmap_ipv4

MAX_CHARS = 8000
DEFAULT_PORTS = {"http": 80, "https": 443}

_PARTS = re.compile(r"(?i:(https?)):(?://)([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_TARGET_SAFE = "/?:@!$&'()*+,;=-._~%[]|^`{}\"<>"
EXPECTED = "a URL such as https://example.com/photo.jpg"


@dataclass(frozen=True, slots=True)
class ParsedUrl:
    scheme: str
    host: str
    """Lower case ASCII without a final dot; an IPv6 address has no brackets here."""
    port: int
    target: str
    """Path and query, ASCII, without the fragment."""

    @property
    def literal(self) -> IP | None:
        """The host where it is an IP address; an IPv4-mapped one as IPv4."""
        found = parse_ip(self.host)
        return unmap_ipv4(found) if found is not None else None

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str, role: str) -> ParsedUrl:
    """The parts of an http or https address.

    Raises:
        UrlRefused: it is no such address, or one that is written in a way that programs read differently.
    """

    def refuse(why: str) -> UrlRefused:
        return UrlRefused(role, f"{EXPECTED}; {why}")

    if len(text) > MAX_CHARS:
        raise refuse(f"at most {MAX_CHARS} characters")
    if any(ord(sign) <= 0x20 or ord(sign) == 0x7F or sign == "\\" or not sign.isprintable() for sign in text):
        raise refuse("no spaces, control characters or backslashes; percent-encode them")
    found = _PARTS.fullmatch(text)
    if found is None:
        raise refuse("beginning with https://")
    scheme, authority, path, query = found[1].lower(), found[2], found[3], found[4] or ""
    if "@" in authority:
        raise refuse("without a user name or password")
    host, port = _split(authority)
    if host is None:
        raise refuse("with a host name")
    name = _host(host)
    if name is None:
        raise refuse("the host must be a name, an IPv4 address as four decimal numbers, or an IPv6 address in brackets")
    if port is None:
        number = DEFAULT_PORTS[scheme]
    elif port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536:
        number = int(port)
    else:
        raise refuse("the port must be a number from 1 to 65535")
    return ParsedUrl(scheme, name, number, quote((path or "/") + query, safe=_TARGET_SAFE))


def resolve_redirect(base: ParsedUrl, location: str, role: str) -> ParsedUrl:
    """Where a redirect leads. Raises as ``parse_url``."""
    if any(ord(sign) <= 0x20 or sign == "\\" for sign in location):
        raise UrlRefused(role, f"{EXPECTED}; it redirects to an invalid URL")
    return parse_url(urljoin(str(base), location), role)


def _split(authority: str) -> tuple[str | None, str | None]:
    """(host, port); an IPv6 host keeps its brackets."""
    if authority.startswith("["):
        inner, bracket, rest = authority.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None, None
        return f"{inner}]", rest[1:] if rest else None
    host, colon, port = authority.partition(":")
    return host or None, port if colon else None


def _host(text: str) -> str | None:
    """The host in its one form; None where it has none."""
    if text.startswith("["):
        literal = parse_ip(text[1:-1])
        return str(literal) if literal is not None and literal.version == 6 else None
    name = text.lower() if text.isascii() else _ascii(text)
    name = name[:-1] if name.endswith(".") else name
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    if _NUMERIC.fullmatch(labels[-1]):  # the resolver would take it for an IPv4 address, in whatever notation
        literal = parse_ip(name)
        return str(literal) if literal is not None and literal.version == 4 else None
    return name


def _ascii(text: str) -> str:
    """An international name as the DNS has it; empty where there is none."""
    import idna  # only with such names, and its tables are large

    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError:
        return ""
