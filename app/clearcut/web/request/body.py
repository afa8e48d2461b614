"""A request body as chunks: bytes counted, pauses and the whole time bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from clearcut.errors import ClientGone, UploadTimeout

SLOW_BYTES_PER_S = 16 * 1024
SLOW_AFTER_S = 0.25
SLOW_MOST_BYTES = 256 * 1024
"""More than this much of a body is not held for an upload without a slot."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Body:
    """The request body as chunks: bytes counted, pauses and the whole time bounded."""

    def __init__(self, receive: Receive, stall_s: float, remaining: Callable[[], float]) -> None:
        self._receive = receive
        self._stall_s = stall_s
        self._remaining = remaining
        self._begun = time.monotonic()
        self.received = 0
        self.complete = False
        self.before_growth: Callable[[], None] | None = None
        """As ``clearcut.admission.slots.BodyProgress`` has it."""

    @property
    def slow(self) -> bool:
        """Whether it has come at less than 16 KiB/s for a quarter of a second or more, and is not complete."""
        age = time.monotonic() - self._begun
        return not self.complete and age >= SLOW_AFTER_S and self.received < SLOW_BYTES_PER_S * age

    async def chunk(self) -> bytes:
        """The next piece; empty only at the end, when ``complete`` is set.

        Raises:
            UploadTimeout: nothing came for ``stall_s`` seconds, or the request's deadline passed.
            Overloaded: it has become large, and its slot was lent when it was slow.
            ClientGone: the connection closed before the body was complete.
        """
        while not self.complete:
            patience = min(self._stall_s, self._remaining())
            try:
                if patience <= 0:  # a timeout alone never strikes while chunks come without a pause
                    raise TimeoutError
                async with asyncio.timeout(patience):
                    message = await self._receive()
            except TimeoutError:
                raise UploadTimeout(f"The upload stopped or was too slow after {self.received} bytes") from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            data: bytes = message.get("body", b"")
            self.received += len(data)
            self.complete = not message.get("more_body", False)
            if self.received > SLOW_MOST_BYTES and self.before_growth is not None:
                self.before_growth()
            if data:
                return data
        return b""

    async def disconnected(self) -> None:
        """Return when the peer has closed the connection; to be awaited only once the body is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def gone(self) -> bool:
        """Whether the peer has closed the connection already; to be asked only once the body is complete."""
        watcher = asyncio.create_task(self.disconnected())
        await asyncio.sleep(0)
        if not watcher.done():
            watcher.cancel()
        return watcher.done()

    async def discard(self, at_most: int, seconds: float) -> None:
        """Read on without keeping, so that a client that sends its whole body first can still read our refusal."""
        try:
            async with asyncio.timeout(seconds):
                while not self.complete and self.received < at_most:
                    await self.chunk()
        except (TimeoutError, UploadTimeout, ClientGone):
            self.complete = True
