"""Requests that are being processed. Jobs wait while there are many."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class ActiveRequests:
    """Counts the requests between the end of their upload and the start of their response.

    Used from the event loop's thread only.
    """

    def __init__(self) -> None:
        self.count = 0
        self._waiters: set[asyncio.Future[None]] = set()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count one more request."""
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def until_below(self, count: int) -> None:
        """Wait until fewer than ``count`` requests are active.

        Args:
            count: 1 or more.
        """
        while self.count >= count:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
