"""The rate at which requests finish, for the Retry-After header."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from clearcut.errors import retry_after_s

DEFAULT_INTERVAL_S = 0.1
"""Seconds from one completion to the next, before any request has finished."""
_SMOOTHING = 0.1
"""Weight of the newest interval in the moving average."""


class CompletionRate:
    """A moving average of the seconds between two completed requests. Idle time does not count.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_event = clock()
        self._interval_s: float | None = None

    def start_busy_period(self) -> None:
        """Ignore the time since the last completion: the service was idle."""
        self._last_event = self._clock()

    def record_completion(self) -> None:
        """Count one completed request."""
        now = self._clock()
        elapsed = now - self._last_event
        if self._interval_s is None:
            self._interval_s = elapsed
        else:
            self._interval_s += _SMOOTHING * (elapsed - self._interval_s)
        self._last_event = now

    def retry_after(self, ahead: int) -> int:
        """Return the seconds until ``ahead`` requests have probably finished.

        The value has up to 30% of random jitter, so that refused clients do not all return at the same time.

        Returns:
            Whole seconds, 1 to ``MAX_RETRY_AFTER_S``.
        """
        expected = ahead * (self._interval_s if self._interval_s is not None else DEFAULT_INTERVAL_S)
        return retry_after_s(expected * random.uniform(1.0, 1.3))  # nosec B311 # noqa: S311 - jitter
