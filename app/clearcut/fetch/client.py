"""The HTTP client for URLs that callers send: it fetches images and delivers webhooks.

Each URL, redirects included, is parsed once (``url``). Its host name, port and all its IP addresses are checked
(``policy``, ``ip_ranges``), and the client connects to these addresses and no others (``transport``). The bytes, the
chunks, the response head, the redirects and the total time are limited. No connection, cookie or host name is reused.
httpcore supports no proxies, redirects or compression, so neither the environment nor a server can enable them.
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

import httpcore2

from clearcut.errors import FetchFailed, TooManyBytes, UrlRefused

from .ip_ranges import IP, parse_ip, unmap_ipv4
from .pinned_request import PinnedRequest, read_body, single_header
from .policy import MAX_REDIRECTS, PUBLIC_HOST, FetchPolicy
from .resolver import SystemResolver
from .transport import ResponseHeadTooLong
from .url import ParsedUrl, parse_url, resolve_redirect

log = logging.getLogger("clearcut")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves (host name, port) to all its IP addresses. Raises OSError."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TLS_FAILED = "TLS or the certificate is invalid"
_NOT_RESOLVED = "the host name cannot be resolved at the moment"


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that was fetched from a URL."""

    data: bytearray
    final_url: str
    """URL after redirects, without the fragment. It may contain secrets of the caller; do not log it."""
    media_type: str
    """Declared media type, lower case, without parameters; empty if none is declared. It may be wrong."""


