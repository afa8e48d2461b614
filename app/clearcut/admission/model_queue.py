"""The queue of a further model: its requests wait before they are decoded, so that they hold little memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from clearcut.errors import Overloaded, retry_after_s
from clearcut.observability.timing import RequestTiming

ACTIVE_S = 1.0
"""Requests that together take this long may be past the queue at once, seconds of model time."""


class ModelQueue:
    """First in, first out. Used from the event loop's thread only."""

    def __init__(self, name: str, capacity: int, sessions: int, seconds_per_image: Callable[[], float]) -> None:
        """
        Args:
            name: of the model, for error texts.
            capacity: maximum number of requests that wait or run.
            sessions: number of the model's sessions; one request more than sessions is always past the queue.
            seconds_per_image: returns the expected model time of one image with all sessions, seconds.
        """
        self._name = name
        self._capacity = capacity
        self._seconds_per_image = seconds_per_image
        active = sessions + 1
        if (seconds := seconds_per_image()) > 0:
            active = max(active, min(capacity, math.floor(ACTIVE_S / seconds)))
        self._slots = asyncio.Semaphore(active)
        self.waiting = 0
        """Number of requests that wait for a slot."""
        self.active = 0
        """Number of requests past the queue."""

    def expected_s(self) -> float:
        """Return the expected seconds until the matte of a request that arrives now."""
        return (self.waiting + self.active + 1) * self._seconds_per_image()

    @asynccontextmanager
    async def slot(self, timing: RequestTiming) -> AsyncIterator[None]:
        """Wait for a slot, and hold it.

        Raises:
            Overloaded: the queue is full, or the matte would come after the request's deadline. Retry-After is the
                expected time of all requests in the queue.
        """
        expected = self.expected_s()
        retry_after = retry_after_s(expected)
        if self.waiting + self.active >= self._capacity:
            text = f"Model '{self._name}' has {self.waiting + self.active} requests, the maximum"
            raise Overloaded(text, retry_after=retry_after)
        if expected > timing.remaining():
            text = f"Model '{self._name}' needs about {math.ceil(expected)} s for the requests in its queue"
            raise Overloaded(text, retry_after=retry_after)
        timing.current = "queue"
        submitted = timing.elapsed()
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.active += 1
        try:
            timing.add("queue", timing.elapsed() - submitted)
            yield
        finally:
            self.active -= 1
            self._slots.release()
