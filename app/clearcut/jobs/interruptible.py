"""Waiting in the steps of jobs: pauses between attempts, which a shutdown interrupts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from clearcut.errors import DeadlineExceeded, Unavailable

T = TypeVar("T")

PATIENCE_S = 3600.0
"""How long a step is tried again while something of ours is away, a store or a database."""
JITTER = 0.2
"""Of every pause, either way."""


class InterruptibleSteps:
    """Base of the steps. Used from the service's event loop."""

    def __init__(self) -> None:
        self._idle: set[asyncio.Task[object]] = set()
        self._leaving = False

    def leave(self) -> None:
        """Put off what only waits: a cancelled step is not recorded, and done by whoever goes on with its job."""
        self._leaving = True
        for task in self._idle:
            task.cancel()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        task = asyncio.current_task()
        if self._leaving or task is None:
            raise asyncio.CancelledError
        self._idle.add(task)
        try:
            yield
        finally:
            self._idle.discard(task)

    async def _pause(self, seconds: float) -> None:
        with self._waiting():
            await asyncio.sleep(seconds * random.uniform(1 - JITTER, 1 + JITTER))  # nosec B311 # noqa: S311 - no secret

    async def _persist(self, work: Callable[[], Awaitable[T]], patience_s: float = PATIENCE_S) -> T:
        """Try again while something of ours is away for the moment; what the request is at fault for comes at once."""
        until, pause = time.monotonic() + patience_s, 0.5
        while True:
            try:
                return await work()
            except (Unavailable, DeadlineExceeded, OSError):
                if time.monotonic() + pause > until:
                    raise
            await self._pause(pause)
            pause = min(30.0, 2 * pause)
