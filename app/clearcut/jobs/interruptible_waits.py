"""Waits of job steps: a shutdown interrupts them. Retries while a store or a database cannot be reached."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import TypeVar

from clearcut.errors import DeadlineExceeded, Unavailable

T = TypeVar("T")

RETRY_TIMEOUT_S = 3600.0
"""Seconds for which a step is retried while the store or a database cannot be reached."""
JITTER = 0.2
"""Random part of every pause, in both directions."""
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.5, 30.0


class InterruptibleWaits:
    """The waits of all steps. Used from the service's event loop."""

    def __init__(self) -> None:
        self._idle: set[asyncio.Task[object]] = set()
        """Tasks that only wait."""
        self._stopping = False

    def cancel_all(self) -> None:
        """Cancel all steps that only wait. They are not recorded, so the next process repeats them."""
        self._stopping = True
        for task in self._idle:
            task.cancel()

    async def sleep(self, seconds: float) -> None:
        """Wait about ``seconds``."""
        with self._interruptible():
            await asyncio.sleep(seconds * random.uniform(1 - JITTER, 1 + JITTER))  # nosec B311 # noqa: S311 - no secret

    @asynccontextmanager
    async def slot(self, slot: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Wait for a slot and hold it. A shutdown interrupts only the wait."""
        async with AsyncExitStack() as held:
            with self._interruptible():
                value = await held.enter_async_context(slot)
            yield value

    async def retry(self, work: Callable[[], Awaitable[T]], timeout_s: float = RETRY_TIMEOUT_S) -> T:
        """Retry while the store or a database cannot be reached. Other errors are raised at once."""
        until, pause = time.monotonic() + timeout_s, _FIRST_PAUSE_S
        while True:
            try:
                return await work()
            except (Unavailable, DeadlineExceeded, OSError):
                if time.monotonic() + pause > until:
                    raise
            await self.sleep(pause)
            pause = min(_MAX_PAUSE_S, 2 * pause)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Mark the current task as waiting, so that ``cancel_all`` cancels it."""
        task = asyncio.current_task()
        if self._stopping or task is None:
            raise asyncio.CancelledError
        self._idle.add(task)
        try:
            yield
        finally:
            self._idle.discard(task)
