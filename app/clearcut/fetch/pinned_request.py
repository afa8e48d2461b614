"""One HTTP request on its own connection, and limits for its response."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress

import httpcore2

from clearcut import __version__
from clearcut.errors import FetchFailed, TooManyBytes

from .transport import PinnedBackend
from .url import ParsedUrl

_AGENT = f"clearcut/{__version__}".encode()
_MIN_CHUNKS = 1024
_MIN_MEAN_CHUNK_BYTES = 128
"""Minimum mean size of chunks, once there are more than ``_MIN_CHUNKS``. Each chunk costs the same CPU time."""
_YIELD_EVERY = 64
"""Number of chunks after which other tasks of the event loop run."""


class PinnedRequest:
    """A request that connects only to the given IP addresses.

    Args:
        url: the URL of the request.
        addresses: the checked IP addresses of its host, tried in this order.
        network: connects to an IP address; default: the system's network.
        context: TLS settings.
    """

    def __init__(
        self,
        url: ParsedUrl,
        addresses: Sequence[str],
        network: httpcore2.AsyncNetworkBackend | None,
        context: ssl.SSLContext,
    ) -> None:
        self._url = url
        self._pinned = PinnedBackend(addresses, network)
        origin = httpcore2.Origin(url.scheme.encode(), url.host.encode(), url.port)
        self._connection = httpcore2.AsyncHTTPConnection(origin, ssl_context=context, network_backend=self._pinned)

    async def __aenter__(self) -> PinnedRequest:
        return self

    async def __aexit__(self, *_: object) -> None:
        stream = self._pinned.stream
        if stream is not None:
            with suppress(Exception):
                await stream.aclose()

    async def send(self, method: str, headers: Mapping[str, str], body: bytes | None = None) -> httpcore2.Response:
        """Send the request.

        Returns:
            The response, with its body unread.

        Raises:
            ResponseHeadTooLong: the response head is too large.
            httpcore2 exceptions: the connection or the protocol failed.
        """
        parts = self._url
        url = httpcore2.URL(scheme=parts.scheme, host=parts.host, port=parts.port, target=parts.target)
        fields: list[tuple[bytes, bytes]] = [
            (b"Host", parts.authority.encode()),
            (b"User-Agent", _AGENT),
            (b"Accept-Encoding", b"identity"),
            (b"Connection", b"close"),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ]
        if body is not None:
            fields.append((b"Content-Length", str(len(body)).encode()))
        request = httpcore2.Request(method, url, headers=fields, content=body)
        response = await self._connection.handle_async_request(request)
        if self._pinned.stream is not None:
            self._pinned.stream.in_body = True
        return response


async def read_body(response: httpcore2.Response, role: str, max_bytes: int) -> bytearray:
    """Read the response body.

    Raises:
        TooManyBytes: the body is larger than ``max_bytes``.
        FetchFailed: the body is empty, or arrives in too many small chunks.
    """
    data = bytearray()
    chunks = 0
    async for chunk in response.aiter_stream():
        chunks += 1
        if len(data) + len(chunk) > max_bytes:
            raise TooManyBytes(max_bytes, role=role)
        data += chunk
        if chunks > _MIN_CHUNKS and len(data) < chunks * _MIN_MEAN_CHUNK_BYTES:
            raise FetchFailed(role, "the response arrived in too many small chunks")
        if chunks % _YIELD_EVERY == 0:
            await asyncio.sleep(0)  # buffered chunks are read without waiting
    if not data:
        raise FetchFailed(role, "the response is empty")
    return data


def single_header(headers: Sequence[tuple[bytes, bytes]], name: str) -> str:
    """Return the value of a header; empty if it is missing. Several values are joined and match no expected value."""
    values = [value for key, value in headers if key.lower() == name.encode()]
    joined = b", ".join(values).strip()
    try:
        return joined.decode("utf-8")
    except UnicodeDecodeError:
        return joined.decode("latin-1")
