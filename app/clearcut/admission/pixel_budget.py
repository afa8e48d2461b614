"""The pixel budget: how many decoded pixels may be in memory at once.

The number of requests does not bound memory: one decoded image of 8.5 megapixels needs about 80 MB until its output is
encoded. A request takes its pixels after ``probe``, when their number is known, and waits for them in order of arrival.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from clearcut.errors import Overloaded

RETRY_AFTER_GROWTH_S = 2
"""Retry-After of a request that cannot get more pixels: about the time that the largest images take."""


@dataclass(eq=False, slots=True)
class PixelHold:
    """The pixels of the budget that one request holds."""

    budget: PixelBudget
    pixels: int

    async def grow(self, pixels: int) -> None:
        """Hold ``pixels`` more. Requests that hold pixels already wait before those that hold none.

        Raises:
            Overloaded: all requests that hold pixels wait for more, so none of them could finish.
        """
        await self.budget.wait(_Waiter(self, pixels), self.budget.growing)


@dataclass(eq=False, slots=True)
class _Waiter:
    """A request for pixels that waits in one of the queues."""

    hold: PixelHold
    pixels: int
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class PixelBudget:
    """Decoded pixels of all requests, in order of arrival, requests before jobs.

    Used from the event loop's thread only. An image larger than the whole budget gets its pixels when no other
    request holds any, so every image within the input limits can be processed.

    Args:
        capacity: maximum number of decoded pixels.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        """Pixels that requests hold."""
        self.holders = 0
        """Number of requests that hold pixels."""
        self.growing: deque[_Waiter] = deque()
        """Waiters that hold pixels already."""
        self._waiting: deque[_Waiter] = deque()
        self._low_priority: deque[_Waiter] = deque()

    @property
    def waiting(self) -> int:
        """Number of requests that wait for their first pixels, without jobs."""
        return len(self._waiting)

    @asynccontextmanager
    async def hold(self, pixels: int, low_priority: bool = False) -> AsyncIterator[PixelHold]:
        """Hold ``pixels`` of the budget; waits until they are free.

        Args:
            low_priority: also wait for all callers without low priority.
        """
        hold = PixelHold(self, 0)
        try:
            await self.wait(_Waiter(hold, pixels), self._low_priority if low_priority else self._waiting)
            yield hold
        finally:
            self.used -= hold.pixels
            self.holders -= hold.pixels > 0
            self._grant()

    async def wait(self, waiter: _Waiter, queue: deque[_Waiter]) -> None:
        """Wait in ``queue`` until ``waiter`` has its pixels.

        If the pixels are granted and the call is cancelled at the same moment, the hold still has them.
        """
        queue.append(waiter)
        self._grant()
        try:
            await waiter.granted
        finally:
            if waiter in queue:
                queue.remove(waiter)
                self._grant()

    def _fits(self, waiter: _Waiter) -> bool:
        """Return whether the pixels fit in the budget, or no other request holds any."""
        others = self.used - waiter.hold.pixels
        return others == 0 or self.used + waiter.pixels <= self.capacity

    def _grant(self) -> None:
        """Grant pixels to the first waiters; refuse one if all holders wait for more."""
        while queue := self.growing or self._waiting or self._low_priority:
            waiter = queue[0]
            if not waiter.granted.cancelled():
                if not self._fits(waiter):
                    break
                self.used += waiter.pixels
                self.holders += waiter.hold.pixels == 0
                waiter.hold.pixels += waiter.pixels
                waiter.granted.set_result(None)
            queue.popleft()
        if self.growing and len(self.growing) == self.holders:
            refused = self.growing.pop().granted
            if not refused.cancelled():
                refused.set_exception(
                    Overloaded("There is no memory for an output this large", retry_after=RETRY_AFTER_GROWTH_S)
                )
