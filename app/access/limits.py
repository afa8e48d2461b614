"""How much work may be in the house at once: slots for requests, a budget for decoded pixels.

Slots are taken before a body is read and are refused at once when there are none: a quick 503 with an honest
Retry-After is worth more to a caller than a place in a long line. Pixels are taken after ``probe``, when the cost is
known, and are waited for in order: the caller has been admitted and its deadline bounds the wait. A count of requests
alone bounds nothing, since one decoded 8.5-megapixel picture needs about 80 MB until it is encoded.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from app.errors import Overloaded

RETRY_AFTER_MAX = 60  # common clients ignore longer values


class DrainRate:
    """Finished cut-outs a second as a moving average over busy time, for Retry-After."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float = clock()
        self._interval: float | None = None

    def woken(self) -> None:
        """Work begins after idleness: the pause was no slowness."""
        self._since = self._clock()

    def completed(self) -> None:
        now = self._clock()
        gap = now - self._since
        self._interval = gap if self._interval is None else 0.9 * self._interval + 0.1 * gap
        self._since = now

    def retry_after(self, ahead: int) -> int:
        """Seconds until ``ahead`` requests are likely done, 1..60; spread, so that the refused do not return as one."""
        expected = ahead * (self._interval if self._interval is not None else 0.1)
        return max(1, min(RETRY_AFTER_MAX, math.ceil(expected * random.uniform(1.0, 1.3))))  # noqa: S311 - jitter


class Slots:
    """Requests in the house. Used from the event loop's thread only."""

    def __init__(self, capacity: int, rate: DrainRate | None = None) -> None:
        self.capacity = capacity
        self.used = 0
        self.entered = 0
        """Since the start."""
        self.rate = rate or DrainRate()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Hold a slot.

        Raises:
            Overloaded: all are taken; its Retry-After comes from the measured completion rate.
        """
        if self.used >= self.capacity:
            raise Overloaded(
                f"All {self.capacity} request slots are in use", retry_after=self.rate.retry_after(self.used)
            )
        if self.used == 0:
            self.rate.woken()
        self.used += 1
        self.entered += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.used -= 1
            if self.used == 0:
                self._empty.set()

    async def until_empty(self) -> None:
        """Return at a moment when no slot is taken."""
        await self._empty.wait()


class PixelBudget:
    """Decoded pixels in the house, first come first served. Used from the event loop's thread only.

    A picture larger than the whole budget is let in when it is alone, so that no picture within the input limits can
    wait for ever.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def _fits(self, pixels: int) -> bool:
        return self.used == 0 or self.used + pixels <= self.capacity

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Hold ``pixels`` of the budget, after waiting for those who came before."""
        if not self._waiting and self._fits(pixels):
            self.used += pixels
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((pixels, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # granted and cancelled in the same tick: give it back
                    self._release(pixels)
                else:
                    self._waiting = deque(entry for entry in self._waiting if entry[1] is not turn)
                    self._grant()
                raise
        try:
            yield
        finally:
            self._release(pixels)

    def _release(self, pixels: int) -> None:
        self.used -= pixels
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            pixels, turn = self._waiting.popleft()
            self.used += pixels
            turn.set_result(None)
