"""Parses URLs with a grammar that is narrower than the standards.

Many attacks use URLs that two programs parse differently. Here a URL is parsed once. The policy check and the
connection both use the parsed parts, never the text.
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
    """The parts of an http or https URL."""

    scheme: str
    host: str
    """Host in lower case ASCII without a final dot. IPv6 addresses have no brackets."""
    port: int
    target: str
    """Path and query in ASCII, without the fragment."""

    @property
    def literal(self) -> IP | None:
        """The IP address, if the host is one; IPv4-mapped addresses as IPv4. None for a host name."""
        address = parse_ip(self.host)
        return unmap_ipv4(address) if address is not None else None

    @property
    def authority(self) -> str:
        """Host and port for the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str, role: str) -> ParsedUrl:
    """Parse an http or https URL.

    Args:
        role: the input that the URL is for, such as ``image``; used in errors.

    Raises:
        UrlRefused: the text is not such a URL, or programs might parse it differently.
    """

    def refuse(reason: str) -> UrlRefused:
        return UrlRefused(role, f"{EXPECTED}; {reason}")

    if len(text) > MAX_CHARS:
        raise refuse(f"at most {MAX_CHARS} characters")
    if any(ord(char) <= 0x20 or ord(char) == 0x7F or char == "\\" or not char.isprintable() for char in text):
        raise refuse("no spaces, control characters or backslashes; percent-encode them")
    match = _PARTS.fullmatch(text)
    if match is None:
        raise UrlRefused(role, "a URL that begins with https://, such as https://example.com/photo.jpg")
    scheme, authority, path, query = match[1].lower(), match[2], match[3], match[4] or ""
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
    """Parse the ``Location`` of a redirect from ``base``. Raises as ``parse_url``.

    Many servers do not percent-encode spaces in it. Clients encode them, so a space in the host stays invalid.
    """
    location = location.strip(" ")
    if any(ord(char) < 0x20 or char == "\\" for char in location):
        raise UrlRefused(role, f"{EXPECTED}; it redirects to an invalid URL")
    return parse_url(urljoin(str(base), location).replace(" ", "%20"), role)


def _split(authority: str) -> tuple[str | None, str | None]:
    """Split into host and port. An IPv6 host keeps its brackets."""
    if authority.startswith("["):
        inner, bracket, rest = authority.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None, None
        return f"{inner}]", rest[1:] if rest else None
    host, colon, port = authority.partition(":")
    return host or None, port if colon else None


def _host(text: str) -> str | None:
    """Return the canonical form of a host; None if it is invalid."""
    if text.startswith("["):
        literal = parse_ip(text[1:-1])
        return str(literal) if literal is not None and literal.version == 6 else None
    name = text.lower() if text.isascii() else _ascii(text)
    name = name[:-1] if name.endswith(".") else name
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    if _NUMERIC.fullmatch(labels[-1]):  # the resolver would parse it as an IPv4 address in another notation
        literal = parse_ip(name)
        return str(literal) if literal is not None and literal.version == 4 else None
    return name


def _ascii(text: str) -> str:
    """Return an international name in its DNS form; empty if it is invalid."""
    import idna  # its tables are large, and few names need them

    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError:
        return ""
