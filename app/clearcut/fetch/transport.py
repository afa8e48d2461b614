"""Connections to checked IP addresses only, with a limited response head.

httpcore calls ``connect_tcp(host name, port)`` and uses the host name for TLS. The certificate and SNI belong to the
name; the connection goes to the checked addresses. The name is not resolved again, so a DNS server cannot change the
addresses after the check.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from typing import Any

from httpcore2 import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError, ConnectTimeout

from .policy import MAX_HEAD_BYTES

CONNECT_TIMEOUT_S = 5.0
"""Timeout of a connection to one IP address, in seconds."""
MAX_ADDRESSES = 4
"""Maximum number of IP addresses that are tried."""
_READ_BYTES = 16 * 1024


class ResponseHeadTooLong(Exception):
    """The response head, with informational responses, is larger than ``MAX_HEAD_BYTES``."""


class LimitedStream(AsyncNetworkStream):
    """A connection that reads at most ``MAX_HEAD_BYTES`` until ``in_body`` is set."""

    def __init__(self, inner: AsyncNetworkStream) -> None:
        self._inner = inner
        self._head_bytes = 0
        self.in_body = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.in_body:
            return await self._inner.read(min(max_bytes, _READ_BYTES), timeout)
        if self._head_bytes >= MAX_HEAD_BYTES:
            raise ResponseHeadTooLong
        data = await self._inner.read(min(max_bytes, MAX_HEAD_BYTES - self._head_bytes), timeout)
        self._head_bytes += len(data)
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
    """Connects to the first of ``addresses`` that accepts a connection, whatever the host name is."""

    def __init__(self, addresses: Sequence[str], inner: AsyncNetworkBackend | None = None) -> None:
        self._addresses = addresses[:MAX_ADDRESSES]
        self._inner = inner if inner is not None else AnyIOBackend()
        self.stream: LimitedStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        for number, address in enumerate(self._addresses, 1):
            try:
                stream = await self._inner.connect_tcp(address, port, CONNECT_TIMEOUT_S)
            except (ConnectError, ConnectTimeout):
                if number == len(self._addresses):
                    raise
                continue
            self.stream = LimitedStream(stream)
            return self.stream
        raise ConnectError("no address")