class FetchClient:
    """One client for a service. All methods can be called concurrently.

    Args:
        policy: which URLs may be reached.
        resolve: resolves host names; default: the system's resolver.
        network: connects to an IP address; default: the system's network.
        ssl_context: default: the system's certificates.
        on_result: called with the result of each ``get`` and ``post``: ``done``, ``refused`` or ``failed``.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        resolve: Resolve | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
        on_result: Callable[[str], None] = lambda result: None,
    ) -> None:
        self._policy = policy
        self._resolve = resolve or SystemResolver()
        self._network = network
        self._ssl = ssl_context or httpcore2.default_ssl_context()
        self._on_result = on_result

    async def get(self, url: str, *, role: str, max_bytes: int | None = None) -> FetchedFile:
        """Fetch a file.

        Args:
            role: the input that the URL is for, such as ``image``; used in errors.
            max_bytes: maximum bytes of the response body; default: that of the policy.

        Raises:
            UrlRefused: the policy does not allow the URL or a redirect.
            FetchFailed: the file cannot be fetched; ``temporary`` is true if a later attempt may succeed.
            TooManyBytes: the file is larger than ``max_bytes``.
        """
        started = time.monotonic()
        limit = self._policy.max_bytes if max_bytes is None else max_bytes
        async with self._limited(role, self._policy.timeout_s):
            target = parse_url(url, role)
            for _ in range(MAX_REDIRECTS + 1):
                response = await self._get_once(target, role, limit)
                if isinstance(response, FetchedFile):
                    break
                target = response
            else:
                raise FetchFailed(role, f"more than {MAX_REDIRECTS} redirects")
        fields = {
            "host": target.host, "bytes": len(response.data), "ms": round((time.monotonic() - started) * 1000, 2),
        }  # fmt: skip
        log.debug("fetched", extra={"fields": fields})
        return response

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float) -> int:
        """Send ``body`` to a URL. Redirects are not followed, and the response body is not read.

        Args:
            timeout_s: total timeout in seconds: DNS, connection and response head.

        Returns:
            The status code of the response.

        Raises:
            UrlRefused, FetchFailed: as ``get``, with the role ``webhook``.
        """
        role = "webhook"
        async with self._limited(role, timeout_s):
            target = parse_url(url, role)
            async with await self._connect(target, role) as request:
                return (await request.send("POST", headers, body)).status

    async def check(self, url: str, *, role: str) -> None:
        """Check a URL against the policy without connecting to it.

        Raises:
            UrlRefused: the policy does not allow the URL. Redirects are checked when the URL is fetched.
            FetchFailed: the host name cannot be resolved at the moment.
        """
        target = parse_url(url, role)
        try:
            async with asyncio.timeout(self._policy.timeout_s):
                await self._allowed_addresses(target, role)
        except TimeoutError:
            raise FetchFailed(role, _NOT_RESOLVED, temporary=True) from None

    @asynccontextmanager
    async def _limited(self, role: str, timeout_s: float) -> AsyncIterator[None]:
        """Limit the time of the body, convert its errors, and report the result."""
        result = "failed"
        try:
            async with asyncio.timeout(timeout_s):
                yield
            result = "done"
        except UrlRefused:
            result = "refused"
            raise
        except TimeoutError:
            raise FetchFailed(role, f"it took longer than {timeout_s:g} s", temporary=True) from None
        except ResponseHeadTooLong:
            raise FetchFailed(role, "the response headers are too large") from None
        except ssl.SSLError:
            raise FetchFailed(role, _TLS_FAILED) from None
        except httpcore2.ConnectError as exc:
            raise FetchFailed(role, _connect_problem(exc), temporary=True) from None
        except (httpcore2.NetworkError, httpcore2.TimeoutException):
            raise FetchFailed(role, "the connection was closed", temporary=True) from None
        except httpcore2.ProtocolError:
            raise FetchFailed(role, "the response is incomplete or not HTTP", temporary=True) from None
        finally:
            self._on_result(result)

    async def _connect(self, target: ParsedUrl, role: str) -> PinnedRequest:
        return PinnedRequest(target, await self._allowed_addresses(target, role), self._network, self._ssl)

    async def _get_once(self, target: ParsedUrl, role: str, limit: int) -> FetchedFile | ParsedUrl:
        """Send one GET request. Returns the file, or the URL of a redirect."""
        async with await self._connect(target, role) as request:
            response = await request.send("GET", {"Accept": "*/*"})
            headers = response.headers
            if response.status in _REDIRECTS:
                location = single_header(headers, "location")
                if not location:
                    raise FetchFailed(role, "the redirect has no target")
                return resolve_redirect(target, location, role)
            if response.status != 200:
                temporary = response.status in (408, 425, 429) or response.status >= 500
                raise FetchFailed(role, f"the server returned {response.status}", temporary=temporary)
            if single_header(headers, "content-encoding").lower() not in ("", "identity"):
                raise FetchFailed(role, "the server compressed the response without being asked to")
            declared = single_header(headers, "content-length")
            if declared.isascii() and declared.isdigit() and int(declared) > limit:
                raise TooManyBytes(limit, role=role)
            media_type = single_header(headers, "content-type").partition(";")[0].strip().lower()
            return FetchedFile(await read_body(response, role, limit), str(target), media_type)

    async def _allowed_addresses(self, target: ParsedUrl, role: str) -> list[str]:
        """Resolve the host name and check all its IP addresses.

        Returns:
            The IP addresses that may be connected to: all those of the host name.

        Raises:
            UrlRefused: the policy does not allow the URL or one of the addresses.
            FetchFailed: the host name cannot be resolved at the moment.
        """
        literal = target.literal
        host = (target.scheme, target.host, target.port)
        if (expected := self._policy.refusal(*host, [literal] if literal is not None else None)) is not None:
            raise UrlRefused(role, expected)
        if literal is not None:
            return [str(literal)]
        try:
            texts = await self._resolve(target.host, target.port)
        except socket.gaierror as exc:
            if exc.errno == socket.EAI_AGAIN:
                raise FetchFailed(role, _NOT_RESOLVED, temporary=True) from None
            raise UrlRefused(role, PUBLIC_HOST) from None
        except (OSError, UnicodeError):
            raise UrlRefused(role, PUBLIC_HOST) from None
        parsed = [parse_ip(text) for text in dict.fromkeys(texts)]
        addresses: list[IP] = [unmap_ipv4(address) for address in parsed if address is not None]
        if len(addresses) != len(parsed) or not addresses:
            raise UrlRefused(role, PUBLIC_HOST)
        if (expected := self._policy.refusal(*host, addresses)) is not None:
            raise UrlRefused(role, expected)
        return [str(address) for address in addresses]


def _connect_problem(exc: BaseException) -> str:
    """Return why no connection was made. An invalid certificate has its own text."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return _TLS_FAILED
        cause = cause.__cause__ or cause.__context__
    return "the connection to the server failed"
