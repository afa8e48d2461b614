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
from dataclasses import dataclass, field
from typing import Protocol

from clearcut.errors import Overloaded

RETRY_AFTER_MAX = 60  # common clients ignore longer values
RETRY_AFTER_GROWTH = 2
"""Seconds; about the time that the largest images take."""
MAX_RELEASED = 32
"""Slow uploads without a slot, for each slot there is."""


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
        return max(1, min(RETRY_AFTER_MAX, math.ceil(expected * random.uniform(1.0, 1.3))))  # nosec B311 # noqa: S311 - jitter


class BodyProgress(Protocol):
    """A request whose body is on its way."""

    @property
    def slow(self) -> bool:
        """Whether it comes at a rate at which it should hold nobody up."""

    before_growth: Callable[[], None] | None
    """Called before the body grows beyond what a slow one may, and at its end; may refuse it."""


class RequestSlot:
    """One request's place in the house."""

    def __init__(self, slots: Slots, reading: BodyProgress | None) -> None:
        self._slots = slots
        self.reading = reading
        self.sending = False
        """Whether the response is finished and only has to be sent."""
        self.lent = False

    def lend(self) -> bool:
        """Let another request have it until the upload is there; False when that would not be fair."""
        if self.sending and not self.lent:
            self.lent = True
            return True
        if self.lent or self.reading is None or not self.reading.slow:
            return False
        self.lent = True
        self.reading.before_growth = self.claim
        return True

    def claim(self) -> None:
        """Have it back, or another one; to be called when the upload is there. Raises Overloaded when there is none."""
        if self.reading is not None:
            self.reading.before_growth = None
        if self.lent:
            self._slots.take()
            self.lent = False
        self.reading = None


class Slots:
    """Requests in the house. Used from the event loop's thread only.

    A slow upload holds a slot only as long as nobody else needs it: it lends it, goes on being read, and needs one
    again when it is complete, or is no small and slow one any more. Otherwise a few hundred connections that send a
    byte a second each would keep everybody out, at no cost to whoever does that. A large response that is being sent
    lends its slot as well, to the end: clients that read slowly would do the same.
    """

    def __init__(self, capacity: int, rate: DrainRate | None = None) -> None:
        self.capacity = capacity
        self.used = 0
        self.entered = 0
        """Since the start."""
        self.rate = rate or DrainRate()
        self._places: set[RequestSlot] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def lent(self) -> int:
        """Slow uploads that have no slot at the moment."""
        return sum(place.lent and not place.sending for place in self._places)

    @contextmanager
    def enter(self, reading: BodyProgress | None = None) -> Iterator[RequestSlot]:
        """Hold a slot.

        Raises:
            Overloaded: all are taken; its Retry-After comes from the measured completion rate.
        """
        self.take()
        place = RequestSlot(self, reading)
        self._places.add(place)
        self.entered += 1
        self._empty.clear()
        try:
            yield place
        finally:
            self._places.discard(place)
            if not place.lent:
                self.used -= 1
            if not self._places:
                self._empty.set()

    def take(self) -> None:
        """Count one more slot as used, a slow upload's if there is no other.

        Raises:
            Overloaded: there is none.
        """
        if self.used < self.capacity:
            if self.used == 0:
                self.rate.woken()
            self.used += 1
            return
        if self.lent >= MAX_RELEASED * self.capacity or not any(place.lend() for place in self._places):
            raise Overloaded(
                f"All {self.capacity} request slots are in use", retry_after=self.rate.retry_after(self.used)
            )

    async def until_empty(self) -> None:
        """Return at a moment when no slot is taken and no upload is on its way."""
        await self._empty.wait()


class ActiveRequests:
    """Requests whose pictures are being worked on: not those that are still being read, or answered.

    Used from the event loop's thread only.
    """

    def __init__(self) -> None:
        self.count = 0
        self._waiting: set[asyncio.Future[None]] = set()

    @contextmanager
    def enter(self) -> Iterator[None]:
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)

    async def until_below(self, count: int) -> None:
        """Return at a moment when there are fewer than ``count`` (at least 1)."""
        while self.count >= count:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)


@dataclass(eq=False, slots=True)
class PixelHold:
    """Pixels of the budget that one request holds."""

    budget: PixelBudget
    pixels: int

    async def grow(self, pixels: int) -> None:
        """Hold ``pixels`` more. Requests that grow wait before those that hold nothing.

        Raises:
            Overloaded: all requests that hold pixels wait for more, so that none of them could finish.
        """
        await self.budget.wait(_Waiter(self, pixels), self.budget.growing)


@dataclass(eq=False, slots=True)
class _Waiter:
    hold: PixelHold
    pixels: int
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class PixelBudget:
    """Decoded pixels of all requests, first come first served, and requests before jobs. Used from the event loop's
    thread only.

    A request larger than the whole budget is let in when it is alone, so that no picture within the input limits can
    wait for ever.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self.holders = 0
        self.growing: deque[_Waiter] = deque()
        """Waiters that hold pixels already."""
        self._waiting: deque[_Waiter] = deque()
        self._later: deque[_Waiter] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def hold(self, pixels: int, later: bool = False) -> AsyncIterator[PixelHold]:
        """Hold ``pixels`` of the budget, after waiting for those who came before.

        Args:
            later: wait for all who are not later, too.
        """
        hold = PixelHold(self, 0)
        try:
            await self.wait(_Waiter(hold, pixels), self._later if later else self._waiting)
            yield hold
        finally:
            self.used -= hold.pixels
            self.holders -= hold.pixels > 0
            self._grant()

    async def wait(self, waiter: _Waiter, queue: deque[_Waiter]) -> None:
        """Return once ``waiter`` has its pixels; they are its hold's even if this is cancelled at that moment."""
        queue.append(waiter)
        self._grant()
        try:
            await waiter.granted
        finally:
            if waiter in queue:
                queue.remove(waiter)
                self._grant()

    def _fits(self, waiter: _Waiter) -> bool:
        """Whether the pixels fit in the budget, or nobody else holds any."""
        others = self.used - waiter.hold.pixels
        return others == 0 or self.used + waiter.pixels <= self.capacity

    def _grant(self) -> None:
        while queue := self.growing or self._waiting or self._later:
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
                    Overloaded("There is no memory for an output this large", retry_after=RETRY_AFTER_GROWTH)
                )
