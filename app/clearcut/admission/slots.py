"""Request slots: the maximum number of concurrent requests.

A request takes a slot before its body is read. When all slots are in use, the request gets 503 with Retry-After at
once instead of waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from clearcut.errors import Overloaded

from .completion_rate import CompletionRate

MAX_SLOW_UPLOADS = 32
"""Maximum number of slow uploads without a slot, for each slot of the service."""


class BodyProgress(Protocol):
    """A request body that is being received."""

    @property
    def slow(self) -> bool:
        """Whether the body is small and arrives so slowly that it should not block other requests."""

    before_growth: Callable[[], None] | None
    """Called when the body ends, and before it becomes larger than a slow upload may be. May raise Overloaded."""


class RequestSlot:
    """The slot of one request."""

    def __init__(self, slots: Slots, upload: BodyProgress | None) -> None:
        self._slots = slots
        self.upload = upload
        """The request body while it is being received, otherwise None."""
        self.sending = False
        """Whether the response is complete and is being sent."""
        self.released = False
        """Whether another request uses the slot."""

    @property
    def slow(self) -> bool:
        """Whether the request holds its slot and is a slow upload, or its response is being sent."""
        return not self.released and (self.sending or (self.upload is not None and self.upload.slow))

    def release_if_slow(self) -> bool:
        """Release the slot of a slow request.

        Returns:
            Whether the slot was released. A slow upload takes a slot again with ``reacquire``.
        """
        if not self.slow:
            return False
        self.released = True
        if not self.sending and self.upload is not None:
            self.upload.before_growth = self.reacquire
        return True

    def reacquire(self) -> None:
        """Take a slot again if it was released. Call this when the upload is complete.

        Raises:
            Overloaded: all slots are in use.
        """
        if self.upload is not None:
            self.upload.before_growth = None
        if self.released:
            self._slots.take()
            self.released = False
        self.upload = None


class Slots:
    """Concurrent requests, up to a maximum. Used from the event loop's thread only.

    A slow upload keeps its slot only while no other request needs it. When all slots are in use, a new request takes
    the slot of a slow upload. The upload continues and needs a slot again when it is complete or becomes large.
    Without this rule, a few hundred connections that send one byte a second would block the service. A large response
    that is being sent releases its slot in the same way, and does not need one again.

    Args:
        capacity: maximum number of concurrent requests.
        rate: measures completed requests, for Retry-After.
    """

    def __init__(self, capacity: int, rate: CompletionRate | None = None) -> None:
        self.capacity = capacity
        self.used = 0
        """Slots in use."""
        self.entered = 0
        """Number of requests that have taken a slot since the start."""
        self.rate = rate or CompletionRate()
        self._slots: set[RequestSlot] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def slow_uploads(self) -> int:
        """Number of slow uploads that have no slot at the moment."""
        return sum(slot.released and not slot.sending for slot in self._slots)

    @contextmanager
    def enter(self, upload: BodyProgress | None = None) -> Iterator[RequestSlot]:
        """Hold a slot.

        Args:
            upload: the request body, if it may be received without a slot while it is slow.

        Raises:
            Overloaded: all slots are in use. Retry-After follows from the measured completion rate.
        """
        self.take()
        slot = RequestSlot(self, upload)
        self._slots.add(slot)
        self.entered += 1
        self._empty.clear()
        try:
            yield slot
        finally:
            self._slots.discard(slot)
            if not slot.released:
                self.used -= 1
            if not self._slots:
                self._empty.set()

    def take(self) -> None:
        """Count one more slot as used. If all are in use, a slow upload releases its slot.

        Raises:
            Overloaded: no slot is free and none can be released.
        """
        if self.used < self.capacity:
            if self.used == 0:
                self.rate.start_busy_period()
            self.used += 1
            return
        self.require_available()
        for slot in self._slots:
            if slot.release_if_slow():
                return

    def require_available(self) -> None:
        """Check that ``take`` would succeed: a slot is free, or a slow request can release its slot.

        Raises:
            Overloaded: no slot is free and none can be released.
        """
        if self.used < self.capacity:
            return
        full = self.slow_uploads >= MAX_SLOW_UPLOADS * self.capacity
        if full or not any(slot.slow for slot in self._slots):
            raise Overloaded(
                f"All {self.capacity} request slots are in use", retry_after=self.rate.retry_after(self.used)
            )

    async def until_empty(self) -> None:
        """Wait until no request is present, slow uploads included."""
        await self._empty.wait()
