"""The connection under a fetch: to addresses that were checked and to no other, with a bounded head.

httpcore asks its network backend for ``connect_tcp(name, port)`` and keeps the name for TLS: certificate and SNI are
the name's, the connection is to what the guard has found. Nothing here looks a name up, so a DNS server that changes
its answer has nobody to tell it to.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from typing import Any

from httpcore2 import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError, ConnectTimeout

from .policy import MAX_HEAD_BYTES

CONNECT_S = 5.0
"""Patience with one of several addresses."""
MAX_ATTEMPTS = 4
_READ_BYTES = 16 * 1024


class ResponseHeadTooLong(Exception):
    """The answer's head, informational ones counted, is beyond ``MAX_HEAD_BYTES``."""


class Stream(AsyncNetworkStream):
    """A connection that reads no more than a head may have until ``in_body`` is set."""

    def __init__(self, inner: AsyncNetworkStream) -> None:
        self._inner = inner
        self._seen = 0
        self.in_body = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.in_body:
            return await self._inner.read(min(max_bytes, _READ_BYTES), timeout)
        if self._seen >= MAX_HEAD_BYTES:
            raise ResponseHeadTooLong
        data = await self._inner.read(min(max_bytes, MAX_HEAD_BYTES - self._seen), timeout)
        self._seen += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncNetworkStream:
        self._inner = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        return self

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class PinnedBackend(AsyncNetworkBackend):
    """Connects to the first of ``addresses`` that answers, whatever name it is asked for."""

    def __init__(self, addresses: Sequence[str], inner: AsyncNetworkBackend | None = None) -> None:
        self._addresses = addresses[:MAX_ATTEMPTS]
        self._inner = inner if inner is not None else AnyIOBackend()
        self.stream: Stream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        for left, address in reversed(list(enumerate(reversed(self._addresses)))):
            try:
                stream = await self._inner.connect_tcp(address, port, CONNECT_S)
            except (ConnectError, ConnectTimeout):
                if not left:
                    raise
                continue
            self.stream = Stream(stream)
            return self.stream
        raise ConnectError("no address")
