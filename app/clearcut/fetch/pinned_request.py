"""One request on one connection of its own, and its answer under caps."""

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
_FREE_PIECES = 1024
_MEAN_PIECE = 128
"""Bytes: beyond the first pieces a body must come in pieces of at least this, as each costs the same to take apart."""


class PinnedRequest:
    """A request to one of ``addresses``, whichever connects first; they have been checked.

    Args:
        network: connects to an address; the system's unless given.
    """

    def __init__(
        self,
        address: ParsedUrl,
        addresses: Sequence[str],
        network: httpcore2.AsyncNetworkBackend | None,
        context: ssl.SSLContext,
    ) -> None:
        self._address = address
        self._pinned = PinnedBackend(addresses, network)
        origin = httpcore2.Origin(address.scheme.encode(), address.host.encode(), address.port)
        self._connection = httpcore2.AsyncHTTPConnection(origin, ssl_context=context, network_backend=self._pinned)

    async def __aenter__(self) -> PinnedRequest:
        return self

    async def __aexit__(self, *_: object) -> None:
        stream = self._pinned.stream
        if stream is not None:
            with suppress(Exception):
                await stream.aclose()

    async def send(self, method: str, headers: Mapping[str, str], body: bytes | None = None) -> httpcore2.Response:
        """The head of the answer. Raises as httpcore does, and HeadTooLong."""
        address = self._address
        url = httpcore2.URL(scheme=address.scheme, host=address.host, port=address.port, target=address.target)
        sent: list[tuple[bytes, bytes]] = [
            (b"Host", address.authority.encode()),
            (b"User-Agent", _AGENT),
            (b"Accept-Encoding", b"identity"),
            (b"Connection", b"close"),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ]
        if body is not None:
            sent.append((b"Content-Length", str(len(body)).encode()))
        request = httpcore2.Request(method, url, headers=sent, content=body)
        answer = await self._connection.handle_async_request(request)
        if self._pinned.stream is not None:
            self._pinned.stream.in_body = True
        return answer


async def read_body(answer: httpcore2.Response, role: str, most: int) -> bytearray:
    """The answer's body, which has at least one byte and at most ``most``.

    Raises:
        TooManyBytes, FetchFailed: it has not, or comes in pieces that are not worth their work.
    """
    data = bytearray()
    pieces = 0
    async for piece in answer.aiter_stream():
        pieces += 1
        if len(data) + len(piece) > most:
            raise TooManyBytes(most, role=role)
        data += piece
        if pieces > _FREE_PIECES and len(data) < pieces * _MEAN_PIECE:
            raise FetchFailed(role, "the response arrived in too many small chunks")
        if pieces % 64 == 0:
            await asyncio.sleep(0)  # many small chunks can be in memory at once, and others have the loop too
    if not data:
        raise FetchFailed(role, "the response is empty")
    return data


def single_header(headers: Sequence[tuple[bytes, bytes]], name: str) -> str:
    """A header's only value, empty where there is none; several are joined, which no reading here takes."""
    values = [value for key, value in headers if key.lower() == name.encode()]
    joined = b", ".join(values).strip()
    try:
        return joined.decode("utf-8")
    except UnicodeDecodeError:
        return joined.decode("latin-1")
