"""Fetch a picture from an address that a caller names, or call one back, without being led astray.

Every hop is read once (``address``), judged by its name, its port and all its IP addresses (``rules``, ``ranges``) and
connected to at those very addresses (``wire``). What a stranger's server may cost is bounded: bytes, pieces, heads,
redirects and the time of it all. Nothing is kept between fetches: no connection, no cookie, no name. httpcore knows no
proxies, no redirects and no compression, so the environment can set none and a server can play none.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpcore2

from clearcut.errors import FetchFailed, TooManyBytes, UrlRefused

from .ip_ranges import IP, parse_ip, unmap_ipv4
from .pinned_request import PinnedRequest, read_body, single_header
from .policy import MAX_REDIRECTS, NOT_PUBLIC, FetchPolicy
from .resolver import SystemResolver
from .transport import ResponseHeadTooLong
from .url import ParsedUrl, parse_url, resolve_redirect

log = logging.getLogger("clearcut")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(name, port) to all its addresses; raises OSError."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TLS = "TLS or the certificate is invalid"


@dataclass(frozen=True, slots=True)
class FetchedFile:
    data: bytearray
    final_url: str
    """After redirects, without the fragment. It may hold a caller's secrets: not for logs."""
    media_type: str
    """As declared, lower case, without parameters; empty where nothing was. Not to be trusted: sniff."""


