"""Time limits of the rest of a request body that the server drops after the response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class DiscardTimer:
    """Limits the pauses in a dropped body and its total time, as for an upload that is processed.

    The timer compares timestamps when it fires, because a new timer for each chunk would cost CPU time.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, max_pause_s: float, max_total_s: float, on_timeout: Callable[[], None]
    ) -> None:
        """
        Args:
            max_pause_s: between two chunks, and before the first one.
            max_total_s: from the start of the timer.
            on_timeout: called when a limit is exceeded.
        """
        self._loop = loop
        self._max_pause_s = max_pause_s
        self._max_total_s = max_total_s
        self._on_timeout = on_timeout
        self._handle: asyncio.TimerHandle | None = None
        self._last_chunk = 0.0
        """Time of the last chunk, or of the start; in seconds of the event loop's clock."""
        self._end = 0.0
        """Time at which the body must be complete."""

    @property
    def running(self) -> bool:
        """Whether a body is being dropped."""
        return self._handle is not None

    def start(self) -> None:
        """Start to measure the first pause and the total time."""
        self._last_chunk = self._loop.time()
        self._end = self._last_chunk + self._max_total_s
        self._schedule()

    def chunk_received(self) -> None:
        """End a pause. No effect while the timer is stopped."""
        self._last_chunk = self._loop.time()

    def stop(self) -> None:
        """Stop the timer. No effect while it is stopped."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self) -> None:
        self._handle = self._loop.call_at(self._limit(), self._check)

    def _limit(self) -> float:
        return min(self._last_chunk + self._max_pause_s, self._end)

    def _check(self) -> None:
        if self._loop.time() < self._limit():
            self._schedule()
            return
        self._handle = None
        self._on_timeout()
