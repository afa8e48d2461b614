"""A request body as chunks: bytes counted, pauses and the whole time bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from app.errors import ClientGone, UploadTimeout

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Body:
    """The request body as chunks: bytes counted, pauses and the whole time bounded."""

    def __init__(self, receive: Receive, stall_s: float, remaining: Callable[[], float]) -> None:
        self._receive = receive
        self._stall_s = stall_s
        self._remaining = remaining
        self.received = 0
        self.complete = False

    async def chunk(self) -> bytes:
        """The next piece; empty only at the end, when ``complete`` is set.

        Raises:
            UploadTimeout: nothing came for ``stall_s`` seconds, or the request's deadline passed.
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
