"""The base class of job steps: waits that a shutdown interrupts, and retries."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from clearcut.errors import DeadlineExceeded, Unavailable

T = TypeVar("T")

RETRY_TIMEOUT_S = 3600.0
"""Seconds for which a step is retried while the store or a database cannot be reached."""
JITTER = 0.2
"""Random part of every pause, in both directions."""
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.5, 30.0


class InterruptibleSteps:
    """Steps that wait and retry. Used from the service's event loop."""

    def __init__(self) -> None:
        self._idle: set[asyncio.Task[object]] = set()
        """Tasks that only wait."""
        self._stopping = False

    def cancel_idle(self) -> None:
        """Cancel all steps that only wait. They are not recorded, so the next process repeats them."""
        self._stopping = True
        for task in self._idle:
            task.cancel()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Mark the current task as waiting, so that ``cancel_idle`` cancels it."""
        task = asyncio.current_task()
        if self._stopping or task is None:
            raise asyncio.CancelledError
        self._idle.add(task)
        try:
            yield
        finally:
            self._idle.discard(task)

    async def _sleep(self, seconds: float) -> None:
        with self._interruptible():
            await asyncio.sleep(seconds * random.uniform(1 - JITTER, 1 + JITTER))  # nosec B311 # noqa: S311 - no secret

    async def _retry(self, work: Callable[[], Awaitable[T]], timeout_s: float = RETRY_TIMEOUT_S) -> T:
        """Retry while the store or a database cannot be reached. Other errors are raised at once."""
        until, pause = time.monotonic() + timeout_s, _FIRST_PAUSE_S
        while True:
            try:
                return await work()
            except (Unavailable, DeadlineExceeded, OSError):
                if time.monotonic() + pause > until:
                    raise
            await self._sleep(pause)
            pause = min(_MAX_PAUSE_S, 2 * pause)