class FetchClient:
    """One for a service. All methods are safe to use concurrently.

    Args:
        resolve: finds a name's addresses; the system's resolver unless given.
        network: connects to an address; for tests.
        ended: told how each fetch and each post ended: ``done``, ``refused`` or ``failed``.
    """

    def __init__(
        self,
        rules: FetchPolicy,
        resolve: Resolve | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
        ended: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self.rules = rules
        self._ended = ended
        self._resolve = resolve or SystemResolver()
        self._network = network
        self._ssl = ssl_context or httpcore2.default_ssl_context()

    async def get(self, url: str, *, role: str, max_bytes: int | None = None) -> FetchedFile:
        """The bytes behind an address.

        Args:
            role: the input that the URL is for, such as ``image``; used in errors.
            max_bytes: of the answer's body; the service's own cap unless given.

        Raises:
            UrlRefused: the address, or one it redirects to, may not be fetched.
            FetchFailed: it cannot be fetched; ``temporary`` says whether that may change.
            TooManyBytes: there is more than ``max_bytes`` behind it.
        """
        begun = time.monotonic()
        most = self.rules.max_bytes if max_bytes is None else max_bytes
        async with self._guarded(role, self.rules.timeout_s):
            address = parse_url(url, role)
            for _ in range(MAX_REDIRECTS + 1):
                found = await self._hop(address, role, most)
                if isinstance(found, FetchedFile):
                    break
                address = found
            else:
                raise FetchFailed(role, f"more than {MAX_REDIRECTS} redirects")
        fields = {"host": address.host, "bytes": len(found.data), "ms": round((time.monotonic() - begun) * 1000, 2)}
        log.debug("fetched", extra={"fields": fields})
        return found

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float) -> int:
        """Send ``body`` to an address; the status of the answer, whose body is not read. Redirects are not followed.

        Args:
            timeout_s: for names, connection and answer together.

        Raises:
            UrlRefused, FetchFailed: as ``get``, with the role ``webhook``.
        """
        role = "webhook"
        async with self._guarded(role, timeout_s):
            address = parse_url(url, role)
            async with PinnedRequest(address, await self._checked(address, role), self._network, self._ssl) as call:
                return (await call.send("POST", headers, body)).status

    async def check(self, url: str, *, role: str) -> None:
        """Refuse an address that could not be reached under the rules; nothing is connected to.

        Raises:
            UrlRefused: it may not be reached as it is now; what it leads to later is checked then.
            FetchFailed: the host name cannot be resolved at the moment.
        """
        address = parse_url(url, role)
        try:
            async with asyncio.timeout(self.rules.timeout_s):
                await self._checked(address, role)
        except TimeoutError:
            raise FetchFailed(role, "the host name cannot be resolved at the moment", temporary=True) from None

    async def close(self) -> None:
        """Nothing is held between calls; for whoever closes what it has opened."""

    @asynccontextmanager
    async def _guarded(self, role: str, seconds: float) -> AsyncIterator[None]:
        """Bound the time of what is done inside, put its errors into words, and count how it ends."""
        outcome = "failed"
        try:
            async with asyncio.timeout(seconds):
                yield
            outcome = "done"
        except UrlRefused:
            outcome = "refused"
            raise
        except TimeoutError:
            raise FetchFailed(role, f"it took longer than {seconds:g} s", temporary=True) from None
        except ResponseHeadTooLong:
            raise FetchFailed(role, "the response headers are too large") from None
        except ssl.SSLError:
            raise FetchFailed(role, _TLS) from None
        except httpcore2.ConnectError as exc:
            raise FetchFailed(role, _connecting(exc), temporary=True) from None
        except (httpcore2.NetworkError, httpcore2.TimeoutException):
            raise FetchFailed(role, "the connection was closed", temporary=True) from None
        except httpcore2.ProtocolError:
            raise FetchFailed(role, "the response is incomplete or not HTTP", temporary=True) from None
        finally:
            self._ended(outcome)

    async def _hop(self, address: ParsedUrl, role: str, most: int) -> FetchedFile | ParsedUrl:
        """What is at one address: a body, or another address."""
        async with PinnedRequest(address, await self._checked(address, role), self._network, self._ssl) as call:
            answer = await call.send("GET", {"Accept": "*/*"})
            headers = answer.headers
            if answer.status in _REDIRECTS:
                location = single_header(headers, "location")
                if not location:
                    raise FetchFailed(role, "the redirect has no target")
                return resolve_redirect(address, location, role)
            if answer.status != 200:
                temporary = answer.status in (408, 425, 429) or answer.status >= 500
                raise FetchFailed(role, f"the server returned {answer.status}", temporary=temporary)
            if single_header(headers, "content-encoding").lower() not in ("", "identity"):
                raise FetchFailed(role, "the server compressed the response without being asked to")
            declared = single_header(headers, "content-length")
            if declared.isascii() and declared.isdigit() and int(declared) > most:
                raise TooManyBytes(most, role=role)
            media_type = single_header(headers, "content-type").partition(";")[0].strip().lower()
            return FetchedFile(await read_body(answer, role, most), str(address), media_type)

    async def _checked(self, address: ParsedUrl, role: str) -> list[str]:
        """The addresses that may be connected to: all that the name has, and every one of them checked."""
        literal = address.literal
        parts = (address.scheme, address.host, address.port)
        if (why := self.rules.refusal(*parts, [literal] if literal is not None else None)) is not None:
            raise UrlRefused(role, why)
        if literal is not None:
            return [str(literal)]
        try:
            texts = await self._resolve(address.host, address.port)
        except socket.gaierror as exc:
            if exc.errno == socket.EAI_AGAIN:
                raise FetchFailed(role, "the host name cannot be resolved at the moment", temporary=True) from None
            raise UrlRefused(role, NOT_PUBLIC) from None
        except (OSError, UnicodeError):
            raise UrlRefused(role, NOT_PUBLIC) from None
        found = [parse_ip(text) for text in dict.fromkeys(texts)]
        addresses: list[IP] = [unmap_ipv4(each) for each in found if each is not None]
        if len(addresses) != len(found) or not addresses:
            raise UrlRefused(role, NOT_PUBLIC)
        if (why := self.rules.refusal(*parts, addresses)) is not None:
            raise UrlRefused(role, why)
        return [str(each) for each in addresses]


def _connecting(exc: BaseException) -> str:
    """Why there is no connection; a certificate's fault is its own story."""
    cause: Any = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return _TLS
        cause = cause.__cause__ or cause.__context__
    return "the connection to the server failed"
