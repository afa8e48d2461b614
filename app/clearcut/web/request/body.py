"""A request body as chunks: bytes are counted; pauses and the total time are limited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from clearcut.errors import ClientGone, TooManyBytes, UploadTimeout

SLOW_BYTES_PER_S = 16 * 1024
SLOW_AFTER_S = 0.25
SLOW_MAX_BYTES = 256 * 1024
"""Bytes of a body that may be in memory without a request slot."""

_MAX_DIGITS = 20
"""Maximum digits of a Content-Length that are parsed. A number with more digits is larger than any limit, too."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Body:
    """The body of one request.

    Args:
        receive: the ASGI callable.
        stall_s: longest pause between chunks in seconds.
        remaining: returns the seconds until the request's deadline.
    """

    def __init__(self, receive: Receive, stall_s: float, remaining: Callable[[], float]) -> None:
        self._receive = receive
        self._stall_s = stall_s
        self._remaining = remaining
        self._started = time.monotonic()
        self.received = 0
        self.complete = False
        self.before_growth: Callable[[], None] | None = None
        """See ``clearcut.admission.slots.BodyProgress``."""

    @property
    def slow(self) -> bool:
        """Whether the incomplete body has arrived at less than 16 KiB/s for at least 0.25 s."""
        age = time.monotonic() - self._started
        return not self.complete and age >= SLOW_AFTER_S and self.received < SLOW_BYTES_PER_S * age

    async def chunk(self) -> bytes:
        """Return the next bytes; empty at the end of the body, when ``complete`` is set.

        Raises:
            UploadTimeout: no chunk arrived for ``stall_s`` seconds, or the request's deadline passed.
            Overloaded: the body was slow, lost its slot, and has become large.
            ClientGone: the connection closed before the body was complete.
        """
        while not self.complete:
            timeout_s = min(self._stall_s, self._remaining())
            try:
                if timeout_s <= 0:  # asyncio.timeout does not fire while chunks arrive without a pause
                    raise TimeoutError
                async with asyncio.timeout(timeout_s):
                    message = await self._receive()
            except TimeoutError:
                raise UploadTimeout(f"The upload stopped or was too slow after {self.received} bytes") from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            data: bytes = message.get("body", b"")
            self.received += len(data)
            self.complete = not message.get("more_body", False)
            if self.received > SLOW_MAX_BYTES and self.before_growth is not None:
                self.before_growth()
            if data:
                return data
        return b""

    async def read(self, max_bytes: int, reported_limit: int) -> bytearray:
        """Return the rest of the body.

        Args:
            max_bytes: of the body.
            reported_limit: the limit in bytes that the error names: of one file.

        Raises:
            TooManyBytes: the body is larger than ``max_bytes``. Otherwise as ``chunk``.
        """
        data = bytearray()
        while chunk := await self.chunk():
            if self.received > max_bytes:
                raise TooManyBytes(reported_limit)
            data += chunk
        return data

    async def wait_disconnect(self) -> None:
        """Return when the client closes the connection. The body must be complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def is_disconnected(self) -> bool:
        """Return whether the client has closed the connection. The body must be complete."""
        watcher = asyncio.create_task(self.wait_disconnect())
        await asyncio.sleep(0)
        if not watcher.done():
            watcher.cancel()
        return watcher.done()

    async def discard(self, max_bytes: int, seconds: float) -> None:
        """Read and drop the rest, so that a client that first sends its whole body can read the error."""
        try:
            async with asyncio.timeout(seconds):
                while not self.complete and self.received < max_bytes:
                    await self.chunk()
        except (TimeoutError, UploadTimeout, ClientGone):
            self.complete = True


def require_length(headers: Mapping[str, str], max_bytes: int, reported_limit: int) -> None:
    """Refuse a body by its Content-Length; the HTTP parser refuses malformed values.

    Raises:
        TooManyBytes: it is larger than ``max_bytes``; the error names ``reported_limit``.
    """
    size = declared_size(headers)
    if size is not None and size > max_bytes:
        raise TooManyBytes(reported_limit)


def declared_size(headers: Mapping[str, str]) -> int | None:
    """Return the Content-Length in bytes; None for a request without a body or with a chunked one."""
    value = headers.get("content-length", "")
    if not (value.isascii() and value.isdigit()):
        return None
    # Python refuses to parse more than 4,300 digits. Parsers of HTTP accept any number of zeros before the number.
    return int(value.lstrip("0")[:_MAX_DIGITS] or "0")
